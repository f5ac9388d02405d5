"""Accuracy and energy of several models, each under settings that one search on validation data chose."""

import itertools
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from matplotlib.figure import Figure
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GAT

from msg.energy import COSTS, Candidate, Comparison, Operations, compare, pareto_front, report
from msg.energy.layout import energy as mj
from msg.energy.layout import heading, percent, points, table
from msg.manifolds import resolve
from msg.nn import SpikingGCN
from msg.training.baselines import SAGE, SGC
from msg.training.build import (
    build_baseline,
    build_budget,
    build_model,
    build_neuron,
    load_data,
    own_random_state,
    prepare,
)
from msg.training.config import MSG_MODEL, NODES, RunConfig
from msg.training.energy import count_inference
from msg.training.loop import fit
from msg.training.tasks import Task

WITHIN = 0.005
"""Two metrics that differ by no more are called the same."""

_ALL = {"top_features", "epochs", "lr", "weight_decay", "patience"}
_LAYERED = {*_ALL, "manifold", "layers", "dropout"}
_NEURON = {"timesteps", "neuron", "threshold", "reset", "tau"}
_STEPS = {"conv", "bias", "step_size", "max_step", "sparsity", "gradient", "surrogate", "detach_reset"}
_READS = {
    "gcn": _LAYERED,
    "sgc": {*_ALL, "layers"},
    "sage": _LAYERED,
    "gat": _LAYERED,
    "spikinggcn": {*_ALL, *_NEURON, "layers", "dropout"},
    "msg": {*_LAYERED, *_NEURON, *_STEPS},
}
MODELS = tuple(_READS)
"""Models that :func:`compare_models` knows."""

Listener = Callable[["Trial", int], None]
"""Told of each training that is over: its trial, which has it last, and its seed."""


def build_named(name: str, config: RunConfig, in_channels: int, num_classes: int) -> nn.Module:
    """A model by name, of the same width and depth as the ``msg`` of a configuration.

    GCN, SAGE and GAT have ``layers + 1`` convolutions, SGC and SpikingGCN propagate ``layers`` hops.

    Raises:
        ValueError: for an unknown name.
    """
    width, hops = resolve(str(config.manifold))[1], config.layers
    if name == "msg":
        return build_model(config, in_channels, num_classes)
    if name == "gcn":
        return build_baseline(config, in_channels, num_classes)
    if name == "sgc":
        return SGC(in_channels, num_classes, hops)
    if name == "sage":
        return SAGE([in_channels, *[width] * hops, num_classes], config.dropout)
    if name == "gat":
        return GAT(in_channels, width, hops + 1, num_classes, dropout=config.dropout)
    if name == "spikinggcn":
        neuron = build_neuron(config)
        return SpikingGCN(in_channels, num_classes, hops, config.timesteps, neuron, dropout=config.dropout)
    raise ValueError(f"unknown model {name!r}: use {', '.join(MODELS)}")


