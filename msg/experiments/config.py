"""What is run: one frozen value, checked when it is made. Its fields are the one definition of all options.

The command line, ``--config FILE.toml``, ``config.json`` and the documentation's table are made from them. Importing
this module imports no torch.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Le, Lt

from msg.experiments.options import DATA, MODEL, RUN, TRAINING, Option, check_types, fields_of, listed
from msg.names import CONVS, GRADIENTS, MODELS, NEURONS, SURROGATES, Classifier, Features, Jumping, Norm, Pooling, Reset
from msg.registry import Registry

NODES, LINKS, GRAPHS = "node-classification", "link-prediction", "graph-classification"
NO_BASELINE = "none"

_TASKS = (NODES, LINKS, GRAPHS)
_ONE_GRAPH, _CLASSES_OF = f"{NODES} {LINKS}", f"{NODES} {GRAPHS}"
_FEATURES, _RESETS, _POOLINGS = get_args(Features), get_args(Reset), get_args(Pooling)
_DECODERS = ("plain", "structural")
_SIMILARITIES = ("distance", "tangent")
_CLASSIFIERS, _NORMS, _JUMPING = get_args(Classifier), get_args(Norm), get_args(Jumping)
_SPLITS = "public, fixed:K, random:10/10/80, per-class:20, folds:10, link:85/5/10."
_GRADIENTS = "rate; dvm for links; bptt for spiking-gnn"
_CLASSES: dict[str, Registry] = {"neuron": NEURONS, "gradient": GRADIENTS}


def _either(names: Iterable[str]) -> str:
    return f"{', '.join(names)}."


def _split(before: Mapping[str, Any]) -> str | None:
    return "link:85/5/10" if before["task"] == LINKS else None


def _chosen(of_nodes: Any, of_links: Any, of_graphs: Any = None) -> Callable[[Mapping[str, Any]], Any]:
    """A default that a search on ten graphs chose for classes of nodes (``benchmarks/bench_defaults.py``); graphs have
    that of links unless another is given.
    """
    default = {NODES: of_nodes, LINKS: of_links, GRAPHS: of_links if of_graphs is None else of_graphs}
    return lambda before: default[before["task"]]


def _layers(before: Mapping[str, Any]) -> int:
    return before["layers"]


def _fan_out(before: Mapping[str, Any]) -> str | None:
    hops = before.get("hops") or before.get("layers") or 0
    return None if before["batch_size"] is None else ",".join(["10"] * hops)


def _baseline(before: Mapping[str, Any]) -> str:
    usual = "gin" if before["task"] == GRAPHS else "gcn"
    return NO_BASELINE if before["model"] == usual else usual


def _decoder(before: Mapping[str, Any]) -> str:
    return "plain" if before.get("batch_size") else "structural"


def _batch_size(before: Mapping[str, Any]) -> int | None:
    return 32 if before["task"] == GRAPHS else None


def _seeds(before: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(range(10 if before["task"] == GRAPHS else 5))


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result, and where it comes from.

    An option that is ``None`` takes the default of the model, task, neuron or rule it belongs to, so that afterwards
    the configuration says what is run; one that belongs to another is a contradiction.

    Raises:
        ValueError: for an unknown name, an impossible number, or options that contradict each other.
    """

    dataset: Annotated[str, Option(DATA, "Name (`msg datasets list`), or path of a `.npz`.", "digits")] = "digits"
    root: Annotated[str | None, Option(DATA, "Folder of the raw files.", shown="datasets")] = None
    task: Annotated[str, Option(DATA, _either(_TASKS), NODES, choices=_TASKS)] = NODES
    split: Annotated[str | None, Option(DATA, _SPLITS, _split, "the graph's own")] = None
    features: Annotated[str, Option(DATA, _either(_FEATURES), "auto", choices=_FEATURES, tasks=_ONE_GRAPH)] = "auto"
    top_features: Annotated[
        int | None, Ge(1), Option(DATA, "Read only the best features by chi squared.", shown="all", tasks=NODES)
    ] = None
    normalize_features: Annotated[bool, Option(DATA, "Scale each node's features to an L1 norm of 1.", False)] = False
    model: Annotated[str, Option(MODEL, _either(MODELS), "msg", choices=MODELS)] = "msg"
    manifold: Annotated[
        str | None,
        Option(MODEL, "E32, H32, S32, P32, U32, L32, or a product such as H16xS16.", "H32", reads="manifold"),
    ] = None
    hidden: Annotated[
        int | None, Ge(1), Option(MODEL, "Width of a model without a manifold.", 32, reads="hidden_channels")
    ] = None
    layers: Annotated[
        int | None,
        Ge(1),
        Option(
            MODEL, "Number of convolutions.", _chosen(2, 3), "2; 3 for links and graphs", reads="num_layers num_hops"
        ),
    ] = None
    hops: Annotated[
        int | None, Ge(1), Option(MODEL, "Hops of propagation.", _layers, "as many as layers", reads="num_hops")
    ] = None
    signed: Annotated[
        bool | None, Option(MODEL, "Whether features are encoded with their sign.", False, reads="signed")
    ] = None
    timesteps: Annotated[
        int | None,
        Ge(1),
        Option(MODEL, "Number of time steps T.", _chosen(5, 15, 5), "5; 15 for links", reads="timesteps"),
    ] = None
    conv: Annotated[
        str | None,
        Option(
            MODEL,
            _either(CONVS),
            _chosen("sage", "gcn", "gin"),
            "sage; gcn for links; gin for graphs",
            choices=CONVS,
            reads="conv",
        ),
    ] = None
    bias: Annotated[bool | None, Option(MODEL, "Whether synapses add a constant current.", True, reads="bias")] = None
    neuron: Annotated[str | None, Option(MODEL, _either(NEURONS), "if", choices=NEURONS, reads="neuron")] = None
    threshold: Annotated[
        Annotated[float, Gt(0)] | Literal["auto"] | None,
        Option(
            MODEL,
            "Firing threshold, or auto.",
            "auto",
            "auto; 1.0 for another neuron than if",
            of="neuron",
            reads="threshold",
        ),
    ] = None
    bits: Annotated[int | None, Ge(1), Le(16), Option(MODEL, "Of a quantized activation.", 4, of="neuron")] = None
    reset: Annotated[
        str | None,
        Option(
            MODEL,
            _either(_RESETS),
            "subtract",
            "subtract; zero for scaled-lif and decaying-lif",
            choices=_RESETS,
            of="neuron",
        ),
    ] = None
    tau: Annotated[
        float | None,
        Gt(0),
        Option(MODEL, "Time constant of a leak, in steps.", 2.0, "2.0; 1.0 for decaying-lif", of="neuron", reads="tau"),
    ] = None
    step_size: Annotated[float | None, Gt(0), Option(MODEL, "Step on the manifold.", 0.1, reads="step_size")] = None
    learn_step_size: Annotated[
        bool | None, Option(MODEL, "Whether each layer learns its step.", False, reads="learn_step_size")
    ] = None
    max_step: Annotated[float | None, Ge(0), Option(MODEL, "Longest step, 0: any.", 1.0, reads="max_step")] = None
    dropout: Annotated[
        float | None,
        Ge(0),
        Lt(1),
        Option(MODEL, "Its probability.", _chosen(0.5, 0.0), "0.5; 0.0 for links and graphs", reads="dropout"),
    ] = None
    heads: Annotated[int | None, Ge(1), Option(MODEL, "Heads of attention.", 1, reads="heads")] = None
    graph_weight: Annotated[
        float | None,
        Ge(0),
        Le(1),
        Option(MODEL, "Share of the graph network beside a transformer.", 0.8, reads="graph_weight"),
    ] = None
    graph_dropout: Annotated[
        float | None,
        Ge(0),
        Lt(1),
        Option(MODEL, "Dropout of a spikegraphormer's graph network.", 0.0, reads="graph_dropout"),
    ] = None
    blocks: Annotated[
        int | None, Ge(1), Option(MODEL, "Blocks of a spikegraphormer's transformer.", 1, reads="num_blocks")
    ] = None
    warm_up: Annotated[
        int | None, Ge(0), Option(MODEL, "Updates of a polynormer before global attention.", 100, reads="warm_up")
    ] = None
    input_rate: Annotated[
        float | None, Ge(0), Le(1), Option(MODEL, "Added to each rate that fires at random.", 0.0, reads="input_rate")
    ] = None
    encoder_epochs: Annotated[
        int | None, Ge(0), Option(MODEL, "Epochs that train a spikegcl's encoder.", 50, reads="encoder_epochs")
    ] = None
    decoder_channels: Annotated[
        int | None, Ge(1), Option(MODEL, "Outputs of a spikegcl's decoder.", 8, reads="decoder_channels")
    ] = None
    margin: Annotated[float | None, Ge(0), Option(MODEL, "Of a spikegcl's contrast.", 0.0, reads="margin")] = None
    norm: Annotated[str | None, Option(MODEL, _either(_NORMS), "none", choices=_NORMS, reads="norm")] = None
    residual: Annotated[bool | None, Option(MODEL, "Connections past each layer.", False, reads="residual")] = None
    jumping: Annotated[
        str | None,
        Option(MODEL, f"Read-out of all layers: {_either(_JUMPING)}", "none", choices=_JUMPING, reads="jumping"),
    ] = None
    classifier: Annotated[
        str | None,
        Option(
            MODEL,
            f"Map to classes: {_either(_CLASSIFIERS)}",
            "linear",
            choices=_CLASSIFIERS,
            reads="classifier",
            tasks=NODES,
        ),
    ] = None
    learn_curvature: Annotated[
        bool | None, Option(MODEL, "Whether curvature is learned.", True, reads="learn_curvature")
    ] = None
    propagate: Annotated[
        int, Ge(0), Option(MODEL, "Hops that predictions are propagated, by personalised PageRank.", 0, tasks=NODES)
    ] = 0
    teleport: Annotated[
        float, Gt(0), Le(1), Option(MODEL, "Share of a node's own prediction in each hop.", 0.1, tasks=NODES)
    ] = 0.1
    input_dropout: Annotated[
        float, Ge(0), Lt(1), Option(TRAINING, "Probability of dropping a feature of a node.", 0.0)
    ] = 0.0
    drop_edge: Annotated[float, Ge(0), Lt(1), Option(TRAINING, "Probability of dropping an edge.", 0.0)] = 0.0
    half_hop: Annotated[
        float, Ge(0), Lt(1), Option(TRAINING, "Probability that a node's edges are slowed.", 0.0, tasks=NODES)
    ] = 0.0
    label_smoothing: Annotated[
        float,
        Ge(0),
        Lt(1),
        Option(TRAINING, "Weight of the other classes in the loss.", 0.0, reads="label_smoothing", tasks=_CLASSES_OF),
    ] = 0.0
    consistency: Annotated[
        float,
        Ge(0),
        Option(TRAINING, "Weight of what two views of the graph in each update should agree on.", 0.0, tasks=NODES),
    ] = 0.0
    generations: Annotated[
        int,
        Ge(1),
        Option(TRAINING, "Trainings in a row, each taught by what those before it predict too.", 1, tasks=NODES),
    ] = 1
    pooling: Annotated[
        str | None,
        Option(
            MODEL,
            f"Of a graph's points: {_either(_POOLINGS)}",
            "mean",
            "mean; sum for gin",
            choices=_POOLINGS,
            reads="pooling",
            tasks=GRAPHS,
        ),
    ] = None
    sparsity: Annotated[
        float,
        Ge(0),
        Option(TRAINING, "Weight of the firing rate in the loss.", 0.0, reads="gradient", tasks=_CLASSES_OF),
    ] = 0.0
    gradient: Annotated[
        str | None,
        Option(
            TRAINING,
            _either(GRADIENTS),
            _chosen("rate", "dvm", "rate"),
            _GRADIENTS,
            choices=GRADIENTS,
            reads="gradient",
        ),
    ] = None
    surrogate: Annotated[
        str | None, Option(TRAINING, _either(SURROGATES), "atan", choices=SURROGATES, of="gradient")
    ] = None
    detach_reset: Annotated[bool | None, Option(TRAINING, "Cut the reset's gradient.", True, of="gradient")] = None
    epochs: Annotated[int, Ge(1), Option(TRAINING, "At most so many.", 200)] = 200
    lr: Annotated[float, Gt(0), Option(TRAINING, "Learning rate of Adam.", 0.01)] = 0.01
    weight_decay: Annotated[
        float | None,
        Ge(0),
        Option(TRAINING, "Weight decay of Adam.", _chosen(5e-4, 0.0), "0.0005; 0.0 for links and graphs"),
    ] = None
    clip_grad: Annotated[float, Ge(0), Option(TRAINING, "Largest norm of a gradient, 0: any.", 0.0)] = 0.0
    patience: Annotated[int, Ge(0), Option(TRAINING, "Epochs without improvement before the end, 0: any.", 100)] = 100
    batch_size: Annotated[
        int | None,
        Ge(1),
        Option(TRAINING, "Nodes, links or graphs of a batch.", _batch_size, "all; 32 graphs", reads="batch_size"),
    ] = None
    decoder: Annotated[
        str | None,
        Option(
            MODEL,
            f"Of links: {_either(_DECODERS)}",
            _decoder,
            "structural; plain for batches",
            choices=_DECODERS,
            reads="decoder",
            tasks=LINKS,
        ),
    ] = None
    similarity: Annotated[
        str | None,
        Option(
            MODEL,
            f"Of points, in a decoder: {_either(_SIMILARITIES)}",
            "distance",
            choices=_SIMILARITIES,
            reads="similarity",
            tasks=LINKS,
        ),
    ] = None
    fan_out: Annotated[
        str | None,
        Option(
            TRAINING,
            "Neighbours drawn in a batch at each hop, such as 15,10; -1: all.",
            _fan_out,
            "10 at each",
            reads="batch_size",
            tasks=_ONE_GRAPH,
        ),
    ] = None
    baseline: Annotated[
        str | None,
        Option(TRAINING, "Model trained beside it on the same budget, or none.", _baseline, "gcn; gin for graphs"),
    ] = None
    seeds: Annotated[
        tuple[int, ...], Option(RUN, "Such as 3, 0-4 or 0,2,5; a seed is a fold.", _seeds, "0-4; 0-9 for graphs")
    ] = None  # pyright: ignore[reportAssignmentType] - until the task is known
    device: Annotated[str, Option(RUN, "cpu or cuda; reproducible to the digit on a CPU.", "cpu")] = "cpu"
    checkpoint_every: Annotated[int, Ge(1), Option(RUN, "Epochs between two checkpoints.", 10)] = 10

    def __post_init__(self):
        if self.seeds is None:
            object.__setattr__(self, "seeds", _seeds(vars(self)))
        check_seeds(self.seeds)
        check_types(self)
        check_device(self.device)
        self._settle()
        self._check_model()
        self._check_rule()
        self._check_split()
        self._check_batches()

    def _settle(self) -> None:
        """Give every option that was not given its default, and refuse those that do not apply."""
        defaults = applicable(vars(self))
        for name, field in fields_of(RunConfig).items():
            if name not in defaults and getattr(self, name) != field.absent:
                raise ValueError(f"{self._contradiction(name)} leave it out")
            if name in defaults and getattr(self, name) is None:
                object.__setattr__(self, name, defaults[name])

    def _contradiction(self, name: str) -> str:
        option, value = fields_of(RunConfig)[name].option, getattr(self, name)
        if not option.applies_to(self.task):
            return f"{name} contradicts task={self.task!r}: it belongs to {listed(option.tasks.split())},"
        if option.of and getattr(self, option.of) is not None:
            return f"{name}={value!r} contradicts {option.of}={getattr(self, option.of)!r}, which has none:"
        if name == "hidden" and self.manifold is not None:
            return f"{name}={value!r} contradicts manifold={self.manifold!r}, whose dimension is the width:"
        return f"{name}={value!r} contradicts model={self.model!r}, which does not read it:"

    def _check_model(self) -> None:
        if self.task not in MODELS[self.model].tasks:
            able = listed([name for name in MODELS if self.task in MODELS[name].tasks])
            why, flat = "gives no points to decode", " (msg with manifold='E32' for flat space)"
            if MODELS[self.model].tasks == (GRAPHS,):
                why, flat = "classifies whole graphs alone", ""
            elif self.task == NODES:
                why, flat = "scores pairs of nodes alone", ""
            elif self.task == GRAPHS:
                why = "gives no points to pool"
            raise ValueError(
                f"task={self.task!r} contradicts model={self.model!r}, which {why}: use model {able}{flat}"
            )
        if self.manifold is not None:
            from msg.manifolds import parse_signature

            parse_signature(self.manifold)
        if self.baseline != NO_BASELINE and self.baseline not in MODELS:
            raise ValueError(f"unknown baseline {self.baseline!r}: use {listed([*MODELS, NO_BASELINE])}")
        if self.baseline == self.model:
            raise ValueError(f"baseline={self.baseline!r} contradicts model={self.model!r}: use another, or none")

    def _check_rule(self) -> None:
        neuron, rule = make_part(self, "neuron"), make_part(self, "gradient")
        if neuron is not None and not neuron.spiking and self.timesteps != 1:
            raise ValueError(
                f"timesteps={self.timesteps} contradicts neuron={self.neuron!r}, which sends its value at once: use "
                "timesteps=1"
            )
        if rule is None or rule.through_spikes:
            return
        usable = listed([name for name in GRADIENTS if GRADIENTS[name].through_spikes])
        if self.manifold is None:
            raise ValueError(
                f"gradient={self.gradient!r} contradicts model={self.model!r}: it does not differentiate through "
                f"spikes, use {usable}"
            )
        if neuron is not None and any(True for _ in neuron.parameters()):
            raise ValueError(
                f"neuron={self.neuron!r} contradicts gradient={self.gradient!r}: its parameters would never learn, "
                f"use {usable}"
            )

    def _check_split(self) -> None:
        if self.split is not None and self.split.startswith("link:") != (self.task == LINKS):
            wanted = {NODES: "public, fixed:K, random:10/10/80, per-class:20 or folds:10", LINKS: "link:TRAIN/VAL/TEST"}
            raise ValueError(
                f"split={self.split!r} contradicts task={self.task!r}: use "
                f"{wanted.get(self.task, 'folds:10 or random:80/10/10')}"
            )

    def _check_batches(self) -> None:
        if self.propagate and self.batch_size is not None:
            raise ValueError(f"propagate={self.propagate} contradicts batch_size={self.batch_size}: it reads all nodes")
        if self.consistency and self.batch_size is not None:
            raise ValueError(
                f"consistency={self.consistency} contradicts batch_size={self.batch_size}: views agree on all nodes"
            )
        if self.generations > 1 and self.batch_size is not None:
            raise ValueError(
                f"generations={self.generations} contradicts batch_size={self.batch_size}: what is taught is predicted "
                "of all nodes"
            )
        if self.decoder == "structural" and self.batch_size is not None:
            raise ValueError(
                f"batch_size={self.batch_size} contradicts decoder='structural', which counts neighbours in the whole "
                "graph: leave one of them out"
            )
        if self.fan_out is None:
            return
        if self.batch_size is None:
            raise ValueError(f"fan_out={self.fan_out!r} is of batches: give batch_size too")
        drawn, hops = parse_fan_out(self.fan_out), self.hops or self.layers
        if len(drawn) != hops:
            raise ValueError(
                f"fan_out={self.fan_out!r} draws neighbours {len(drawn)} hops far, but model={self.model!r} looks "
                f"{hops} hops far: give one number for each"
            )

    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        defaults = applicable(vars(self))
        plain = {name: getattr(self, name) for name in defaults}
        absent = {name: field.absent for name, field in fields_of(RunConfig).items()}
        return {name: value for name, value in plain.items() if value not in (defaults[name], absent[name])}

    def with_options(self, **options: Any) -> "RunConfig":
        """The configuration with other options; those that no longer apply are dropped, and ``None`` is not given.

        Raises:
            ValueError: for options that do not apply themselves, and as the class does.
        """
        wanted = {**self.given(), **options}
        applies = applicable(wanted)
        return RunConfig(**{name: value for name, value in wanted.items() if name in options or name in applies})

    def for_model(self, name: str) -> "RunConfig":
        """The same configuration for another model alone, as wide as this one's manifold where it has none itself.

        What is at its default here is at the other model's there.

        Raises:
            ValueError: for an unknown model, and as the class does.
        """
        MODELS.check(name)
        other = self.with_options(model=name, baseline=NO_BASELINE)
        if self.batch_size is not None and other.batch_size is None:
            raise ValueError(f"batch_size={self.batch_size} contradicts model={name!r}, which does not read it")
        if other.hidden is None or self.hidden is not None or self.manifold is None:
            return other
        from msg.manifolds import resolve

        return other.with_options(hidden=resolve(self.manifold)[1])

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON would have them."""
        return {**asdict(self), "seeds": list(self.seeds)}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> "RunConfig":
        """From what :meth:`as_dict` gives.

        Raises:
            ValueError: for an unknown option, and as the class does.
        """
        known = fields_of(cls)
        unknown = [name for name in options if name not in known]
        if unknown:
            raise ValueError(f"unknown options {', '.join(unknown)}: known are {', '.join(known)}")
        seeds = options.get("seeds", cls.seeds)
        return cls(**{**options, "seeds": tuple(seeds) if isinstance(seeds, list) else seeds})


RunConfig.__doc__ = f"""{inspect.cleandoc(RunConfig.__doc__ or "")}

