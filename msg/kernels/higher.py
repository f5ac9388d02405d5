"""Derivatives of compiled derivatives, by differentiable operations that compute the same."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def derivatives(
    function: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor | None],
    grads: Sequence[Tensor | None],
    parameters: Sequence[Tensor] = (),
) -> list[Tensor | None]:
    """Gradients of ``function(*inputs)`` in its inputs and parameters, which can be differentiated once more.

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
    @staticmethod
    def forward(ctx, function: Callable, count: int, wanted: list[bool], *tensors: Tensor | None):
        ctx.options = function, count, wanted
        ctx.save_for_backward(*tensors)
        with torch.enable_grad():
            _, found, _ = _first(function, count, wanted, tensors, create_graph=False)
        return tuple(found)

    @staticmethod
    @once_differentiable
    def backward(ctx, *arriving: Any):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        function, count, wanted = ctx.options
        with torch.enable_grad():
            leaves, found, grads = _first(function, count, wanted, ctx.saved_tensors, create_graph=True)
            pairs = [(f, a) for f, a in zip(found, arriving) if f.requires_grad]
            sources = [t for t in (*leaves, *grads) if t is not None and t.requires_grad]
            second: list[Tensor | None] = [None] * len(sources)
            if pairs:
                outputs, given = zip(*pairs)
                second = list(torch.autograd.grad(outputs, sources, given, allow_unused=True))
        got = iter(second)
        return None, None, None, *(next(got) if t is not None and t.requires_grad else None for t in (*leaves, *grads))


def _first(function: Callable, count: int, wanted: list[bool], tensors: Sequence[Tensor | None], create_graph: bool):
    """What is differentiated, cut off from what it came from; the gradients; and what arrived, cut off too."""
    given, grads = tensors[: len(wanted)], tensors[len(wanted) :]
    cut = [None if t is None else t.detach().requires_grad_(want) for t, want in zip(given[:count], wanted)]
    leaves = [*cut, *given[count:]]
    arriving = [None if g is None else g.detach().requires_grad_(create_graph) for g in grads]
    pairs = [(out, grad) for out, grad in zip(function(*cut), arriving) if grad is not None and out.requires_grad]
    sources = [t for t, want in zip(leaves, wanted) if want]
    found: Sequence[Tensor | None] = [None] * len(sources)
    if pairs:
        outputs, values = zip(*pairs)
        found = torch.autograd.grad(outputs, sources, values, create_graph=create_graph, allow_unused=True)  # type: ignore
    return leaves, [torch.zeros_like(s) if f is None else f for s, f in zip(sources, found)], arriving  # type: ignore
