"""Every name that a command, a configuration or a signature knows, in one place; importing it needs no torch.

One line here, or one call of :meth:`~msg.registry.Registry.register` in a package of your own, is all that a new
neuron, surrogate, gradient rule, convolution, model, manifold or table of costs needs to be known everywhere.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from numbers import Integral, Real
from typing import Any, Literal

from msg.registry import Recorded, Registry

Features = Literal["auto", "dense", "sparse"]
Reset = Literal["subtract", "zero"]
Norm = Literal["none", "batch", "layer"]
Jumping = Literal["none", "cat", "max"]
Classifier = Literal["linear", "fixed"]
Pooling = Literal["mean", "frechet", "sum"]
"""Words of an option to which nothing can be registered; :func:`typing.get_args` has them."""

NEURONS = Registry(
    "neuron",
    {
        "if": "msg.neurons:IF",
        "lif": "msg.neurons:LIF",
        "plif": "msg.neurons:ParametricLIF",
        "scaled-lif": "msg.neurons:ScaledLIF",
        "decaying-lif": "msg.neurons:DecayingThresholdLIF",
        "alif": "msg.neurons:ALIF",
        "relu": "msg.neurons:ReLU",
        "clipped-relu": "msg.neurons:ClippedReLU",
        "quantized-relu": "msg.neurons:QuantizedReLU",
    },
)
"""Classes of neurons."""

SURROGATES = Registry(
    "surrogate",
    {
        "atan": "msg.neurons:ATan",
        "sigmoid": "msg.neurons:Sigmoid",
        "triangle": "msg.neurons:Triangle",
        "superspike": "msg.neurons:SuperSpike",
        "arctan": "msg.neurons:ArcTan",
        "multi-gaussian": "msg.neurons:MultiGaussian",
        "box": "msg.neurons:Box",
    },
)
"""Classes of surrogate derivatives."""

GRADIENTS = Registry(
    "gradient rule",
    {
        "dvm": "msg.gradients:DvM",
        "rate": "msg.gradients:RateBackprop",
        "ottt": "msg.gradients:OTTT",
        "bptt": "msg.gradients:SurrogateBPTT",
        "checkpointed": "msg.gradients:CheckpointedBPTT",
    },
)
"""Classes of gradient rules for feed-forward layers."""

SETTLING_RULES = Registry(
    "rule for networks that settle",
    {
        "equilibrium": "msg.gradients:EquilibriumPropagation",
        "settling-bptt": "msg.gradients:SettlingBPTT",
    },
)
"""Classes of gradient rules for networks with an energy."""

CONVS = Registry(
    "conv",
    {
        "gcn": "msg.layers.synapse:gcn_conv",
        "sage": "msg.layers.synapse:sage_conv",
        "gin": "msg.layers.synapse:gin_conv",
        "gat": "msg.layers.synapse:gat_conv",
        "linear": "msg.layers.synapse:linear_conv",
    },
)
"""Functions ``(in_channels, out_channels, bias) -> convolution``."""

MODELS = Registry(
    "model",
    {
        "msg": "msg.models.msg:SPEC",
        "spiking-gnn": "msg.models.spiking_gnn:SPEC",
        "spiking-gnn-conv": "msg.models.spiking_gnn:CONV_SPEC",
        "spikinggcn": "msg.models.spiking_gcn:SPEC",
        "gc-snn": "msg.models.peers.stfn:GC_SPEC",
        "ga-snn": "msg.models.peers.stfn:GA_SPEC",
        "spikegraphormer": "msg.models.peers.spike_graphormer:SPEC",
        "gcn": "msg.models.baselines:GCN_SPEC",
        "cached-gcn": "msg.models.baselines:CACHED_GCN_SPEC",
        "sage": "msg.models.baselines:SAGE_SPEC",
        "gat": "msg.models.baselines:GAT_SPEC",
        "gin": "msg.models.baselines:GIN_SPEC",
        "sgc": "msg.models.baselines:SGC_SPEC",
        "classic-gcn": "msg.models.classic:GCN_SPEC",
        "classic-sage": "msg.models.classic:SAGE_SPEC",
        "classic-gat": "msg.models.classic:GAT_SPEC",
        "classic-mlp": "msg.models.classic:MLP_SPEC",
        "polynormer": "msg.models.peers.polynormer:SPEC",
        "hgcn": "msg.models.peers.hgcn:SPEC",
        "kappa-gcn": "msg.models.peers.kappa_gcn:SPEC",
        "hybonet": "msg.models.peers.hybonet:SPEC",
        "q-gcn": "msg.models.peers.qgcn:SPEC",
        "common-neighbors": "msg.models.heuristics:COMMON_NEIGHBORS_SPEC",
        "adamic-adar": "msg.models.heuristics:ADAMIC_ADAR_SPEC",
        "resource-allocation": "msg.models.heuristics:RESOURCE_ALLOCATION_SPEC",
        "l3": "msg.models.heuristics:L3_SPEC",
        "pagerank": "msg.models.heuristics:PAGERANK_SPEC",
        "spikenet": "msg.models.peers.spikenet:SPEC",
        "spikegcl": "msg.models.peers.spikegcl:SPEC",
        "bernoulli-spikinggcn": "msg.models.peers.bernoulli_spikinggcn:SPEC",
    },
)
"""Every :class:`~msg.models.ModelSpec`: the baselines are models like the others."""

MANIFOLDS = Registry(
    "manifold",
    {
        "E": "msg.manifolds.euclidean:EUCLIDEAN",
        "H": "msg.manifolds.hyperboloid:HYPERBOLOID",
        "S": "msg.manifolds.sphere:SPHERE",
        "P": "msg.manifolds.stereographic:POINCARE_BALL",
        "U": "msg.manifolds.stereographic:STEREOGRAPHIC",
        "L": "msg.manifolds.hyperboloid:LEARNED_HYPERBOLOID",
    },
)
"""Every :class:`~msg.manifolds.Family`, by the letter that signatures such as ``"H16xS16"`` use."""

COSTS = Registry(
    "table of costs",
    {
        "45nm-fp32": "msg.energy.costs:HOROWITZ_45NM_FP32",
        "45nm-fp16": "msg.energy.costs:HOROWITZ_45NM_FP16",
        "45nm-int8": "msg.energy.costs:HOROWITZ_45NM_INT8",
        "loihi": "msg.energy.costs:LOIHI",
        "msg-as-published": "msg.energy.costs:MSG_AS_PUBLISHED",
    },
)
"""Every :class:`~msg.energy.CostTable`, in the order reports show them."""

STUDIES = Registry(
    "study",
    {
        "train": "msg.experiments.studies.train:TrainStudy",
        "recipes": "msg.experiments.studies.recipes:RecipeStudy",
        "rules": "msg.experiments.studies.rules:RulesStudy",
        "energy": "msg.experiments.studies.energy:EnergyStudy",
        "cell": "msg.experiments.studies.cell:CellStudy",
    },
)
"""Every :class:`~msg.experiments.Study`: it plans jobs and summarises their results."""

JOBS = Registry(
    "kind of job",
    {
        "fit": "msg.experiments.jobs.fit:fit",
        "memory": "msg.experiments.jobs.memory:memory",
        "timing": "msg.experiments.jobs.timing:timing",
        "trial": "msg.experiments.jobs.trial:trial",
    },
)
"""Functions ``(job, data, slot, progress) -> Result``, see ``msg.experiments.jobs``."""

TABLES = Registry(
    "table",
    {
        "table1": "msg.experiments.tables.known:TABLE1",
        "sgnnbench": "msg.experiments.tables.known:SGNNBENCH_TABLE",
        "planetoid": "msg.experiments.tables.known:PLANETOID",
        "links": "msg.experiments.tables.known:LINKS_TABLE",
    },
)
"""Every :class:`~msg.experiments.tables.table.Table` that ``msg benchmark`` makes."""


ADAPTED = ("spikingjelly", "snntorch", "norse")
"""Libraries whose neurons :func:`msg.neurons.adapt` reads."""

_PLAIN: Mapping[type, type] = {bool: bool, Integral: int, Real: float, str: str}
"""The first of these that a value is decides what is kept of it: a subclass, such as NumPy's numbers, is not plain."""


