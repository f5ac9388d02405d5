"""What came of the cells of a table, and how it looks as a table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import Strict, TypeAdapter

from msg.experiments.job import Count, Number, Seconds, Share, Text, check_record
from msg.experiments.tables.spaces import Scalar
from msg.experiments.tables.table import TableColumn, TableRow

_Energy = Annotated[Number, Ge(0)]
_OF_SEEDS = ("val", "test", "energy")
"""Parts of an outcome that have a number for each seed, by name."""
_Settings = Mapping[str, Annotated[bool, Strict()] | Annotated[int, Strict()] | Number | Text]


@dataclass(frozen=True)
class Tried:
    """One setting of a search.

    Attributes:
        settings: what was tried.
        vals: validation metric of each search seed that it was trained with and has one.
        failed: why it has no metric, if it has none.
        seconds: of updates.
    """

    settings: _Settings
    vals: list[Share]
    failed: Text | None
    seconds: Seconds

    @property
    def value(self) -> float | None:
        """Mean validation metric, ``None`` where a seed has none."""
        return statistics.fmean(self.vals) if self.failed is None and self.vals else None


def winner_of(searched: Sequence[Tried]) -> Tried | None:
    """The one with the highest mean metric among those trained with the most seeds, the first of equal ones."""
    good = [(one.value, one) for one in searched if one.value is not None]
    most = max((len(one.vals) for _, one in good), default=0)
    finalists = [pair for pair in good if len(pair[1].vals) == most]
    return max(finalists, key=lambda pair: pair[0])[1] if finalists else None


@dataclass(frozen=True)
class Outcome:
    """What came of one model on one graph.

    Attributes:
        dataset: name of the graph.
        content_hash: of the graph.
        task: what was learned.
        split: of nodes or links.
        seeds: that are reported.
        settings: that they were trained with.
        searched: what was tried to find them; nothing if they were known.
        val: validation metric of each seed, by name of the metric.
        test: test metric of each seed, by name.
        trainings: how many, those of the search too.
        seconds: of their updates.
        parameters: that are learned.
        failed: why there is no result, if there is none.
        versions: of what it was made with.
        origin: of which table and graph its settings are, if of another.
        energy: of one inference of each seed's model in mJ, by the names of :meth:`msg.energy.Report.energies`; nothing
            where an earlier version made the cell.
    """

    dataset: Text
    content_hash: Text
    task: Text
    split: Text
    seeds: list[Count]
    settings: _Settings
    searched: list[Tried]
    val: dict[Text, list[Share]]
    test: dict[Text, list[Share]]
    trainings: Count
    seconds: Seconds
    parameters: Count | None
    failed: Text | None
    versions: dict[Text, Text]
    origin: Text | None = None
    energy: dict[Text, list[_Energy]] = field(default_factory=dict)

    def __add__(self, other: "Outcome") -> "Outcome":
        """The same cell with the seeds of both; the metrics and energies that both have."""

        def both(ours: dict[str, list[float]], others: dict[str, list[float]]) -> dict[str, list[float]]:
            return {name: [*values, *others[name]] for name, values in ours.items() if name in others}

        return Outcome(
            **{
                **vars(self),
                "seeds": [*self.seeds, *other.seeds],
                **{part: both(getattr(self, part), getattr(other, part)) for part in _OF_SEEDS},
                "trainings": self.trainings + other.trainings,
                "seconds": self.seconds + other.seconds,
                "failed": self.failed or other.failed,
            }
        )

    def of_seeds(self, seeds: Sequence[int]) -> "Outcome":
        """The same cell with these seeds alone, in their order, as far as it has them."""
        places = [self.seeds.index(seed) for seed in seeds if seed in self.seeds]
        chosen = {
            part: {name: [values[place] for place in places] for name, values in getattr(self, part).items()}
            for part in _OF_SEEDS
        }
        return Outcome(**{**vars(self), **chosen, "seeds": [self.seeds[place] for place in places]})


_OUTCOME = TypeAdapter(Outcome)


def outcome_as_dict(outcome: Outcome) -> dict[str, Any]:
    """As JSON would have it."""
    return asdict(outcome)


def outcome_from_dict(content: Mapping[str, Any]) -> Outcome:
    """From what :func:`outcome_as_dict` gives.

    Raises:
        ValueError: naming the first field that is wrong.
    """
    found = check_record(_OUTCOME, content)
    if any(len(values) != len(found.seeds) for part in _OF_SEEDS for values in getattr(found, part).values()):
        raise ValueError("it has not one metric and energy for each seed")
    return found


@dataclass(frozen=True)
class Cell:
    """A row's place in a column.

    Attributes:
        row: the model.
        column: the graph.
        outcome: what came of it; ``None`` if nothing did.
        failed: why it has no metric, if it has none.
    """

    row: TableRow
    column: TableColumn
    outcome: Outcome | None = None
    failed: str | None = None

    @property
    def settings_from(self) -> str | None:
        """Where its settings are from: ``"search"``, another ``"row"``, the ``"store"`` of the package, or another
        graph such as ``"photo (table1)"``; ``None`` where there are none.
        """
        if self.outcome is None or not self.row.searched:
            return None
        if self.row.after is not None:
            return "row"
        return "search" if self.outcome.searched else self.outcome.origin or "store"

    def values(self, metric: str, part: str = "test") -> dict[int, float]:
        """A metric by seed; nothing where there is none."""
        if self.outcome is None or self.failed is not None:
            return {}
        return dict(zip(self.outcome.seeds, getattr(self.outcome, part).get(metric, [])))

    @property
    def settings(self) -> Mapping[str, Scalar]:
        """That its reported seeds were trained with."""
        return {} if self.outcome is None else self.outcome.settings
