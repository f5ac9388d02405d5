"""A graph across processes is the graph in one: the same spikes, logits and gradients, and the bytes of the formula."""

import os

import pytest
import torch
from ranks import CLASSES, FEATURES, assigned, build, graph, of_a_part, one, together

from msg.gradients import OTTT, CheckpointedBPTT
from msg.graph import PartitionedGraph, partition
from msg.models.spiking_gcn import SpikingGCN
from msg.nn import (
    GASNN,
    GCSNN,
    HGCN,
    MSG,
    ClassicGNN,
    ConvergentGNN,
    KappaGCN,
    RiemannianConvergentGNN,
    SpikeGraphormer,
)

PEERS = ("ClassicGNN", "GCSNN", "HGCN", "KappaGCN", "HyboNet", "QGCN")
# model, graph, how it is cut, kernels
CASES = [
    *((f"MSG {manifold}", "random", "metis", "numba") for manifold in ("E8", "H8", "S8", "P8", "U8", "L8", "H4xS4")),
    ("MSG", "random", "range", "torch"),
    ("MSG", "cut off", "range", "numba"),
    ("MSG", "random", "lonely", "numba"),
    ("MSG", "weighted", "metis", "numba"),
    ("MSG narrow", "random", "range", "numba"),
    ("MSG two", "random", "metis", "numba"),
    ("MSG lif", "random", "range", "numba"),
    ("MSG auto", "random", "lonely", "numba"),
    ("MSG auto", "weighted", "metis", "torch"),
    ("MSG sage", "weighted", "range", "numba"),
    ("MSG gin", "random", "range", "numba"),
    ("MSG long", "random", "range", "numba"),
    ("MSG rate", "random", "metis", "numba"),
    ("MSG rate", "random", "lonely", "torch"),
    ("MSG bptt", "random", "range", "numba"),
    ("SpikingGNN", "random", "metis", "numba"),
    ("GCN", "weighted", "metis", "numba"),
    ("GCN", "random", "lonely", "numba"),
    ("SAGE", "random", "range", "numba"),
    ("SGC", "random", "metis", "numba"),
    *((name, "random", "metis", "numba") for name in PEERS),
]
RUNS = [*((case, torch.float64) for case in CASES), *((case, torch.float32) for case in CASES[7:21])]


def _on_a_rank(rank, world):
    found = {}
    for case, dtype in RUNS:
        name, kind, method, os.environ["MSG_KERNELS"] = case
        data = graph(kind, dtype=dtype)
        found[case, dtype] = of_a_part(data, assigned(data, world, method), build(name, dtype), rank, world)
    return found


@pytest.fixture(scope="module")
def alone():
    """Each case in one process."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for case, dtype in RUNS:
            patch.setenv("MSG_KERNELS", case[3])
            found[case, dtype] = one(graph(case[1], dtype=dtype), build(case[0], dtype))
    return found


@pytest.fixture(scope="module", params=[2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3, 4))])
def ranks(request, tmp_path_factory):
    """All cases on so many ranks."""
    return together(request.param, tmp_path_factory.mktemp("ranks"), _on_a_rank)


def bytes_of(name, kernels, T=6, d=8):
    """What a border node's row takes forward and back, in bytes of float64; features have crossed already."""
    spikes, counts, number = T, T.bit_length(), 8 * d  # d = 8 neurons are a byte
    if kernels == "torch" or name == "MSG bptt":
        counts *= 2  # without packed spikes a hidden layer's rates cross once more
    return {
        "MSG two": (counts, 0),
        "MSG long": (300 + (300).bit_length(), 0),
        "MSG rate": (spikes + counts, 2 * number),
        "MSG bptt": (spikes + counts, (T + 2) * number),
        "SpikingGNN": (2 * spikes, 2 * number),
        "GCN": (number + 8 * CLASSES, number + 8 * CLASSES),
        "SAGE": (number + 8 * CLASSES, number + 8 * CLASSES),
    }.get(name, (spikes + counts, 0))


def test_the_same_as_in_one_process(alone, ranks):
    fired = 0
    for (case, dtype), expected in alone.items():
        loose = {"atol": 1e-12, "rtol": 1e-12} if dtype == torch.float64 else {"atol": 1e-5, "rtol": 1e-5}
        nodes = torch.cat([rank[case, dtype]["nodes"] for rank in ranks])
        assert torch.equal(nodes.sort().values, torch.arange(40)), case
        for rank in ranks:
            found = rank[case, dtype]
            for rate, whole in zip(found["rates"], expected["rates"], strict=True):
                assert torch.equal(rate, whole[found["nodes"]]), case
                fired += int(rate.count_nonzero())
            torch.testing.assert_close(found["logits"], expected["logits"][found["nodes"]], **loose)
            for name, grad in expected["grads"].items():
                atol = loose["atol"] * max(1.0, float(grad.abs().max()))
                torch.testing.assert_close(found["grads"][name], grad, atol=atol, rtol=loose["rtol"])
    assert fired


def test_bytes_are_those_of_the_formula(ranks):
    """Each row that a rank sends is one node that another needs; in float64 here, where gradients take 8 bytes."""
    for case in CASES:
        name, kind, method, kernels = case
        if name in ("SGC", *PEERS):
            continue
        data = graph(kind)
        cut = assigned(data, len(ranks), method)
        forward, back = bytes_of(name, kernels)
        for number, rank in enumerate(ranks):
            border = cut[number].graph.border
            leaving = sum(border.send_counts), sum(border.receive_counts)
            assert rank[case, torch.float64]["sent"] == (forward * leaving[0], back * leaving[1]), case


def _refuse(rank, world):
    data = graph(dtype=torch.float32)
    part = partition(data, world, "range")[rank]
    found = []
    models = [
        *(made(FEATURES, CLASSES, norm="batch") for made in (MSG, GCSNN, HGCN, KappaGCN)),
        ClassicGNN(FEATURES, 8, 2, CLASSES, norm="batch"),
        *(MSG(FEATURES, CLASSES, manifold="H8", gradient=rule) for rule in (OTTT(), CheckpointedBPTT())),
        MSG(FEATURES, CLASSES, manifold="H8", conv=_gat),
        SpikingGCN(FEATURES, CLASSES),
        GASNN(FEATURES, CLASSES, norm="layer"),
        SpikeGraphormer(FEATURES, CLASSES),
        ConvergentGNN(FEATURES, CLASSES),
        RiemannianConvergentGNN(FEATURES, CLASSES),
    ]
    for model in models:
        try:
            model(part.x, part.graph)
        except ValueError as error:
            found.append(str(error))
    return found


def _gat(inner, outer):
    from torch_geometric.nn import GATConv

    return GATConv(inner, outer)


def test_what_needs_the_whole_graph_is_refused_by_name():
    norms = 5 * ["a normalisation over nodes"]
    names = "OTTT CheckpointedBPTT GATConv SpikingGCN GASNN SpikeGraphormer ConvergentGNN RiemannianConvergentGNN"
    for found, name in zip(_refuse(0, 2), [*norms, *names.split()], strict=True):
        assert found.startswith(f"{name} needs the whole graph in one process")


def test_one_part_needs_no_processes():
    data = graph()
    part = partition(data, 1, "range")[0]
    model = build("MSG")
    torch.testing.assert_close(model(part.x, part.graph), model(data.x, data.edge_index), atol=1e-12, rtol=0)
    assert isinstance(part.graph, PartitionedGraph)
    assert part.graph.border.sent == 0