def spell(value: Any) -> Any:
    """A setting as plain data, which JSON, ``torch.load(weights_only=True)`` and any logger keep.

    Numbers, NumPy's too, strings and lists of them are what they are, and tensors and arrays lists. A neuron, surrogate
    or gradient rule that has a name becomes ``{"name": ..., **arguments}``, a class or function that has one its name.
    A neuron of another library is spelled as ours that is made of it, where that has a name.

    Raises:
        ValueError: for anything else.
    """
    if value is None:
        return value
    for kind, plain in _PLAIN.items():
        if isinstance(value, kind):
            return plain(value)
    if hasattr(value, "tolist"):
        return spell(value.tolist())
    if isinstance(value, list | tuple):
        return [spell(one) for one in value]
    if isinstance(value, dict):
        return {key: spell(one) for key, one in value.items()}
    for registry in (NEURONS, SURROGATES, GRADIENTS, SETTLING_RULES, CONVS):
        for name, known in registry.items():
            if value is known:
                return name
            if type(value) is known and isinstance(value, Recorded):
                return {"name": name, **value.config}
            if type(value) is known and is_dataclass(value):
                return {"name": name, **{field.name: spell(getattr(value, field.name)) for field in fields(value)}}
    if type(value).__module__.partition(".")[0] in ADAPTED:
        return spell(import_module("msg.neurons").adapt(value))
    raise ValueError(
        f"{value!r} has no name: register its class in msg.names if it is a subclass of ours, or give a name, a "
        "dictionary with one, or a signature"
    )


def build(value: Any, registry: Registry) -> Any:
    """What :func:`spell` made plain, or a name, made again; anything else is what it is."""
    if isinstance(value, str):
        return registry[value]
    if not isinstance(value, Mapping):
        return value
    arguments = dict(value)
    if "name" not in arguments:
        raise ValueError(
            f"a {registry.kind} is named, as in {{'name': {next(iter(registry))!r}}}, but {value!r} has no name"
        )
    name = arguments.pop("name")
    if "surrogate" in arguments:
        arguments["surrogate"] = build(arguments["surrogate"], SURROGATES)
    return registry[name](**arguments)
