"""Whether rows of a table can be told apart: paired tests over shared seeds, corrected for how many there are."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

LEVEL = 0.05
"""Two rows whose corrected p is at least so large are not distinguishable."""


def paired_p(first: Mapping[int, float], second: Mapping[int, float]) -> float | None:
    """Two-sided p of a paired t test over the seeds that both have; ``None`` for fewer than two.

    A seed draws one split for all models, so the difference between two of them there is their own. The test takes
    differences of several splits as independent, which they are not quite where splits overlap: it errs towards telling
    rows apart.

    Args:
        first: a metric by seed.
        second: the same of another row.
    """
    seeds = sorted(first.keys() & second.keys())
    if len(seeds) < 2:
        return None
    differences = [first[seed] - second[seed] for seed in seeds]
    if max(differences) == min(differences):  # no spread to compare with
        return 1.0 if differences[0] == 0 else 0.0
    return _p_of_zero_mean(tuple(differences))


@lru_cache(4096)
def _p_of_zero_mean(differences: tuple[float, ...]) -> float:
    # a table is written after each of its cells, mostly of pairs that it had before
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(differences, 0.0).pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def holm(ps: Sequence[float]) -> list[float]:
    """Values of p, corrected by `Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure
    <https://www.jstor.org/stable/4615733>`_, in their order.
    """
    order = sorted(range(len(ps)), key=ps.__getitem__)
    found, largest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        found[place] = largest
    return found


def against_best(rows: Mapping[str, Mapping[int, float]]) -> tuple[str | None, dict[str, float]]:
    """The row of the highest mean, and corrected p of each other against it, where there is one.

    Args:
        rows: a metric by seed, by row; those without are left out.
    """
    known = {name: values for name, values in rows.items() if values}
    if not known:
        return None, {}
    best = max(known, key=lambda name: sum(known[name].values()) / len(known[name]))
    tested = {name: paired_p(known[best], values) for name, values in known.items() if name != best}
    ps = {name: p for name, p in tested.items() if p is not None}
    return best, dict(zip(ps, holm(list(ps.values()))))
