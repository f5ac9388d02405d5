"""Counts against a count by hand on a graph of five nodes."""

import json

import pytest
import torch
from torch_geometric.nn import GCN, GATv2Conv

from msg.energy import HOROWITZ_45NM_FP32, CostTable, estimate
from msg.gradients import SurrogateBPTT
from msg.neurons import IF, LIF
from msg.nn import MSG, SpikingGNN

N, F, D, C, T = 5, 3, 4, 2, 6
# a path 0-1-2-3 and an isolated node 4: six directed edges
EDGES = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
E, LOOPED = 6, 11


@pytest.fixture
def x():
    features = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0], [3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert int(features.count_nonzero()) == 8
    return features


def test_gcn_by_hand(x):
    torch.manual_seed(0)
    model = GCN(F, D, num_layers=2, out_channels=C)
    hidden = model.convs[0](x, EDGES).relu()
    counted = estimate(model, x, EDGES)
    assert counted.parts["layer 0"] == {
        "multiply_accumulate": 8 * D,
        "multiply": 2 * N * D,
        "accumulate": LOOPED * D + N * D,
        "comparison": N * D,
    }
    assert counted.parts["layer 1"] == {
        "multiply_accumulate": int(hidden.count_nonzero()) * C,
        "multiply": 2 * N * C,
        "accumulate": LOOPED * C + N * C,
    }


def spikes(model, x, layer):
    return round(float(model.activity(x, EDGES).rates[layer].sum()) * T)


@pytest.mark.parametrize("neuron", [IF(threshold=0.1), LIF(threshold=0.1)])
def test_msg_by_hand(x, neuron):
    torch.manual_seed(0)
    model = MSG(F, C, manifold=f"H{D}", num_layers=2, timesteps=T, neuron=neuron)
    counted = estimate(model, x, EDGES)
    first, second = spikes(model, x, 0), spikes(model, x, 1)
    assert first > 0
    leak = {} if isinstance(neuron, IF) else {"multiply": N * D * T}
    assert counted.parts["encoder"] == {
        "multiply_accumulate": 8 * D,
        "multiply": 2 * N * D,
        "accumulate": LOOPED * D + N * D,
    }
    assert counted.parts["neurons 0"] == {"accumulate": N * D * T + first, "comparison": N * D * T, **leak}
    assert counted.parts["layer 1"] == {
        "accumulate": first * D + LOOPED * D * T + N * D * T,
        "multiply": 2 * N * D * T,
    }
    assert counted.parts["neurons 1"] == {
        k: v for k, v in {"accumulate": N * D * T + second, "comparison": N * D * T, **leak}.items() if v
    }
    rated = int(model.activity(x, EDGES).rates[1].count_nonzero())
    last = {"multiply_accumulate": rated * D, "multiply": 2 * N * D, "accumulate": LOOPED * D + N * D}
    assert counted.parts["layer 2"] == {k: v for k, v in last.items() if v}
    assert counted.parts["manifold steps"] == {
        "multiply_accumulate": 3 * N * (5 * (D + 1) + 2 * D),
        "transcendental": 3 * N * 5,
    }
    assert counted.parts["read-out"] == {"multiply_accumulate": N * (2 * D + D * C), "transcendental": N}


@pytest.mark.parametrize(
    ("conv", "matrices", "edges", "scaled"), [("gcn", 1, LOOPED, 2), ("sage", 2, E, 1), ("gin", 1, LOOPED, 0)]
)
def test_convolutions(x, conv, matrices, edges, scaled):
    model = SpikingGNN(F, C, hidden_channels=D, num_layers=0, timesteps=T, conv=conv, gradient=SurrogateBPTT())
    part = estimate(model, x, EDGES).parts["encoder"]
    assert part["multiply_accumulate"] == 8 * D * matrices
    assert part["accumulate"] == edges * D + N * D
    assert part["multiply"] == scaled * N * D


def test_edge_weights_and_self_loops_are_counted(x):
    model = GCN(F, D, num_layers=1)
    looped = torch.cat([EDGES, torch.tensor([[0], [0]])], dim=1)
    weights = torch.ones(7)
    part = estimate(model, x, looped, weights).parts["layer 0"]
    assert part["multiply_accumulate"] == (8 + LOOPED) * D  # the loop that is there is not added twice


def test_sparse_and_dense_features_count_the_same(x):
    model = MSG(F, C, manifold=f"S{D}", timesteps=T)
    assert estimate(model, x, EDGES).parts == estimate(model, x.to_sparse_coo(), EDGES).parts


def test_energy_and_report(x):
    model = GCN(F, D, num_layers=1)
    counted = estimate(model, x, EDGES)
    counts, price = counted.counts, HOROWITZ_45NM_FP32.picojoules
    expected = sum(count * price[kind] for kind, count in counts.items()) * 1e-9
    assert counted.energy_mj == pytest.approx(expected, rel=1e-12)
    report = json.loads(json.dumps(counted.as_dict()))
    assert report["energy_mj"] == pytest.approx(sum(report["parts_mj"].values()))
    assert report["not_counted"]


def test_what_has_no_price_is_named(x):
    model = MSG(F, C, manifold=f"H{D}", timesteps=T)
    assert estimate(model, x, EDGES).unpriced == {"transcendental": 3 * N * 5 + N}
    free = estimate(model, x, EDGES, costs=CostTable("none", "nowhere"))
    assert free.energy_mj == 0
    assert set(free.unpriced) == set(free.counts)


def test_training_mode_is_restored(x):
    model = MSG(F, C, manifold=f"H{D}", timesteps=T).train()
    estimate(model, x, EDGES)
    assert model.training


def test_unknown_models_and_convolutions_are_refused(x):
    with pytest.raises(TypeError, match="Linear"):
        estimate(torch.nn.Linear(F, D), x, EDGES)
    with pytest.raises(TypeError, match="GATv2Conv"):
        estimate(MSG(F, C, manifold=f"H{D}", conv=GATv2Conv), x, EDGES)