@dataclass
class Trial:
    """One model under one setting.

    Attributes:
        model: its name.
        settings: the varied options that the model reads, with their values.
        config: with these settings.
        val: validation metric of each seed that has been trained.
        test: test metric of the same seeds.
        runs: one inference of each, counted.
    """

    model: str
    settings: dict[str, Any]
    config: RunConfig
    val: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    runs: list[Operations] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The model and its setting."""
        return " ".join([self.model, *(f"{name}={value}" for name, value in self.settings.items())])

    @property
    def selection(self) -> float:
        """Mean validation metric. Nothing else selects."""
        return statistics.fmean(self.val)

    @property
    def energy_mj(self) -> float:
        """Mean energy of one inference under the first table of costs, products with zeros skipped, without memory."""
        return self._mean_mj(memory=False)

    @property
    def energy_with_memory_mj(self) -> float:
        """The same with memory."""
        return self._mean_mj(memory=True)

    def _mean_mj(self, memory: bool) -> float:
        return statistics.fmean(report(ops, COSTS[0]).energy_mj(memory=memory) for ops in self.runs)

    def as_dict(self) -> dict[str, Any]:
        """As JSON would have it."""
        kept = {name: getattr(self, name) for name in ("model", "settings", "val", "test")}
        energies = ("energy_mj", "energy_with_memory_mj")
        return {**kept, **{name: getattr(self, name) if self.runs else None for name in energies}}


@dataclass(frozen=True)
class Study:
    """What :func:`compare_models` found; ``print`` it.

    Attributes:
        models: in the order they were named; the first is the reference.
        trials: all that were tried, most of them on the first seed only; one that diverged has no metrics.
        finalists: those that were trained on all seeds.
        dataset: name of the graph.
        metric: name of the metric.
    """

    models: tuple[str, ...]
    trials: list[Trial]
    finalists: list[Trial]
    dataset: str
    metric: str

    @property
    def best(self) -> dict[str, Trial]:
        """Each model's finalist of highest validation metric."""
        return {name: max(self._of(name), key=lambda trial: trial.selection) for name in self.models}

    def front(self, model: str | None = None) -> list[Trial]:
        """Finalists, of one model or all, that no other has more validation metric than for no more energy."""
        trials = self.finalists if model is None else self._of(model)
        return pareto_front(trials, lambda trial: trial.energy_mj, lambda trial: trial.selection)

    def comparison(self) -> Comparison:
        """The best of each model under every table of costs."""
        found = [Candidate(name, trial.runs, trial.test) for name, trial in self.best.items()]
        return compare(found, title=f"Energy of one inference on {self.dataset}, mJ", metric=self.metric)

    def savings(self, trial: Trial) -> tuple[float, float | None]:
        """How many times less energy a trial needs than the best of the reference, and than the reference's cheapest
        finalist whose validation metric is not more than :data:`WITHIN` below the trial's; ``None`` without one.
        """
        reference = self.models[0]
        same = [one for one in self._of(reference) if one.selection >= trial.selection - WITHIN]
        cheapest = min((one.energy_mj for one in same), default=None)
        return self.best[reference].energy_mj / trial.energy_mj, cheapest and cheapest / trial.energy_mj

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON would have it."""
        front = [trial.name for trial in self.front()]
        fronts = {name: [trial.name for trial in self.front(name)] for name in self.models}
        best = {name: trial.name for name, trial in self.best.items()}
        trials = [trial.as_dict() for trial in self.trials]
        return {**self.comparison().as_dict(), "best": best, "front": front, "fronts": fronts, "trials": trials}

    def __str__(self) -> str:
        return self._render(markdown=False)

    def markdown(self) -> str:
        """The study as Markdown."""
        return self._render(markdown=True)

    def figure(self) -> Figure:
        """Metric against energy, each model's front a line; bars of energy where nothing was varied."""
        if not self._searched:
            return self.comparison().figure()
        series = {}
        for name in self.models:
            front = self.front(name)
            series[name] = [(one.energy_mj, [100 * value for value in one.test]) for one in front]
        return points(series, f"mJ per inference, {COSTS[0].name}", f"test {self.metric}, %")

    @property
    def _searched(self) -> bool:
        return len(self.trials) > len(self.models)

    def _of(self, model: str) -> list[Trial]:
        return [trial for trial in self.finalists if trial.model == model]

    def _render(self, markdown: bool) -> str:
        comparison = self.comparison()
        parts = [comparison.markdown() if markdown else str(comparison)]
        if self._searched:
            best = [f"- {trial.name}: the best of {self._tried(name)}" for name, trial in self.best.items()]
            title = f"{self.metric.capitalize()} against energy on {self.dataset}"
            parts += ["\n".join(best), heading(title, markdown), table(self._rows(), markdown), _LEGEND]
        return "\n\n".join(parts)

    def _tried(self, model: str) -> int:
        return sum(trial.model == model for trial in self.trials)

    def _rows(self) -> list[Sequence[str]]:
        reference, overall = self.models[0], {id(trial) for trial in self.front()}
        columns = (
            "validation, %",
            f"test {self.metric}, %",
            "mJ",
            "with memory",
            f"× below {reference}",
            f"same {self.metric}",
        )
        rows: list[Sequence[str]] = [("front of each model", *columns)]
        shown = itertools.chain.from_iterable(self.front(name) for name in self.models)
        for trial in sorted(shown, key=lambda trial: trial.energy_mj):
            mark = " *" if id(trial) in overall else ""
            best, same = self.savings(trial)
            ratios = f"{best:.3g}", "–" if same is None else f"{same:.3g}"
            energies = mj(trial.energy_mj), mj(trial.energy_with_memory_mj)
            rows.append((trial.name + mark, percent(trial.val), percent(trial.test), *energies, *ratios))
        return rows


_LEGEND = (
    f"Energy under {COSTS[0].name}, products with zeros skipped. *: no model has more on validation for no more "
    "energy, memory left out. The last two columns, without memory too: how many times less energy than the first "
    f"model's best, and than its cheapest setting within {100 * WITHIN:g} points on validation."
)


