"""What a comparison of gradient rules is, and what it found: values, and the table they make."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from msg.energy.layout import percent
from msg.gradients import SurrogateBPTT
from msg.training.config import GRADIENTS, SURROGATES, RunConfig, rule_options
from msg.training.results import versions

_OF_THE_RULE = ("gradient", "timesteps", "surrogate", "detach_reset")
_NOT_USED = ("baseline", "checkpoint_every")


@dataclass(frozen=True)
class ComparisonConfig:
    """Gradient rules to be compared, every one at every number of time steps, with nothing else changed.

    Attributes:
        base: what they share; its ``gradient``, ``timesteps`` and options of the rule do not matter.
        rules: names, as ``gradient`` of :class:`~msg.training.RunConfig` takes them.
        timesteps: values of ``T``.
        surrogate: of the rules that use one, and of the exact gradient that all are compared with.
        detach_reset: the same, for rules that can do either.
        memory: whether peak memory is measured, which takes one more process for every rule and ``T``.

    Raises:
        ValueError: for an empty or repeated list, and whatever :class:`~msg.training.RunConfig` refuses.
    """

    base: RunConfig
    rules: tuple[str, ...] = ("dvm", "bptt")
    timesteps: tuple[int, ...] = (5, 15, 64)
    surrogate: str = "atan"
    detach_reset: bool = True
    memory: bool = True

    def __post_init__(self):
        for name in ("rules", "timesteps"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must be different values, at least one, not {list(values)}")
        if self.surrogate not in SURROGATES:
            raise ValueError(f"unknown surrogate {self.surrogate!r}: use {', '.join(map(repr, SURROGATES))}")
        # what does not matter is the same in equal comparisons
        object.__setattr__(self, "base", replace(self.runs()[0], baseline=False))

    def runs(self) -> list[RunConfig]:
        """One configuration for every ``T`` of every rule."""
        return [
            replace(self.base, gradient=rule, timesteps=timesteps, **self._options(rule))
            for rule in self.rules
            for timesteps in self.timesteps
        ]

    @property
    def exact(self) -> SurrogateBPTT:
        """The rule whose gradient all others are compared with."""
        return SurrogateBPTT(SURROGATES[self.surrogate](), self.detach_reset)

    def _options(self, rule: str) -> dict[str, Any]:
        # an unknown rule is RunConfig's to refuse
        known = rule_options(GRADIENTS[rule]) if rule in GRADIENTS else set()
        return {name: getattr(self, name) if name in known else None for name in ("surrogate", "detach_reset")}

    def command(self) -> str:
        """The command that makes this comparison; options that have their default are left out."""
        base = self.base
        default = RunConfig(model=base.model, task=base.task, neuron=base.neuron, gradient=base.gradient).as_dict()
        words = ["msg", "compare", "--rules", ",".join(self.rules)]
        words += ["--timesteps", ",".join(map(str, self.timesteps)), "--seeds", ",".join(map(str, base.seeds))]
        for name, value in base.as_dict().items():
            if name in ("dataset", "model", "task", "neuron"):
                words += [f"--{name}", value]
            elif name == "bias":
                words += [] if value else ["--no-bias"]
            elif name not in (*_OF_THE_RULE, *_NOT_USED, "seeds") and value != default[name]:
                words += ["--" + name.replace("_", "-"), str(value)]
        words += ["--surrogate", self.surrogate] + ([] if self.detach_reset else ["--no-detach-reset"])
        words += [] if self.memory else ["--no-memory"]
        return shlex.join(words)

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON would have them."""
        lists = {"rules": list(self.rules), "timesteps": list(self.timesteps)}
        own = {name: getattr(self, name) for name in ("surrogate", "detach_reset", "memory")}
        return {**lists, **own, "base": self.base.as_dict()}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> "ComparisonConfig":
        """From what :meth:`as_dict` gives.

        Raises:
            ValueError: as the classes do.
        """
        lists = {name: tuple(options[name]) for name in ("rules", "timesteps")}
        return cls(**{**options, **lists, "base": RunConfig.from_dict(options["base"])})


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
        seconds_per_epoch: of one update; ``None`` before it is measured, which is last of all.
    """

    rule: str
    timesteps: int
    val: dict[str, Any]
    test: dict[str, Any]
    best_epoch: list[int]
    firing_rate: list[float]
    cosine_before: list[float | None]
    cosine_after: list[float | None]
    memory_mb: float | None
    seconds_per_epoch: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What a comparison found, so far or altogether.

    Attributes:
        config: what was compared.
        dataset: name of the graph.
        content_hash: of the graph.
        split: of nodes or links.
        metric: ``accuracy`` or ``roc_auc``.
        rows: one for every rule and ``T`` that is finished, in the order of the configuration.
    """

    config: ComparisonConfig
    dataset: str
    content_hash: str
    split: str
    metric: str
    rows: tuple[Row, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to measure."""
        done = [row for row in self.rows if row.seconds_per_epoch is not None]
        return len(done) == len(self.config.rules) * len(self.config.timesteps)

    def memory_ratio(self, row: Row) -> float | None:
        """A row's peak memory over that of the same rule at its smallest ``T``."""
        least = min((other for other in self.rows if other.rule == row.rule), key=lambda other: other.timesteps)
        return row.memory_mb / least.memory_mb if row.memory_mb and least.memory_mb else None

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows, as text; a dash where there is no number."""
        part = f"{'accuracy' if self.metric == 'accuracy' else 'ROC-AUC'}, %"
        header = ["rule", "T", f"test {part}", f"validation {part}", "s / epoch", "peak MB", "× least T"]
        header += ["cosine before", "cosine after", "firing rate"]
        rows = [
            [row.rule, str(row.timesteps)]
            + [percent(value["per_seed"]) for value in (row.test, row.val)]
            + [_number(row.seconds_per_epoch, 4), _number(row.memory_mb, 1), _number(self.memory_ratio(row), 2)]
            + [_numbers(row.cosine_before, 2), _numbers(row.cosine_after, 2), _numbers(row.firing_rate, 3)]
            for row in self.rows
        ]
        return header, rows

    def to_markdown(self) -> str:
        """The table with the command that made it, and how to read it."""
        header, rows = self.table()
        lines = [header, ["---"] * 2 + ["---:"] * (len(header) - 2), *rows]
        seeds = len(self.config.base.seeds)
        return "\n".join(
            [
                f"# Gradient rules on {self.dataset}",
                "",
                f"```\n{self.config.command()}\n```",
                "",
                *("| " + " | ".join(cells) + " |" for cells in lines),
                "",
                f"Split {self.split}; mean ± standard deviation over {seeds} {'seed' if seeds == 1 else 'seeds'}, each "
                "at its best epoch on validation. All rules start from the same weights and see the same random "
                "numbers. Seconds: median of one update, rules taking turns on one model. Memory: peak of training in "
                "a fresh process. Cosine: of each layer's weight gradient, encoder first, with that of exact surrogate "
                "BPTT at the same weights, before and after training; seeds where one of them is zero are left "
                "out, a dash if all are.",
                "",
            ]
        )

    def as_dict(self) -> dict[str, Any]:
        """The content of ``comparison.json``."""
        of_the_graph = {name: getattr(self, name) for name in ("dataset", "content_hash", "split", "metric")}
        ratios = [{"memory_ratio": self.memory_ratio(row)} for row in self.rows]
        rows = [{**asdict(row), **ratio} for row, ratio in zip(self.rows, ratios)]
        return {**of_the_graph, "rows": rows, "config": self.config.as_dict(), "versions": versions()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Comparison":
        """From what :meth:`as_dict` gives.

        Raises:
            ValueError: if it is something else.
        """
        try:
            names = [field.name for field in fields(Row)]
            rows = tuple(Row(**{name: row[name] for name in names}) for row in content["rows"])
            of_the_graph = {name: content[name] for name in ("dataset", "content_hash", "split", "metric")}
            return cls(ComparisonConfig.from_dict(content["config"]), **of_the_graph, rows=rows)
        except (KeyError, TypeError) as error:
            raise ValueError(f"no comparison: {error!r}") from error


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _numbers(values: Sequence[float | None], digits: int) -> str:
    return " ".join(_number(value, digits) for value in values)
