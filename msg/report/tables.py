"""Tables as a terminal, Markdown or LaTeX shows them, and how numbers look in their cells."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pandas import DataFrame

Style = Literal["text", "markdown", "latex"]

_FORMATS = {"text": "simple", "markdown": "pipe", "latex": "latex_booktabs"}
_ABSENT = "–"


def render(table: DataFrame | Sequence[Mapping[str, Any]], style: Style = "text") -> str:
    """A table as text; the first column is aligned to the left, the others to the right.

    Args:
        table: cells of text, see :func:`mean_std`, :func:`fixed`, :func:`significant` and :func:`count`; or a sequence
            of its rows, each a mapping from column to cell.
        style: ``"text"`` for a terminal (a cell may have several lines), ``"markdown"`` or ``"latex"`` (booktabs).

    Raises:
        ValueError: for an unknown style.
    """
    if style not in _FORMATS:
        raise ValueError(f"unknown style {style!r}: use {', '.join(map(repr, _FORMATS))}")
    frame = table if isinstance(table, DataFrame) else DataFrame(list(table))
    sides = ("left", *["right"] * (frame.shape[1] - 1))
    text = frame.to_markdown(index=False, tablefmt=_FORMATS[style], disable_numparse=True, colalign=sides)
    return text.replace("±", r"$\pm$") if style == "latex" else text


def heading(text: str, style: Style = "text") -> str:
    """A title over tables, in their style."""
    return {"text": f"{text}\n{'=' * len(text)}", "markdown": f"## {text}", "latex": rf"\subsection*{{{text}}}"}[style]


def mean_std(values: Sequence[float], scale: float = 100.0, digits: int = 2) -> str:
    """Mean and sample standard deviation, in percent unless scaled otherwise; a dash without values."""
    if not values:
        return _ABSENT
    return f"{scale * statistics.fmean(values):.{digits}f} ± {scale * std(values):.{digits}f}"


def std(values: Sequence[float]) -> float:
    """Sample standard deviation, 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def fixed(value: float | None, digits: int) -> str:
    """So many decimals; a dash for what is not known."""
    return _ABSENT if value is None else f"{value:.{digits}f}"


def fixed_all(values: Sequence[float | None], digits: int, separator: str = " ") -> str:
    """Several numbers of so many decimals in one cell; a dash if there are none."""
    return separator.join(fixed(value, digits) for value in values) or _ABSENT


def significant(value: float | None, digits: int = 3) -> str:
    """So many digits, thousands separated and never in powers of ten above one; a dash for what is not known."""
    if value is None:
        return _ABSENT
    return f"{value:.{digits}g}" if value < 1000 else f"{value:,.0f}"


def count(value: int) -> str:
    """A whole number, thousands separated."""
    return f"{value:,}"
