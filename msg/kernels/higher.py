"""Derivatives of compiled derivatives, by differentiable operations that compute the same."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def derivatives(
    function: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor | None],
    grads: Sequence[Tensor | None],
    parameters: Sequence[Tensor] = (),
) -> list[Tensor | None]:
    """Gradients of ``function(*inputs)`` in its inputs and parameters, which can be differentiated again.

    Args:
        function: of its inputs, by differentiable operations; it may use ``parameters``, which are leaves, besides.
        inputs: some of which may depend on others, or on the parameters: each derivative is that of the function alone.
        grads: of its results; ``None`` is zero.
        parameters: leaves.
    """
    given = [*inputs, *parameters]
    wanted = [t is not None and t.requires_grad for t in given]
    found = iter(_Again.apply(function, len(inputs), wanted, *given, *grads))  # pyright: ignore[reportArgumentType]
    return [next(found) if want else None for want in wanted]


class _Again(torch.autograd.Function):
    """Gradients, whose own gradients are again those of a function: so there is no last derivative."""

    @staticmethod
    def forward(ctx, function: Callable, count: int, wanted: list[bool], *tensors: Tensor | None):
        ctx.options = function, count, wanted
        ctx.save_for_backward(*tensors)
        given, grads = tensors[: len(wanted)], tensors[len(wanted) :]
        # cut off from what they came from
        cut = [None if t is None else t.detach().requires_grad_(want) for t, want in zip(given[:count], wanted)]
        with torch.enable_grad():
            return tuple(_gradients(function, cut, given[count:], wanted, grads, create_graph=False))

    @staticmethod
    def backward(ctx, *arriving: Any) -> Any:
        function, count, wanted = ctx.options
        given, grads = ctx.saved_tensors[: len(wanted)], ctx.saved_tensors[len(wanted) :]
        inputs, parameters = given[:count], given[count:]

        def gradients(*tensors: Tensor | None) -> Sequence[Tensor]:
            return _gradients(function, tensors[:count], parameters, wanted, tensors[count:], create_graph=True)

        found = derivatives(gradients, [*inputs, *grads], arriving, parameters)
        behind = count + len(grads)
        return None, None, None, *found[:count], *found[behind:], *found[count:behind]


def _gradients(
    function: Callable,
    inputs: Sequence[Tensor | None],
    parameters: Sequence[Tensor | None],
    wanted: Sequence[bool],
    grads: Sequence[Tensor | None],
    create_graph: bool,
) -> list[Tensor]:
    """In the inputs and parameters that are wanted, zeros where nothing depends on them."""
    sources: Any = [t for t, want in zip((*inputs, *parameters), wanted) if want]
    pairs = [(out, grad) for out, grad in zip(function(*inputs), grads) if grad is not None and out.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(sources)
    if pairs:
        outputs, values = zip(*pairs)
        found = torch.autograd.grad(outputs, sources, values, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(source) if f is None else f for source, f in zip(sources, found)]
