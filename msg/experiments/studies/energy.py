"""Accuracy and energy of several models, each under settings that one search on validation data chose."""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from msg.energy import Convention, Count
from msg.experiments.build import prepare
from msg.experiments.config import NODES, RunConfig, parameters, reads
from msg.experiments.files import json_bytes
from msg.experiments.forms import Form, form
from msg.experiments.job import Job, Result
from msg.experiments.jobs.fit import operations_of
from msg.experiments.options import MODEL, TRAINING, fields_of
from msg.experiments.study import Study, Summary
from msg.experiments.trials import Search, Trial
from msg.manifolds import resolve
from msg.names import GRADIENTS, NEURONS
from msg.report.figures import to_png
from msg.sizes import check_sizes
from msg.training import own_random_state

_RELEASED = {"gradient": ("surrogate", "detach_reset"), "neuron": ("tau",)}
"""What a rule or neuron that is varied does not take over from the configuration."""


def variable() -> list[str]:
    """Options that can be varied."""
    named = {name for name, found in fields_of(RunConfig).items() if found.option.panel in (MODEL, TRAINING)}
    return sorted(named - {"model", "baseline"} | {"top_features"})


@dataclass(frozen=True)
class EnergyStudy(Study):
    """Several models trained under one budget, and one inference of each counted.

    Where something is varied each model is searched: all its settings are trained on the first seed; those on the
    model's own front of validation metric against energy are trained on the other seeds too, and what is reported is of
    these others alone.

    Attributes:
        models: names, or forms such as ``"gcn-2bit"`` (see :mod:`msg.experiments.forms`), which have what they fix and
            take all else as their model does; the others are compared with the first.
        base: node classification with ``msg``; its seeds decide splits and initialisations. Every model takes what it
            reads of it and is not MSG's default, and is as wide as its manifold.
        vary: values to try of options, or one that all models are to have though it is MSG's default; a model takes the
            product of those it reads.
        trials: of a product that is larger, so many are drawn, the same ones each time; ``None``: no limit.
        inputs: the reading of zeros and ones under which fronts are found.

    Raises:
        ValueError: for unknown or repeated names, options that cannot be varied, or a configuration of something else.
    """

    kind = "energy"
    command = "energy"
    what = "search"
    artefacts = ("energy.json", "energy.md", "energy.png")

    models: tuple[str, ...]
    base: RunConfig
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    trials: int | None = None
    inputs: Convention = "nonzero"

    def __post_init__(self):
        if self.base.task != NODES or self.base.model != "msg":
            raise ValueError("models are compared in node classification, with model='msg' for the spiking one")
        if len(set(self.models)) < len(self.models) or not self.models:
            raise ValueError(f"models must be different names, not {', '.join(self.models) or 'none'}")
        Count().under(self.inputs)
        forms = [form(name) for name in self.models]
        if self.trials is not None:
            check_sizes(trials=self.trials)
        for option, values in self.vary.items():
            if option not in variable():
                raise ValueError(f"{option} cannot be varied: use {', '.join(variable())}")
            if not any(_takes(one, option) for one in forms):
                raise ValueError(f"{option} is varied, but none of {', '.join(self.models)} reads it")
            if not values:
                raise ValueError(f"no value of {option} to try")
        object.__setattr__(self, "vary", {name: list(dict.fromkeys(values)) for name, values in self.vary.items()})
        self._trials()  # a setting that cannot be is refused now

    @property
    def folder(self) -> str:
        return f"energy-{Path(self.base.dataset).stem}"

    def _trials(self) -> list[Trial]:
        """All that is tried, each setting of each model once, with nothing found yet."""
        return [
            Trial(one.name, setting, self.configure(one, setting))
            for one in map(form, self.models)
            for setting in self._settings(one)
        ]

    def _settings(self, model: Form) -> list[dict[str, Any]]:
        options = [option for option in self.vary if _takes(model, option)]
        values = itertools.product(*(self._values(model, option) for option in options))
        settings = [dict(zip(options, chosen)) for chosen in values]
        if self.trials is None or len(settings) <= self.trials:
            return settings
        return random.Random(0).sample(settings, self.trials)

    def _values(self, model: Form, option: str) -> list[Any]:
        """What is tried of an option; of a model without a manifold, each width once."""
        values = list(self.vary[option])
        if option != "manifold" or reads(model.model, option):
            return values
        return list({resolve(value)[1]: value for value in reversed(values)}.values())[::-1]

    def configure(self, model: Form, setting: Mapping[str, Any]) -> RunConfig:
        """A model under one setting of the options that are varied."""
        given = {**model.fixed, **setting}
        released = {name: None for option in given for name in _RELEASED.get(option, ())}
        changed = {**released, **given}
        shared = {name: value for name, value in changed.items() if reads(self.base.model, name)}
        # of both models: one at this model's default would not outlive the change of models
        own = {name: value for name, value in changed.items() if reads(model.model, name)}
        return self.base.with_options(**shared).for_model(model.model).with_options(**own)

    def rehearse(self, data: Data) -> None:
        with own_random_state(self.base.device):
            for trial in self._trials():
                prepare(trial.config, data, self.base.seeds[0])

    def _job(self, trial: Trial, seed: int, number: int) -> Job:
        extras = {"forgiving": bool(self.vary)}
        return Job("fit", f"{trial.model}-{number}-{seed}", trial.config, seed, trial.name, extras)

    def pending(self, results: Mapping[str, Result]) -> list[Job]:
        first, *others = self.base.seeds
        trials = self._trials()
        jobs = [self._job(trial, first, number) for number, trial in enumerate(trials)]
        waiting = [job for job in jobs if job.name not in results]
        if waiting:
            return waiting
        finalists = {id(trial) for trial in self._finalists(trials, results)}
        chosen = [(number, trial) for number, trial in enumerate(trials) if id(trial) in finalists]
        jobs = [self._job(trial, seed, number) for number, trial in chosen for seed in others]
        return [job for job in jobs if job.name not in results]

    def _read(self, trials: Sequence[Trial], results: Mapping[str, Result], seeds: Sequence[int]) -> list[Trial]:
        """Tell trials what these seeds found; those that went well with all of them."""
        good = []
        for number, trial in enumerate(trials):
            records = [results.get(self._job(trial, seed, number).name) for seed in seeds]
            found = list(itertools.takewhile(lambda one: one is not None and "diverged" not in one.record, records))
            for result in found:
                assert result is not None
                trial.val.append(result.record["val"])
                trial.test.append(result.record["test"])
                trial.runs.append(operations_of(result.record))
            if len(found) == len(seeds):
                good.append(trial)
        return good

    def _finalists(self, trials: list[Trial], results: Mapping[str, Result]) -> list[Trial]:
        """Trials on the front of their model, as the first seed saw them."""
        started = self._read(trials, results, self.base.seeds[:1])
        self._check_left(started)
        search = Search(self.models, trials, started, "", "", self.inputs)
        return [trial for name in self.models for trial in search.front(name)]

    def _check_left(self, trials: Sequence[Trial]) -> None:
        lost = [name for name in self.models if all(trial.model != name for trial in trials)]
        if lost:
            raise FloatingPointError(f"the loss of {', '.join(lost)} diverged in every setting: try a smaller lr")

    def summarise(self, results: Mapping[str, Result], data: Data, versions: Mapping[str, str]) -> Summary:
        trials = self._trials()
        chosen = {id(trial) for trial in self._finalists(trials, results)}
        good = {id(trial) for trial in self._read(trials, results, self.base.seeds[1:])}
        finalists = [trial for trial in trials if id(trial) in chosen & good]
        self._check_left(finalists)
        for trial in finalists:  # the first seed chose, where there is another to report
            trial.chosen_on = int(len(trials) > len(self.models) and len(self.base.seeds) > 1)
        found = Search(self.models, trials, finalists, data.name, data.get("metric", "accuracy"), self.inputs)
        files = {
            "energy.md": (found.markdown() + "\n").encode(),
            "energy.png": to_png(found.figure()),
            "energy.json": json_bytes({**found.as_dict(), "config": self.base.as_dict()}),
        }
        return Summary(found, files)

    def as_dict(self) -> dict[str, Any]:
        vary = {name: list(values) for name, values in self.vary.items()}
        own = {"models": list(self.models), "base": self.base.as_dict(), "vary": vary}
        return {**own, "trials": self.trials, "inputs": self.inputs}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> "EnergyStudy":
        own = {"models": tuple(options["models"]), "base": RunConfig.from_dict(options["base"])}
        return cls(**{**options, **own})


def _takes(model: Form, option: str) -> bool:
    """Whether a model reads an option that it does not fix; one without a manifold reads its dimension, as a width."""
    if option in model.fixed:
        return False
    for part, classes in (("neuron", NEURONS), ("gradient", GRADIENTS)):
        if part in model.fixed and fields_of(RunConfig)[option].option.of == part:
            return option in parameters(classes[model.fixed[part]])
    return reads(model.model, option) or (option == "manifold" and reads(model.model, "hidden"))
