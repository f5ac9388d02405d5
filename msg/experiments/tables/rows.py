"""The rows of all tables; one whose model is not registered is left out."""

from msg.experiments.tables.spaces import GEOMETRY
from msg.experiments.tables.table import EUCLIDEAN, HEURISTIC, OURS, RIEMANNIAN, SPIKING, TWIN, TableRow

PLAIN = {"norm": "none", "residual": False, "jumping": "none"}
"""A row without what lifts every model."""


def _row(label: str, group: str, model: str, name: str = "", shown: bool = True, **fixed: bool | int | str) -> TableRow:
    return TableRow(name or model, label, group, model, fixed, shown)


# the baselines on cached matrices, where there are two that compute the same
ROWS = (
    _row("GCN", EUCLIDEAN, "cached-gcn", "gcn"),
    _row("GAT", EUCLIDEAN, "gat"),
    _row("SGC", EUCLIDEAN, "sgc"),
    _row("SAGE", EUCLIDEAN, "sage"),
    _row("Polynormer", EUCLIDEAN, "polynormer"),
    _row("HGCN", RIEMANNIAN, "hgcn"),
    _row("κ-GCN", RIEMANNIAN, "kappa-gcn"),
    _row("Q-GCN", RIEMANNIAN, "q-gcn"),
    _row("HyboNet", RIEMANNIAN, "hybonet"),
    _row("SpikingGCN", SPIKING, "spikinggcn"),
    _row("SpikeNet", SPIKING, "spikenet"),
    _row("GC-SNN", SPIKING, "gc-snn"),
    _row("GA-SNN", SPIKING, "ga-snn"),
    _row("SiGNN", SPIKING, "signn"),
    _row("SpikeGCL", SPIKING, "spikegcl"),
    _row("SpikeGraphormer", SPIKING, "spikegraphormer"),
    _row("SpikingGNN", SPIKING, "spiking-gnn"),
    _row("MSG", OURS, "msg"),
    _row("GCN, plain", EUCLIDEAN, "cached-gcn", "gcn-plain", shown=False, **PLAIN),
    _row("SAGE, plain", EUCLIDEAN, "sage", "sage-plain", shown=False, **PLAIN),
    _row("MSG, plain", OURS, "msg", "msg-plain", shown=False, **PLAIN),
    _row("MSG, flat", OURS, "msg", "msg-flat", shown=False, **{GEOMETRY: "E"}),
    _row("MSG, hyperbolic", OURS, "msg", "msg-hyperbolic", shown=False, **{GEOMETRY: "H"}),
    _row("MSG, spherical", OURS, "msg", "msg-spherical", shown=False, **{GEOMETRY: "S"}),
    _row("MSG, hyperbolic × spherical", OURS, "msg", "msg-product", shown=False, **{GEOMETRY: "HxS"}),
)

HEURISTICS = tuple(
    TableRow(name, label, HEURISTIC, name, searched=False)
    for name, label in (
        ("common-neighbours", "Common neighbours"),
        ("adamic-adar", "Adamic–Adar"),
        ("resource-allocation", "Resource allocation"),
        ("personalized-pagerank", "Personalised PageRank"),
    )
)
"""Of link prediction. They have nothing to learn, so nothing to search."""

__all__ = ["HEURISTICS", "PLAIN", "ROWS", "TWIN"]
