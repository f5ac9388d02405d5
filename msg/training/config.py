"""What a run is: one frozen value, checked when it is made, kept as ``config.json``."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from msg.gradients import OTTT, CheckpointedBPTT, DvM, GradientRule, RateBackprop, SurrogateBPTT
from msg.manifolds import parse_signature
from msg.neurons import IF, LIF, ATan, Neuron, ParametricLIF, Sigmoid, Surrogate, Triangle

NEURONS: dict[str, type[Neuron]] = {"if": IF, "lif": LIF, "plif": ParametricLIF}
GRADIENTS: dict[str, type[GradientRule]] = {
    "dvm": DvM,
    "rate": RateBackprop,
    "ottt": OTTT,
    "bptt": SurrogateBPTT,
    "checkpointed": CheckpointedBPTT,
}
SURROGATES: dict[str, type[Surrogate]] = {"atan": ATan, "sigmoid": Sigmoid, "triangle": Triangle}

NODES, LINKS = "node-classification", "link-prediction"
MSG_MODEL, SPIKING_GNN = "msg", "spiking-gnn"

_CHOICES = {
    "task": (NODES, LINKS),
    "features": ("auto", "dense", "sparse"),
    "model": (MSG_MODEL, SPIKING_GNN),
    "conv": ("gcn", "sage", "gin"),
    "neuron": tuple(NEURONS),
    "reset": ("subtract", "zero"),
    "gradient": tuple(GRADIENTS),
    "surrogate": tuple(SURROGATES),
}
# smallest integer, or the bounds of a real number, its upper one excluded
_INTEGERS = {
    "top_features": 1,
    "hidden": 1,
    "layers": 1,
    "timesteps": 1,
    "epochs": 1,
    "patience": 0,
    "checkpoint_every": 1,
}
_POSITIVE = ("threshold", "step_size", "lr")
_NOT_NEGATIVE = ("max_step", "dropout", "sparsity", "weight_decay")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result, and where it comes from.

    An option that is ``None`` takes the default of the model, task or rule it belongs to, so that afterwards the
    configuration says what is run; one that belongs to another model, task or rule is a contradiction.

    Attributes:
        dataset: name of a graph, or path of a ``.npz``, as for :func:`msg.datasets.load_graph`.
        root: folder of the raw files.
        task: ``node-classification`` or ``link-prediction``.
        split: see :func:`msg.datasets.apply_split` and :func:`msg.datasets.link_split`. ``None``: the graph's own, or
            ``link:85/5/10``.
        features: ``auto``, ``dense`` or ``sparse``.
        top_features: how many features all models read, see :func:`msg.datasets.top_features`. ``None``: all.
        model: ``msg``, or ``spiking-gnn`` for the network without a manifold.
        manifold: signature, for ``msg`` (``H32``).
        hidden: width, for ``spiking-gnn`` (32); the manifold's dimension is that of ``msg``.
        layers: number of layers after the encoder.
        timesteps: ``T``.
        conv: ``gcn``, ``sage`` or ``gin``.
        bias: whether its current has a constant part.
        neuron: ``if``, ``lif`` or ``plif``.
        threshold: of the neuron.
        reset: ``subtract`` or ``zero``.
        tau: time constant in steps, for ``lif`` and ``plif`` (2).
        gradient: ``dvm`` (default of ``msg``), ``rate``, ``ottt``, ``bptt`` (default of ``spiking-gnn``) or
            ``checkpointed``.
        surrogate: ``atan``, ``sigmoid`` or ``triangle``, for rules that use one (``atan``).
        detach_reset: whether the gradient through the reset is cut, for rules that can do either (it is).
        step_size: ``ε``, for ``msg`` (0.1).
        max_step: bound on the length of a step, for ``msg`` (1); 0 for none.
        dropout: probability.
        sparsity: weight in the loss of the spiking network's firing, see :class:`~msg.training.NodeClassification`.
        epochs: at most so many.
        lr: learning rate of Adam.
        weight_decay: of Adam.
        patience: stop after so many epochs without a better validation metric; 0 for never.
        seeds: one training each; a seed decides split and initialisation.
        baseline: whether a GCN of the same width and depth is trained under the same budget.
        device: ``cpu`` or ``cuda``. Results are exactly reproducible on a CPU.
        checkpoint_every: number of epochs.

    Raises:
        ValueError: for an unknown name, an impossible number, or options that contradict each other.
    """

    dataset: str = "digits"
    root: str | None = None
    task: str = NODES
    split: str | None = None
    features: str = "auto"
    top_features: int | None = None
    model: str = MSG_MODEL
    manifold: str | None = None
    hidden: int | None = None
    layers: int = 2
    timesteps: int = 15
    conv: str = "gcn"
    bias: bool = True
    neuron: str = "if"
    threshold: float = 1.0
    reset: str = "subtract"
    tau: float | None = None
    gradient: str | None = None
    surrogate: str | None = None
    detach_reset: bool | None = None
    step_size: float | None = None
    max_step: float | None = None
    dropout: float = 0.0
    sparsity: float = 0.0
    epochs: int = 200
    lr: float = 0.01
    weight_decay: float = 0.0
    patience: int = 100
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    baseline: bool = True
    device: str = "cpu"
    checkpoint_every: int = 10

    def __post_init__(self):
        for name, known in _CHOICES.items():
            _check_choice(name, getattr(self, name), known)
        for field in fields(self):
            _check_number(field.name, getattr(self, field.name))
        if not self.dropout < 1:
            raise ValueError(f"dropout must be below 1, not {self.dropout}")
        _check_seeds(self.seeds)
        _check_device(self.device)
        self._settle_model()
        self._settle_rule()
        self._settle_split()

    def _settle(self, name: str, default: Any, applies: bool, reason: str) -> None:
        """Give an option its default where it applies, and refuse it where it does not."""
        if applies and getattr(self, name) is None:
            object.__setattr__(self, name, default)
        elif not applies and getattr(self, name) is not None:
            raise ValueError(f"{name}={getattr(self, name)!r} contradicts {reason}: leave it out")

    def _settle_model(self) -> None:
        manifold = self.model == MSG_MODEL
        self._settle("manifold", "H32", manifold, "model='spiking-gnn', which has no manifold")
        self._settle("step_size", 0.1, manifold, "model='spiking-gnn', which has no manifold")
        self._settle("max_step", 1.0, manifold, "model='spiking-gnn', which has no manifold")
        self._settle("hidden", 32, not manifold, f"manifold={self.manifold!r}, whose dimension is the width")
        if self.manifold is not None:
            parse_signature(self.manifold)
        elif self.task == LINKS:
            raise ValueError(
                "task='link-prediction' contradicts model='spiking-gnn': links are predicted from distances on a "
                "manifold, use model='msg' (with manifold='E32' for flat space)"
            )

    def _settle_rule(self) -> None:
        if self.gradient is None:
            object.__setattr__(self, "gradient", "dvm" if self.model == MSG_MODEL else "bptt")
        rule = GRADIENTS[str(self.gradient)]
        if self.model == SPIKING_GNN and not rule.through_spikes:
            usable = [name for name, other in GRADIENTS.items() if other.through_spikes]
            raise ValueError(
                f"gradient={self.gradient!r} contradicts model='spiking-gnn': it does not differentiate through "
                f"spikes, use {_listed(usable)}"
            )
        if self.neuron == "plif" and not rule.through_spikes:
            raise ValueError(
                f"neuron='plif' contradicts gradient={self.gradient!r}: its time constant would never learn, use "
                "gradient='bptt' or neuron='lif'"
            )
        options = rule_options(rule)
        self._settle("surrogate", "atan", "surrogate" in options, f"gradient={self.gradient!r}, which uses none")
        self._settle(
            "detach_reset", True, "detach_reset" in options, f"gradient={self.gradient!r}, which has no choice"
        )
        self._settle("tau", 2.0, self.neuron != "if", "neuron='if', which does not leak")
        if self.tau is not None and not self.tau > 1:
            raise ValueError(f"tau must be above 1 step, not {self.tau}")

    def _settle_split(self) -> None:
        if self.task == LINKS and self.split is None:
            object.__setattr__(self, "split", "link:85/5/10")
        for name in ("top_features", "sparsity"):
            if self.task == LINKS and getattr(self, name):
                raise ValueError(f"{name} contradicts task={self.task!r}: it belongs to {NODES!r}, leave it out")
        if self.split is not None and self.split.startswith("link:") != (self.task == LINKS):
            wanted = "link:TRAIN/VAL/TEST" if self.task == LINKS else "public, fixed:K, random:10/10/80 or per-class:20"
            raise ValueError(f"split={self.split!r} contradicts task={self.task!r}: use {wanted}")

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON would have them."""
        return {**asdict(self), "seeds": list(self.seeds)}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> "RunConfig":
        """From what :meth:`as_dict` gives.

        Raises:
            ValueError: for an unknown option, and as the class does.
        """
        known = [field.name for field in fields(cls)]
        unknown = [name for name in options if name not in known]
        if unknown:
            raise ValueError(f"unknown options {', '.join(unknown)}: known are {', '.join(known)}")
        seeds = options.get("seeds", cls.seeds)
        return cls(**{**options, "seeds": tuple(seeds) if isinstance(seeds, list) else seeds})


def rule_options(rule: type[GradientRule]) -> set[str]:
    """Which of a run's options a gradient rule takes."""
    return {field.name for field in fields(rule)} & {"surrogate", "detach_reset"}


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from a text such as ``"3"``, ``"0-4"`` (both ends included) or ``"0,2,5-7"``.

    Raises:
        ValueError: if the text is none of these.
    """
    seeds: list[int] = []
    for part in text.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise ValueError(f"cannot read seeds {text!r}: write 3, 0-4 or 0,2,5")
        seeds.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(seeds)


def _listed(names) -> str:
    return ", ".join(repr(name) for name in names)


def _check_choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise ValueError(f"unknown {name} {value!r}: use {_listed(known)}")


def _check_number(name: str, value: Any) -> None:
    if value is None:
        return
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _INTEGERS and not (type(value) is int and value >= _INTEGERS[name]):
        raise ValueError(f"{name} must be a whole number of at least {_INTEGERS[name]}, not {value!r}")
    if name in _POSITIVE and not (real and 0 < value < float("inf")):
        raise ValueError(f"{name} must be a positive number, not {value!r}")
    if name in _NOT_NEGATIVE and not (real and 0 <= value < float("inf")):
        raise ValueError(f"{name} must be a number of at least 0, not {value!r}")


def _check_seeds(seeds: Any) -> None:
    if not isinstance(seeds, tuple) or not seeds or any(type(seed) is not int for seed in seeds):
        raise ValueError(f"seeds must be a tuple of whole numbers such as (0, 1, 2), not {seeds!r}")
    if min(seeds) < 0 or max(seeds) >= 2**32 or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different numbers from 0 to 2**32 - 1, not {seeds}")


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {device!r}: use 'cpu', 'cuda' or 'cuda:1'")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r} is not available here: use 'cpu'")
