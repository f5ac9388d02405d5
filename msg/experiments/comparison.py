"""What a comparison of gradient rules found: a value, its table and its picture."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from msg.names import GRADIENTS
from msg.report.figures import Line, Panel, panels
from msg.report.tables import called, fixed, fixed_all, mean_std, render


@dataclass(frozen=True)
class Row:
    """One rule at one number of time steps; what is said of layers is a mean over seeds, encoder first.

    Attributes:
        rule: its name.
        timesteps: ``T``.
        val: validation metric of the best epoch: ``per_seed``, ``mean``, ``std``.
        test: the same of the test part, at the same weights.
        best_epoch: one a seed.
        firing_rate: of every layer that fires, at the best weights, in spikes a step.
        cosine_before: see :func:`~msg.training.gradient_alignment`, at the initial weights, which all rules share;
            seeds that have none are left out of the mean.
        cosine_after: the same at the rule's own best weights.
        memory_mb: peak memory of training, see :func:`~msg.training.peak_memory`; ``None`` where it was not measured.
        seconds_per_epoch: of the updates of one epoch.
    """

    rule: str
    timesteps: int
    val: dict[str, Any]
    test: dict[str, Any]
    best_epoch: list[int]
    firing_rate: list[float | None]
    cosine_before: list[float | None]
    cosine_after: list[float | None]
    memory_mb: float | None
    seconds_per_epoch: float


@dataclass(frozen=True)
class Comparison:
    """What a comparison of gradient rules found; ``print`` it.

    Attributes:
        config: what was compared, as JSON has it.
        command: that makes the comparison.
        dataset: name of the graph.
        content_hash: of the graph.
        split: of nodes or links.
        metric: ``accuracy`` or ``roc_auc``.
        rows: one for every rule and ``T``, in the order of the study.
        versions: of what it was made with.
    """

    config: Mapping[str, Any]
    command: str
    dataset: str
    content_hash: str
    split: str
    metric: str
    rows: tuple[Row, ...]
    versions: Mapping[str, str]

    def memory_ratio(self, row: Row) -> float | None:
        """A row's peak memory over that of the same rule at its smallest ``T``."""
        least = min((other for other in self.rows if other.rule == row.rule), key=lambda other: other.timesteps)
        return row.memory_mb / least.memory_mb if row.memory_mb and least.memory_mb else None

    def table(self, separator: str = " ") -> list[dict[str, str]]:
        """Rows as text; a dash where there is no number.

        Args:
            separator: of the numbers of several layers.
        """
        part = f"{called(self.metric)}, %"
        return [
            {
                "rule": row.rule,
                "T": str(row.timesteps),
                f"test {part}": mean_std(row.test["per_seed"]),
                f"validation {part}": mean_std(row.val["per_seed"]),
                "s / epoch": fixed(row.seconds_per_epoch, 4),
                "peak MB": fixed(row.memory_mb, 1),
                "× least T": fixed(self.memory_ratio(row), 2),
                "cosine before": fixed_all(row.cosine_before, 2, separator),
                "cosine after": fixed_all(row.cosine_after, 2, separator),
                "firing rate": fixed_all(row.firing_rate, 3, separator),
            }
            for row in self.rows
        ]

    def __str__(self) -> str:
        # a layer and a word a line, so that it fits a terminal of 100 columns
        rows = [{name.replace(" ", "\n"): cell for name, cell in row.items()} for row in self.table("\n")]
        return f"Gradient rules on {self.dataset}\n\n{render(rows)}"

    def markdown(self) -> str:
        """The table with the command that made it, and how to read it."""
        seeds = len(self.config["base"]["seeds"])
        return (
            f"# Gradient rules on {self.dataset}\n\n```\n{self.command}\n```\n\n"
            f"{render(self.table(), 'markdown')}\n\n"
            f"Split {self.split}; mean ± standard deviation over {seeds} {'seed' if seeds == 1 else 'seeds'}, each "
            "at its best epoch on validation. All rules start from the same weights and see the same random "
            "numbers. Seconds: median of an epoch's updates, rules taking turns on one model. Memory: peak of "
            "training in a fresh process. Cosine: of each layer's weight gradient, encoder first, with that of exact "
            "surrogate BPTT at the same weights, before and after training; seeds where one of them is zero are left "
            "out, a dash if all are.\n"
        )

    def figure(self) -> Any:
        """Test metric, time and memory over ``T``, and every layer's cosine similarity before and after training.

        A rule has the same colour in every picture, whichever others are compared with it. What was not measured is
        left out.
        """
        test = f"test {called(self.metric)}"
        upper = [
            Panel(f"{test}, mean ± std", self._lines(lambda row: row.test["mean"], lambda row: row.test["std"]), test),
            Panel("time", self._lines(lambda row: row.seconds_per_epoch), "seconds per epoch", bottom=0),
            Panel("memory", self._lines(lambda row: row.memory_mb), "peak of training, MB", bottom=0),
        ]
        lower = [
            Panel(
                f"layer {layer}",
                self._lines(lambda row, layer=layer: row.cosine_before[layer], faint=True)
                + self._lines(lambda row, layer=layer: row.cosine_after[layer]),
                "" if layer else "cosine with exact surrogate BPTT",
                top=1.05,
                zero=True,
            )
            for layer in range(len(self.rows[0].cosine_before))
        ]
        note = "gradient of each layer's weights, before (dotted) and after training"
        return panels(upper, lower, "time steps T", note)

    def _lines(
        self, value: Callable[[Row], Any], spread: Callable[[Row], float] | None = None, faint: bool = False
    ) -> list[Line]:
        """A line a rule, over ``T``."""
        lines = []
        for rule in self.config["rules"]:
            known = [row for row in self.rows if row.rule == rule and value(row) is not None]
            rows = sorted(known, key=lambda row: row.timesteps)
            times, values = [row.timesteps for row in rows], [value(row) for row in rows]
            spreads = [spread(row) for row in rows] if spread else None
            lines.append(Line(rule, times, values, spreads, list(GRADIENTS).index(rule), faint))
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The content of ``comparison.json``."""
        of_the_graph = {name: getattr(self, name) for name in ("dataset", "content_hash", "split", "metric")}
        rows = [{**asdict(row), "memory_ratio": self.memory_ratio(row)} for row in self.rows]
        return {**of_the_graph, "rows": rows, "config": dict(self.config), "versions": dict(self.versions)}
