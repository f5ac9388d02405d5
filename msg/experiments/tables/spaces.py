"""What a search may choose among: one space for all rows, of which each takes the options that its model reads."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from msg.experiments.config import NODES, RunConfig, reads
from msg.experiments.options import fields_of
from msg.names import MODELS

WIDTH, GEOMETRY = "width", "geometry"
"""Settings that are no options: channels of every layer, and letters of manifolds (``"H"``, ``"HxS"``) that are so wide
together. A model that has a manifold is as wide as that."""

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes:
        values: all of them.
        first: what the first trial takes.
    """

    values: tuple[Scalar, ...]
    first: Scalar

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return any(type(value) is type(one) and value == one for one in self.values)

    def settled(self, value: Any) -> Scalar:
        """A value as a setting has it."""
        return value


@dataclass(frozen=True)
class Between:
    """A number between two others, both included.

    Attributes:
        low: the smallest.
        high: the largest.
        first: what the first trial takes.
        log: whether its logarithm is uniform.
        whole: whether it is a whole number.
    """

    low: float
    high: float
    first: float
    log: bool = False
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value lies there."""
        kind = type(value) is int if self.whole else type(value) in (int, float)
        return kind and self.low <= value <= self.high

    def settled(self, value: float) -> Scalar:
        """A value as a setting has it: three digits are enough."""
        if self.whole:
            return int(value)
        return min(max(float(f"{value:.3g}"), self.low), self.high)


Dimension = Choice | Between
Space = Mapping[str, Dimension]

_DECAYS = (0.0, 1e-5, 1e-4, 5e-4, 1e-3, 5e-3)

SPACE: Space = {
    WIDTH: Choice((32, 64, 128, 256), 64),
    GEOMETRY: Choice(("E", "H", "S"), "H"),
    "layers": Between(1, 6, 2, whole=True),
    "norm": Choice(("none", "batch", "layer"), "none"),
    "residual": Choice((False, True), False),
    "jumping": Choice(("none", "cat", "max"), "none"),
    "classifier": Choice(("linear", "fixed"), "linear"),
    "heads": Choice((1, 4, 8), 4),
    "conv": Choice(("gcn", "sage"), "gcn"),
    "learn_curvature": Choice((False, True), False),
    "signed": Choice((False, True), False),
    "timesteps": Choice((5, 8, 15), 5),
    "threshold": Between(0.03, 3.0, 1.0, log=True),
    "step_size": Between(0.01, 1.0, 0.1, log=True),
    "decoder": Choice(("plain", "structural"), "plain"),
    "similarity": Choice(("distance", "tangent"), "distance"),
    "propagate": Choice((0, 3, 10), 0),
    "teleport": Choice((0.1, 0.3), 0.1),
    "dropout": Between(0.0, 0.8, 0.5),
    "input_dropout": Between(0.0, 0.8, 0.0),
    "normalize_features": Choice((False, True), False),
    "label_smoothing": Choice((0.0, 0.1), 0.0),
    "lr": Between(0.0005, 0.05, 0.01, log=True),
    "weight_decay": Choice(_DECAYS, 5e-4),
}
"""Of all rows. The first trial is what one would write without a search; where a model has a default of its own for an
option of the same name, that comes first. Width, layers and geometry have other names, and begin alike for all."""

_FITTED = Choice(("auto", 0.1, 1.0), "auto")

OF_A_MODEL: Mapping[str, Space] = {
    "msg": {
        "layers": Between(2, 6, 2, whole=True),
        "threshold": _FITTED,
        "jumping": Choice(("none", "cat"), "none"),
        "conv": Choice(("sage", "gcn"), "sage"),
    },
    "hgcn": {GEOMETRY: Choice(("H", "P"), "H")},
    "spiking-gnn": {"threshold": _FITTED},
    "spiking-gnn-conv": {"threshold": _FITTED},
    "spikinggcn": {"threshold": _FITTED},
    # what fires by chance needs steps enough for its rates to be told apart; its authors decay weights or drop currents
    "bernoulli-spikinggcn": {
        "timesteps": Choice((50, 200, 400), 200),
        "tau": Between(2.0, 100.0, 80.0, log=True),
        "input_rate": Choice((0.0, 0.05), 0.0),
        "dropout": Between(0.0, 0.8, 0.6),
        "weight_decay": Choice((*_DECAYS, 1e-2), 0.0),
    },
    # its authors' values, but for nine layers, a decay for each branch, and what is no option by name
    "spikegraphormer": {
        "timesteps": Choice((1, 2, 4), 4),
        "heads": Choice((1, 2, 4), 2),
        "blocks": Choice((1, 2, 3), 1),
        "graph_weight": Choice((0.1, 0.3, 0.5, 0.7, 0.8, 0.9), 0.8),
        "graph_dropout": Choice((0.0, 0.2, 0.5), 0.0),
        "lr": Between(0.0005, 0.1, 0.01, log=True),
        "weight_decay": Choice((*_DECAYS, 1e-2, 1e-1), 5e-4),
    },
    # its authors' values, but for the 25, 60 and 64 steps of some graphs and Physics' 16 channels
    "spikegcl": {
        "timesteps": Choice((8, 15, 32), 15),
        "threshold": Between(5e-4, 0.5, 0.05, log=True),
        "encoder_epochs": Choice((5, 20, 50), 50),
        "decoder_channels": Choice((2, 8, 32, 64), 8),
        "margin": Choice((0.0, 1.0), 0.0),
    },
    # trained with clipped gradients by its authors, and on Cora with more dropout and decay than others need
    "hybonet": {
        "clip_grad": Choice((0.0, 0.5, 1.0), 1.0),
        "dropout": Between(0.0, 0.9, 0.5),
        "weight_decay": Choice((*_DECAYS, 1e-2), 5e-4),
    },
    # its authors' values come first; with patience, trainings often end before 100 updates
    "polynormer": {"warm_up": Choice((0, 30, 100), 100), "input_dropout": Between(0.0, 0.8, 0.15)},
}
"""What a model cannot have otherwise, what only it can fit, or what is its own default."""

OF_A_CLASSIFIER: Mapping[str, Space] = {"kappa-gcn": {"layers": Between(2, 6, 2, whole=True)}}
"""What a model cannot have otherwise where one of its convolutions gives the logits."""

BEGINNINGS: tuple[Mapping[str, Scalar], ...] = (
    {},
    {
        "normalize_features": True,
        "input_dropout": 0.5,
        "dropout": 0.5,
        "graph_dropout": 0.5,
        "conv": "gcn",
        "timesteps": 15,
        "threshold": 1.0,
        "classifier": "fixed",
        "decoder": "structural",
        "similarity": "tangent",
        "warm_up": 0,
        "encoder_epochs": 5,
        "decoder_channels": 64,
    },
    {
        "propagate": 10,
        "normalize_features": True,
        "input_dropout": 0.5,
        "dropout": 0.0,
        "conv": "gcn",
        "timesteps": 15,
        "threshold": 1.0,
        "classifier": "fixed",
        "decoder": "structural",
        "similarity": "tangent",
        "lr": 0.003,
    },
    {
        WIDTH: 128,
        "norm": "layer",
        "residual": True,
        "normalize_features": True,
        "dropout": 0.5,
        "graph_dropout": 0.5,
        "lr": 0.001,
        "weight_decay": 5e-4,
        "timesteps": 15,
        "threshold": 1.0,
        "classifier": "fixed",
        "decoder": "structural",
        "similarity": "tangent",
        "warm_up": 30,
        "encoder_epochs": 20,
        "decoder_channels": 32,
    },
    {
        "layers": 3,
        "jumping": "cat",
        "propagate": 3,
        "teleport": 0.3,
        "step_size": 0.5,
        "decoder": "structural",
        "similarity": "tangent",
    },
)
"""What every search begins with; a row takes what it reads, and what is left open is as in the first trial.

