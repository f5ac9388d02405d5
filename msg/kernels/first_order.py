"""What has no second derivatives refuses them: torch's own ``once_differentiable`` does so only where the backward pass
comes by it, and ``torch.autograd.grad`` leaves out what it does not come by.
"""

from typing import Any

import torch
from torch import Tensor

from msg.kernels.signatures import looked_up
from msg.kernels.tracing import traced


def first_order(tensor: Tensor, what: str, instead: str) -> Tensor:
    """The same tensor, through which no second derivative goes.

    Args:
        tensor: that was made.
        what: made it, for the message.
        instead: what has second derivatives.

    Raises:
        RuntimeError: in a backward pass with ``create_graph=True``.
    """
    if not tensor.requires_grad:
        return tensor
    kind = _FirstOrder if torch.compiler.is_compiling() else _FirstOrderForward
    message = f"{what} has no second derivatives: use {instead}, or a backward pass without create_graph"
    return kind.apply(tensor, message)  # pyright: ignore[reportReturnType]


class _Refused(torch.autograd.Function):
    """A gradient, through which no derivative goes: neither in it nor in the tensor that it is a gradient in."""

    generate_vmap_rule = True

    @staticmethod
    @looked_up
    def forward(grad: Tensor, tensor: Tensor, message: str) -> Tensor:
        return grad.view_as(grad)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.message = inputs[2]

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Any:
        raise RuntimeError(ctx.message)


class _RefusedForward(_Refused):
    """The same in forward mode, which torch compiles no function with."""

    @staticmethod
    def jvp(ctx, *tangents: Tensor) -> Any:
        raise RuntimeError(ctx.message)


class _FirstOrder(torch.autograd.Function):
    """The identity, through which no second derivative goes."""

    generate_vmap_rule = True

    @staticmethod
    @looked_up
    def forward(tensor: Tensor, message: str) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        tensor, ctx.message = inputs
        ctx.save_for_backward(*([tensor] if traced() else []))

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Any:
        if not torch.is_grad_enabled():
            return grads[0], None
        if traced():  # torch.func asks for a graph whether or not it will be differentiated
            kind = _Refused if torch.compiler.is_compiling() else _RefusedForward
            return kind.apply(grads[0], *(ctx.saved_tensors or grads), ctx.message), None
        raise RuntimeError(ctx.message)


class _FirstOrderForward(_FirstOrder):
    """The same with forward mode."""

    @staticmethod
    def jvp(ctx, *tangents: Tensor) -> Any:
        return tangents[0].view_as(tangents[0])
