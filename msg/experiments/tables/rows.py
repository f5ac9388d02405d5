"""The rows of all tables; one whose model is not registered is left out."""

from dataclasses import replace
from typing import Any

from msg.experiments.forms import form
from msg.experiments.tables.spaces import GEOMETRY
from msg.experiments.tables.table import EUCLIDEAN, HEURISTIC, OURS, RIEMANNIAN, SPIKING, TableRow

LIFTS = ("norm", "residual", "jumping")
"""What moves accuracy more than models differ. It is searched for every row that has it; plain rows are without."""


def _row(label: str, group: str, model: str) -> TableRow:
    return TableRow(model, label, group, model)


def _form(label: str, name: str, of: TableRow, **options: Any) -> TableRow:
    """A row that is shown where it is named: one thing of another row fixed, all else searched as there."""
    return replace(of, label=label, name=name, shown=False, **options)


_MSG = _row("MSG", OURS, "msg")
_FLAT = _row("SpikingGNN", SPIKING, "spiking-gnn")
_PROPAGATED = _row("SpikingGCN", SPIKING, "spikinggcn")
_NORMALISED = _row("GC-SNN", SPIKING, "gc-snn")


def _twin(row: TableRow) -> TableRow:
    """The same network without spikes: a clipped ReLU in its neurons' place, to which the rate of those that integrate
    and fire tends.
    """
    fixed = {**row.fixed, **form(f"{row.model}-twin").fixed}
    return replace(row, label=f"{row.label}, not spiking", name=f"{row.name}-twin", fixed=fixed)


_LINEAR = _form("MSG, no aggregation", "msg-linear", _MSG, fixed={"conv": "linear"})


# the baselines on cached matrices, where there are two that compute the same
ROWS = (
    replace(_row("GCN", EUCLIDEAN, "cached-gcn"), name="gcn"),
    _row("GAT", EUCLIDEAN, "gat"),
    _row("SGC", EUCLIDEAN, "sgc"),
    _row("SAGE", EUCLIDEAN, "sage"),
    _row("GCN, norm and residual", EUCLIDEAN, "classic-gcn"),
    _row("GAT, norm and residual", EUCLIDEAN, "classic-gat"),
    _row("SAGE, norm and residual", EUCLIDEAN, "classic-sage"),
    _row("MLP, norm and residual", EUCLIDEAN, "classic-mlp"),
    _row("Polynormer", EUCLIDEAN, "polynormer"),
    _row("HGCN", RIEMANNIAN, "hgcn"),
    _row("κ-GCN", RIEMANNIAN, "kappa-gcn"),
    _row("Q-GCN", RIEMANNIAN, "q-gcn"),
    _row("HyboNet", RIEMANNIAN, "hybonet"),
    _PROPAGATED,
    replace(_twin(_PROPAGATED), shown=False),
    _row("SpikingGCN, random spikes", SPIKING, "bernoulli-spikinggcn"),
    _row("SpikeNet", SPIKING, "spikenet"),
    _NORMALISED,
    replace(_twin(_NORMALISED), shown=False),
    _row("GA-SNN", SPIKING, "ga-snn"),
    _row("SiGNN", SPIKING, "signn"),
    _row("SpikeGCL", SPIKING, "spikegcl"),
    _row("SpikeGraphormer", SPIKING, "spikegraphormer"),
    _FLAT,
    _twin(_FLAT),
    _MSG,
    _twin(_MSG),
    _form("MSG, plain", "msg-plain", _MSG, held=(*LIFTS, "propagate", "label_smoothing", "input_dropout")),
    _form("MSG, current normalised", "msg-norm", _MSG, fixed={"norm": "layer"}),
    _form("MSG, no residual current", "msg-gcn", _MSG, fixed={"conv": "gcn"}),
    _LINEAR,
    _twin(_LINEAR),
    _form("MSG, all points read", "msg-jumping", _MSG, fixed={"jumping": "cat"}),
    _form("MSG, steps learned", "msg-steps", _MSG, fixed={"learn_step_size": True}),
    _form("MSG, curvature learned", "msg-curvature", _MSG, fixed={GEOMETRY: "L"}),
    _form("MSG, rate gradient", "msg-rate", _MSG, fixed={"gradient": "rate"}),
    _form("MSG, attention", "msg-attention", _MSG, fixed={"conv": "gat"}),
    _form("MSG, flat", "msg-flat", _MSG, fixed={GEOMETRY: "E"}),
    _form("MSG, hyperbolic", "msg-hyperbolic", _MSG, fixed={GEOMETRY: "H"}),
    _form("MSG, spherical", "msg-spherical", _MSG, fixed={GEOMETRY: "S"}),
    _form("MSG, hyperbolic × spherical", "msg-product", _MSG, fixed={GEOMETRY: "HxS"}),
)

HEURISTICS = tuple(
    TableRow(name, label, HEURISTIC, name, searched=False)
    for name, label in (
        ("common-neighbors", "Common neighbours"),
        ("adamic-adar", "Adamic–Adar"),
        ("resource-allocation", "Resource allocation"),
        ("l3", "Paths of length 3"),
        ("pagerank", "Personalised PageRank"),
    )
)
"""Of link prediction. They have nothing to learn, so nothing to search."""