def compare_models(
    models: Sequence[str],
    config: RunConfig,
    vary: Mapping[str, Sequence[Any]] | None = None,
    trials: int | None = None,
    listener: Listener = lambda trial, seed: None,
) -> Study:
    """Train several models under the budget of a configuration, and count one inference of each.

    With ``vary`` each model is searched: all its settings are trained on the first seed; those on the model's own front
    of validation metric against energy are trained on the other seeds too.

    Args:
        models: names out of :data:`MODELS`; the others are compared with the first.
        config: node classification with ``msg``; its seeds decide splits and initialisations.
        vary: values to try of options of a :class:`RunConfig`. A model takes the product of those it reads.
        trials: of a product that is larger, so many are drawn, the same ones each time; ``None``: no limit.
        listener: told of each training.

    Raises:
        ValueError: for unknown or repeated names, options that cannot be varied, or a configuration of something else.
        FloatingPointError: if a training diverges; in a search, where it has lost, if no setting of a model is left.
    """
    if config.task != NODES or config.model != MSG_MODEL:
        raise ValueError("models are compared in node classification, with model='msg' for the spiking one")
    if len(set(models)) < len(models) or not models:
        raise ValueError(f"models must be different names, not {', '.join(models) or 'none'}")
    for name in models:
        if name not in MODELS:
            raise ValueError(f"unknown model {name!r}: use {', '.join(MODELS)}")
    if trials is not None and trials < 1:
        raise ValueError(f"trials must be at least 1, not {trials}")
    vary = {option: list(dict.fromkeys(values)) for option, values in (vary or {}).items()}
    for option, values in vary.items():
        if option not in _READS["msg"]:
            raise ValueError(f"{option} cannot be varied: use {', '.join(sorted(_READS['msg']))}")
        if not any(option in _READS[name] for name in models):
            raise ValueError(f"{option} is varied, but none of {', '.join(models)} reads it")
        if not values:
            raise ValueError(f"no value of {option} to try")
    planned = [trial for name in models for trial in _plan(name, config, vary, trials)]
    data = load_data(config)
    first, *others = config.seeds
    metric = data.get("metric", "accuracy")
    with own_random_state(config):
        # what cannot be built is refused before any work is done; of the settings, only this one is not checked yet
        for trial in {(trial.model, trial.config.top_features): trial for trial in planned}.values():
            _build(trial, data, first)
        started = [trial for trial in planned if _train(trial, data, [first], listener, forgiving=bool(vary))]
        study = Study(tuple(models), planned, started, data.name, metric)
        _check_models(models, started)
        chosen = [trial for name in models for trial in study.front(name)]
        finalists = [trial for trial in chosen if _train(trial, data, others, listener, forgiving=bool(vary))]
    _check_models(models, finalists)
    return Study(tuple(models), planned, finalists, data.name, metric)


def _check_models(models: Sequence[str], trials: Sequence[Trial]) -> None:
    lost = [name for name in models if all(trial.model != name for trial in trials)]
    if lost:
        raise FloatingPointError(f"the loss of {', '.join(lost)} diverged in every setting: try a smaller lr")


def _plan(model: str, config: RunConfig, vary: Mapping[str, Sequence[Any]], trials: int | None) -> list[Trial]:
    """The settings of one model, each once."""
    options = [option for option in vary if option in _READS[model]]
    settings = [dict(zip(options, values)) for values in itertools.product(*(vary[option] for option in options))]
    if trials is not None and len(settings) > trials:
        settings = random.Random(0).sample(settings, trials)
    return [Trial(model, setting, _configure(config, setting)) for setting in settings]


def _configure(config: RunConfig, setting: Mapping[str, Any]) -> RunConfig:
    """With a setting; what a rule or neuron would otherwise have from the configuration takes its own default."""
    own = {"gradient": ("surrogate", "detach_reset"), "neuron": ("tau",)}
    released = {name: None for option in setting for name in own.get(option, ())}
    return replace(config, **{**released, **setting})


def _build(trial: Trial, data: Data, seed: int) -> tuple[nn.Module, Task]:
    return prepare(trial.config, data, seed, partial(build_named, trial.model))


def _train(trial: Trial, data: Data, seeds: Sequence[int], listener: Listener, forgiving: bool) -> bool:
    """Train and count once a seed; whether that went well, or an error if one is not forgiving."""
    for seed in seeds:
        model, task = _build(trial, data, seed)
        try:
            found = fit(model, task, build_budget(trial.config))
        except FloatingPointError:
            if not forgiving:
                raise
            return False
        trial.val.append(found.val.metric)
        trial.test.append(found.test.metric)
        trial.runs.append(count_inference(model, task))
        listener(trial, seed)
    return True