The first is the first trial itself. The others are how others train on these graphs: a two-layer GCN on citations
(`Kipf & Welling 2017 <https://arxiv.org/abs/1609.02907>`_, sec. 5.2), with predictions propagated (`Gasteiger et al.
2019 <https://arxiv.org/abs/1810.05997>`_), a norm, residual connections and a slower rate (`Luo et al. 2024
<https://arxiv.org/abs/2406.08993>`_), and what was put together for MSG on Photo (``docs/reproduction.md``). The fixed
classifier and time steps are what MSG needs for the same on normalised features, and so is the threshold, which takes
the place of a fitted one alone: that saturates there. A model that takes features for chances leaves them as they are.
"""

QUICK: Space = {WIDTH: Choice((16, 32), 32), "layers": Between(2, 3, 2, whole=True), "timesteps": Choice((3, 5), 5)}
"""Narrower, for a look at what the command does."""


def space_of(
    config: RunConfig, fixed: Mapping[str, Scalar], held: Collection[str] = (), quick: bool = False
) -> dict[str, Dimension]:
    """What is searched for a row: all that its model reads and that is not fixed.

    Args:
        config: names model and task.
        fixed: settings of the row.
        held: names of settings that it leaves as they are.
        quick: whether the space is :data:`QUICK` where that lies within what the row may have.
    """
    classifier = OF_A_CLASSIFIER.get(config.model, {}) if config.task == NODES else {}
    whole = {**SPACE, **OF_A_MODEL.get(config.model, {}), **classifier}
    if quick:
        whole |= {name: narrow for name, narrow in QUICK.items() if whole[name].holds(narrow.first)}
    decided = {
        *fixed,
        *held,
        *((WIDTH, GEOMETRY) if "manifold" in fixed else ()),
        *((WIDTH,) if "hidden" in fixed else ()),
    }
    own = {name: getattr(config, name, None) for name in ("threshold", *MODELS[config.model].defaults)}
    return {
        name: replace(dimension, first=own[name]) if name in own and dimension.holds(own[name]) else dimension
        for name, dimension in whole.items()
        if name not in decided and _takes(config, name)
    }


def beginnings_of(space: Space) -> tuple[dict[str, Scalar], ...]:
    """Whole settings that a search of a space begins with: :data:`BEGINNINGS`, each that differs once.

    Args:
        space: what is searched; what lies outside of it is as in the first trial.
    """
    return _with_each(space, {}, BEGINNINGS)


def offers_to(
    space: Space, own: Mapping[str, Scalar], others: Iterable[Mapping[str, Scalar]]
) -> tuple[dict[str, Scalar], ...]:
    """Whole settings that a row tries which is offered what others found: its own, then its own with theirs, as far as
    they are of its space, each that differs once.

    Args:
        space: of the row.
        own: settings of it; what they leave open is as in the first trial.
        others: settings of other rows, the best first.
    """
    return _with_each(space, own, ({}, *others))


def _with_each(
    space: Space, settings: Mapping[str, Scalar], others: Iterable[Mapping[str, Scalar]]
) -> tuple[dict[str, Scalar], ...]:
    fits = "threshold" in space and space["threshold"].first == _FITTED.first
    draws = "input_rate" in space

    def carries_over(name: str, value: Scalar) -> bool:
        if name not in space or not space[name].holds(value):
            return False
        if name == "threshold":
            return fits or value == _FITTED.first  # any other was not fitted to these features
        return name != "normalize_features" or not draws  # chances of features that sum to one are small

    first = {name: dimension.first for name, dimension in space.items()}
    found: list[dict[str, Scalar]] = []
    for known in others:
        one = {**first, **settings, **{name: value for name, value in known.items() if carries_over(name, value)}}
        if one not in found:
            found.append(one)
    return tuple(found)


def _takes(config: RunConfig, name: str) -> bool:
    if name == WIDTH:
        return reads(config.model, "hidden") or reads(config.model, "manifold")
    if name == GEOMETRY:
        return reads(config.model, "manifold")
    return reads(config.model, name) and fields_of(RunConfig)[name].option.applies_to(config.task)


def configured(config: RunConfig, settings: Mapping[str, Scalar]) -> RunConfig:
    """A configuration with settings, of which ``width`` and ``geometry`` become options.

    Raises:
        ValueError: for what cannot be.
    """
    options: dict[str, Any] = dict(settings)
    width, geometry = options.pop(WIDTH, None), options.pop(GEOMETRY, "H")
    if width is not None and reads(config.model, "manifold"):
        options["manifold"] = signature(geometry, width)
    elif width is not None:
        options["hidden"] = width
    return config.with_options(**options)


def signature(letters: str, width: int) -> str:
    """A signature such as ``"H16xS16"`` from its letters and the dimension of the whole, which they share.

    Raises:
        ValueError: if they cannot.
    """
    parts = letters.split("x")
    if width % len(parts):
        raise ValueError(f"{width} dimensions cannot be shared by {len(parts)} manifolds ({letters})")
    return "x".join(f"{letter}{width // len(parts)}" for letter in parts)


def space_as_dict(space: Space) -> dict[str, Any]:
    """A space as JSON would have it."""
    found = {name: asdict(dimension) for name, dimension in space.items()}
    return {
        name: {**said, "values": list(said["values"])} if "values" in said else said for name, said in found.items()
    }


def space_from_dict(content: Mapping[str, Any]) -> dict[str, Dimension]:
    """From what :func:`space_as_dict` gives.

    Raises:
        ValueError: for a dimension that its own first value does not lie in.
        TypeError: for something else.
    """
    found: dict[str, Dimension] = {}
    for name, said in content.items():
        one = Choice(tuple(said["values"]), said["first"]) if "values" in said else Between(**said)
        if not one.holds(one.first):
            raise ValueError(f"{name} begins outside of what it may be")
        found[name] = one
    return found
