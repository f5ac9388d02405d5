"""What PyG asks of ``BasicGNN``, asked of its GCN and of every model of nodes here; and what they cannot, and why."""

from functools import partial

import pytest
import torch
from named import named
from torch_geometric.nn import GCN

from msg.names import MODELS
from msg.testing.pyg import DEMANDS, assert_demand

# what torch and PyG say of sparse tensors is said once, to whoever comes first
pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse"),
    pytest.mark.filterwarnings("ignore:Converting sparse tensor to CSR"),
]
MADE = {
    "PyG's GCN": lambda: GCN(5, 4, 3, 3),
    **{name: partial(named, name) for name in MODELS if "node-classification" in MODELS[name].tasks},
}
WHOLE = "takes no arguments of mini-batches: it attends to all nodes, norms over them, or draws neighbours itself"
OWN = "aggregates by a module of its own, which is no MessagePassing of PyG's"
DRAWS = "draws its spikes from a generator of its own, which no compiler or transform follows"
UNWEIGHTED = "attends to neighbours, and refuses weights that it would not read"
CACHED = "PyG's, made with cached=True: it keeps the first graph that it sees"
LOADER = "PyG's inference takes its own NeighborLoader, which needs packages that are not installed"
DEGREES = "PyG's trimmed layers normalise by the degrees that are left; ours by those of the sample"
HOPS = "has hops in place of layers"
ALONE = "looks along no edge, each node by itself"
CANNOT = {
    ("PyG's GCN", "trimming"): DEGREES,
    ("PyG's GCN", "inference"): LOADER,
    **{("gcn", demand): CACHED for demand in ("edge_weight", "batch", "trimming", "export")},
    ("gcn", "inference"): LOADER,
    **{
        (name, demand): UNWEIGHTED
        for name in ("gat", "ga-snn", "classic-gat")
        for demand in ("edge_weight", "weighted adj_t")
    },
    **{
        (name, demand): WHOLE
        for name in (
            "gc-snn", "ga-snn", "spikegraphormer", "polynormer", "hgcn", "kappa-gcn", "hybonet", "q-gcn", "spikenet",
            "spikegcl", "bernoulli-spikinggcn",
        )
        for demand in ("batch_size", "trimming", "inference")
    },
    **{
        (name, demand): OWN
        for name in (
            "spikinggcn", "ga-snn", "sgc", "spikegraphormer", "hgcn", "kappa-gcn", "hybonet", "q-gcn", "spikenet",
            "spikegcl", "bernoulli-spikinggcn",
        )
        for demand in ("explain", "hooks")
    },
    **{("bernoulli-spikinggcn", demand): DRAWS for demand in ("compile", "export", "torch.func", "torch.vmap")},
    **{("classic-mlp", demand): ALONE for demand in ("edge_weight", "explain", "hooks")},
    **{(name, "attributes"): HOPS for name in ("spikinggcn", "sgc", "bernoulli-spikinggcn")},
}  # fmt: skip
"""What a model cannot, and why; the test fails once it can."""


def graph():
    """A path, a triangle and a pair among eight nodes, both ways, without self-loops."""
    pairs = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4], [4, 2], [5, 6], [0, 6], [6, 7]]).t()
    edges = torch.cat([pairs, pairs.flip(0)], dim=1)
    return edges[:, torch.argsort(edges[0] * 8 + edges[1])]


def cases():
    """Every demand of every model; compiling and exporting them takes two minutes."""
    first = {"compile": (), "export": ("gc-snn",)}
    for name in MADE:
        for demanded in DEMANDS:
            marks = [pytest.mark.slow] if name not in first.get(demanded, MADE) else []
            if demanded == "compile":
                marks.append(pytest.mark.skipif(torch.__version__ < "2.11", reason="older torch compiles in pieces"))
            yield pytest.param(name, demanded, marks=marks, id=f"{name}-{demanded}")


@pytest.mark.parametrize(("name", "demanded"), list(cases()))
def test_demands(name, demanded):
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(1)) * 2
    reason = CANNOT.get((name, demanded))
    if reason is None:
        assert_demand(demanded, MADE[name], x, graph())
        return
    try:
        assert_demand(demanded, MADE[name], x, graph())
    except Exception:
        return
    pytest.fail(f"it does, although it is said that it {reason}")


def test_the_table_is_of_what_there_is():
    assert {name for name, _ in CANNOT} <= set(MADE)
    assert {demanded for _, demanded in CANNOT} <= set(DEMANDS)