Attributes:
""" + "\n".join(
    f"    {name}: {field.option.help} Default: {field.option.shown_default}."
    for name, field in fields_of(RunConfig).items()
)


def applicable(options: Mapping[str, Any]) -> dict[str, Any]:
    """Every option that applies, with its default.

    Args:
        options: those that are given, or all; ``None`` is not given.

    Raises:
        ValueError: for an unknown name of a model, neuron or rule.
    """
    found: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    spec = MODELS[options.get("model") or "msg"]
    known = spec.options
    for name, field in fields_of(RunConfig).items():
        option = field.option
        spelled = next((read for read in option.reads.split() if read in known), name)
        own: Mapping[str, Any] = {}
        if option.of in chosen and chosen[option.of] in _CLASSES[option.of]:  # an unknown name is refused elsewhere
            own = parameters(_CLASSES[option.of][chosen[option.of]])
        applies = name in own or spelled in known if option.of else not option.reads or spelled in known
        if applies and option.applies_to(chosen.get("task")):
            default = spec.defaults.get(spelled, own.get(name, inspect.Parameter.empty))
            if option.of in chosen and chosen[option.of] != found[option.of]:  # of a class that was asked for
                default = own.get(name, default)
            plain = isinstance(default, bool | int | float | str)
            found[name] = field.absent
            if field.absent is None:
                found[name] = default if plain else option.settled(chosen)
            given = options.get(name)
            chosen[name] = found[name] if given is None else given
    return found


def reads(model: str, name: str) -> bool:
    """Whether a model reads an option, its neuron or rule willing."""
    option = fields_of(RunConfig)[name].option
    wanted = [*option.of.split(), *option.reads.split()]
    return not wanted or not MODELS[model].options.isdisjoint(wanted)


@cache
def parameters(kind: type) -> Mapping[str, Any]:
    """Names and defaults of the parameters of a neuron or rule."""
    return {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}


def make_part(config: RunConfig, part: str) -> Any:
    """The ``"neuron"`` or rule (``"gradient"``) of a configuration, or ``None`` for a model that reads none.

    Raises:
        ValueError: for options that it refuses.
    """
    if getattr(config, part) is None:
        return None
    names = [name for name, field in fields_of(RunConfig).items() if field.option.of == part]
    values = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    if "surrogate" in values:
        values["surrogate"] = SURROGATES[values["surrogate"]]()
    return _CLASSES[part][getattr(config, part)](**values)


def options_table() -> str:
    """All options as the documentation shows them: a Markdown table."""
    from msg.report.tables import render

    rows = [
        {"option": f"`{field.flag}`", "default": field.option.shown_default, "meaning": field.option.help}
        | {"panel": field.option.panel}
        for field in fields_of(RunConfig).values()
    ]
    return render(rows, "markdown")


def parse_fan_out(text: str) -> tuple[int, ...]:
    """Neighbours at each hop from a text such as ``"15,10"``.

    Raises:
        ValueError: if it is none.
    """
    words = [word.strip() for word in text.split(",")]
    numbers = tuple(int(word) for word in words if word == "-1" or (word.isascii() and word.isdigit()))
    if len(numbers) < len(words) or 0 in numbers:
        raise ValueError(f"cannot read fan_out {text!r}: write 15,10, or -1 for all neighbours of a hop")
    return numbers


def check_seeds(seeds: Any) -> None:
    """Refuse what are no seeds: no numbers, out of range, or one twice.

    Raises:
        ValueError: saying which are.
    """
    if not isinstance(seeds, tuple) or not seeds or any(type(seed) is not int for seed in seeds):
        raise ValueError(f"seeds must be a tuple of whole numbers such as (0, 1, 2), not {seeds!r}")
    if min(seeds) < 0 or max(seeds) >= 2**32 or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different numbers from 0 to 2**32 - 1, not {seeds}")


def check_device(device: str) -> None:
    """Refuse a device that is unknown or not here.

    Raises:
        ValueError: naming one that is.
    """
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {device!r}: use 'cpu', 'cuda' or 'cuda:1'")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r} is not available here: use 'cpu'")
