"""Checks of what the steps are given: types and sizes always, values unless they are switched off."""

from typing import cast

import geoopt
import torch
from torch import Tensor

from msg.calls import integral
from msg.kernels.constants import LARGEST
from msg.manifolds.lookup import find
from msg.manifolds.switch import checked

_LOOSE = 1e-3  # gross mistakes only: points of another manifold or curvature; rounding and gradcheck stay far below it


def check_floating(what: str, dtype: torch.dtype) -> None:
    """Refuse dtypes that would round the result to integers."""
    if not dtype.is_floating_point:
        raise TypeError(f"{what} must be floating-point, not {dtype}: use .float()")


def check_size(manifold: geoopt.Manifold, what: str, given: int, expected: int) -> None:
    """Refuse a last dimension that does not fit the manifold."""
    if given != expected:
        raise ValueError(f"{what} of size {given} does not fit {manifold!r}, which needs size {expected}")


def checked_pairs(pairs: Tensor) -> Tensor:
    """Numbers of pairs of rows, as torch takes them for numbers; what does not name pairs is refused."""
    if not isinstance(pairs, Tensor):
        raise TypeError(
            f"pairs must be a tensor [2, M] of node numbers, not a {type(pairs).__name__}: use torch.tensor()"
        )
    if pairs.dim() != 2 or pairs.size(0) != 2 or not integral(pairs):
        raise ValueError(
            f"pairs must be node numbers [2, M], as edge_label_index is, not {pairs.dtype} {list(pairs.shape)}: use "
            "pairs.t() of [M, 2], and pairs.long()"
        )
    # bytes would be taken for a mask
    return pairs if pairs.dtype in (torch.int32, torch.int64) else pairs.long()


def check_finite(what: str, wide: Tensor) -> bool:
    """Refuse coordinates that are infinite, or too large to be squared, as a diverged training has them.

    Returns:
        Whether there is something left to check: ``False`` for NaN, for no elements, with checks switched off and in
        compiled code.
    """
    if not checked() or not wide.numel():
        return False
    largest = float(torch.linalg.vector_norm(wide.detach(), torch.inf))
    if largest > LARGEST:
        raise FloatingPointError(
            f"{what} has a coordinate of size {largest:g}: bound it (bound_length), or train at a lower rate"
        )
    return largest == largest


def check_on_manifold(manifold: geoopt.Manifold, wide: Tensor, dtype: torch.dtype) -> None:
    """Refuse points, given in ``dtype``, that are far off the manifold, as their family knows it."""
    if not check_finite("a point", wide):
        return
    rows = wide.detach().reshape(-1, wide.size(-1))
    rtol = max(_LOOSE, 8 * torch.finfo(dtype).eps)
    defects = [_defect(factor, part) for factor, part in _split(manifold, rows)]
    if any(defect is not None and bool((defect > rtol).any()) for defect in defects):
        raise ValueError(
            f"{fault(manifold, rows, rtol)}: give points of this manifold (exp0, move, or its own projx), or call "
            "msg.manifolds.checks(False)"
        )


def fault(manifold: geoopt.Manifold, rows: Tensor, rtol: float) -> str | None:
    """What is wrong with points ``[N, ambient_dim]``, float64: the worst row, its factor and how far it is off.

    Returns:
        ``None`` if every row is finite and on the manifold to ``rtol``.
    """
    parts = _split(manifold, rows)
    for index, (factor, part) in enumerate(parts):
        kind = type(factor).__name__
        why = _own_fault(factor, part, rtol, kind if len(parts) == 1 else f"factor {index} ({kind})")
        if why is not None:
            return why
    return None


def _own_fault(manifold: geoopt.Manifold, rows: Tensor, rtol: float, name: str) -> str | None:
    finite = rows.isfinite().all(-1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        return f"row {row}, {name}: not finite: {rows[row].tolist()}"
    defect = _defect(manifold, rows)
    if defect is None:
        explained = manifold.check_point_on_manifold(rows, explain=True, rtol=rtol, atol=rtol)
        ok, reason = cast(tuple[bool, str | None], explained)
        return None if ok else f"{name}: {reason}"
    if defect.numel() and not bool((defect <= rtol).all()):
        row = int(defect.argmax())
        return f"row {row}, {name}: off the manifold by {float(defect[row]):.3g} > rtol={rtol:g}: {rows[row].tolist()}"
    return None


def _split(manifold: geoopt.Manifold, rows: Tensor) -> list[tuple[geoopt.Manifold, Tensor]]:
    family = find(manifold)
    return [(manifold, rows)] if family is None else family.split(manifold, rows)


def _defect(manifold: geoopt.Manifold, rows: Tensor) -> Tensor | None:
    family = find(manifold)
    return None if family is None else family.defect(manifold, rows)
