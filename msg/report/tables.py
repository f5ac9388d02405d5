"""Tables as a terminal, Markdown or LaTeX shows them, and how numbers look in their cells."""

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import tabulate
from pandas import DataFrame

from msg.report.width import widest

Style = Literal["text", "markdown", "latex"]

_FORMATS = {"text": "simple", "markdown": "pipe", "latex": "latex_booktabs"}
_ABSENT = "–"

_METRICS = {
    "roc_auc": ("ROC-AUC", "ROC-AUC"),
    "average_precision": ("average precision", "AP"),
    "mrr": ("mean reciprocal rank", "MRR"),
}


def render(table: Sequence[Mapping[str, Any]], style: Style = "text") -> str:
    """A table as text; the first column is aligned to the left, the others to the right.

    Args:
        table: its rows, each a mapping from column to a cell of text, see :func:`mean_std`, :func:`fixed`,
            :func:`significant` and :func:`count`.
        style: ``"text"`` for a terminal (a cell may have several lines; see :func:`msg.report.width.fitting`),
            ``"markdown"`` or ``"latex"`` (booktabs).

    Raises:
        ValueError: for an unknown style.
    """
    if style not in _FORMATS:
        raise ValueError(f"unknown style {style!r}: use {', '.join(map(repr, _FORMATS))}")
    frame = DataFrame(list(table))
    width = widest()
    if style == "text" and width is not None:
        return "\n\n".join(_rendered(part, style) for part in _fitted(frame, width))
    text = _rendered(frame, style)
    return text.replace("±", r"$\pm$") if style == "latex" else text


def _rendered(frame: DataFrame, style: Style) -> str:
    sides = ("left", *["right"] * (frame.shape[1] - 1))
    return frame.to_markdown(index=False, tablefmt=_FORMATS[style], disable_numparse=True, colalign=sides)


def _fitted(frame: DataFrame, width: int) -> list[DataFrame]:
    """The table in as many as fit, one below the other, each with the columns that say which row is which.

    Before that headers are broken at their spaces; after it, a column that is too wide alone at those of its cells.
    """
    if _total([_width(name, frame[name]) for name in frame]) <= width:
        return [frame]
    cells = {name: max((_longest(text) for text in frame[name]), default=0) for name in frame}
    frame = frame.rename(columns={name: _broken(name, cells[name]) for name in frame})
    widths = {name: _width(name, frame[name]) for name in frame}
    keys = _keys(frame, width, widths)
    groups: list[list[str]] = [[]]
    for name in list(frame)[len(keys) :]:
        if groups[-1] and _total([widths[one] for one in (*keys, *groups[-1], name)]) > width:
            groups.append([])
        groups[-1].append(name)
    return [_narrowed(DataFrame(frame[[*keys, *group]]), width) for group in groups]


def _keys(frame: DataFrame, width: int, widths: Mapping[str, int]) -> list[str]:
    """The first columns, as many as tell rows apart; the first alone where that would leave little room."""
    names = list(frame)
    for count in range(1, len(names)):
        if not frame[names[:count]].duplicated().any():
            return names[:count] if 2 * _total([widths[name] for name in names[:count]]) <= width else names[:1]
    return names[:1]


def _narrowed(frame: DataFrame, width: int) -> DataFrame:
    """With the widest column broken at spaces, where lines are still too long."""
    widths = {name: _width(name, frame[name]) for name in frame}
    over = _total(list(widths.values())) - width
    if over <= 0:
        return frame
    name = max(widths, key=lambda one: widths[one])
    return frame.assign(**{name: [_broken(text, max(widths[name] - over, 10)) for text in frame[name]]})


def _broken(text: str, width: int) -> str:
    """Broken at spaces into lines of so many characters, or of its longest word."""
    longest = max(map(len, text.split()), default=1)
    return textwrap.fill(text, max(width, longest), break_long_words=False, break_on_hyphens=False) if text else text


def _longest(text: str) -> int:
    return max(map(len, str(text).split("\n")))


def _width(name: str, column: Any) -> int:
    return max([_longest(name) + tabulate.MIN_PADDING, *map(_longest, column)])


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def heading(text: str, style: Style = "text") -> str:
    """A title over tables, in their style."""
    return {"text": f"{text}\n{'=' * len(text)}", "markdown": f"## {text}", "latex": rf"\subsection*{{{text}}}"}[style]


def called(metric: str, short: bool = False) -> str:
    """What people call a metric: ``"roc_auc"`` is ROC-AUC. ``short`` is for the head of a column."""
    return _METRICS.get(metric, (metric, metric))[short]


def mean_std(values: Sequence[float], scale: float = 100.0, digits: int = 2) -> str:
    """Mean and sample standard deviation, in percent unless scaled otherwise; of one value itself, which has no
    deviation; a dash without values.
    """
    if not values:
        return _ABSENT
    mean = f"{scale * statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {scale * std(values):.{digits}f}"


def mean_and_std(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation of one value at least, with the values."""
    return {"per_seed": list(values), "mean": statistics.fmean(values), "std": std(values)}


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
    said = f"{value:.{digits}g}"
    return f"{value:,.0f}" if value >= 1000 or "e+" in said else said


def count(value: int) -> str:
    """A whole number, thousands separated."""
    return f"{value:,}"
