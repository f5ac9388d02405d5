"""MSG as its released code computes it: off the sphere, where the library's stays on it."""

import importlib.util
import math
from pathlib import Path

import geoopt
import pytest
import torch
from torch_geometric.nn import GCNConv

from msg.datasets import load_graph
from msg.nn import MSG
from msg.testing import assert_on_manifold

FILE = Path(__file__).parents[2] / "benchmarks" / "released_msg.py"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="benchmarks/ is not here")


@pytest.fixture
def karate():
    return load_graph("karate")


@pytest.fixture
def released():
    spec = importlib.util.spec_from_file_location("released_msg", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ReleasedMSG(34, 4, 8, num_layers=1, timesteps=5, step_size=0.1, threshold=0.3, dropout=0.1)


def test_a_step_off_the_sphere_is_longer_for_the_logarithm():
    sphere = geoopt.Sphere()
    origin = torch.tensor([[-1.0, 0.0, 0.0]], dtype=torch.float64)
    step = torch.tensor([[0.01, 0.01, 0.0]], dtype=torch.float64)
    there = sphere.logmap(origin, sphere.expmap(origin, step))
    assert float(there.norm()) == pytest.approx(math.sqrt(2 * 0.01), rel=0.01)
    tangent = sphere.proju(origin, step)
    assert float(sphere.logmap(origin, sphere.expmap(origin, tangent)).norm()) == pytest.approx(0.01, rel=1e-3)


def test_points_leave_the_sphere(karate, released):
    released.train()
    released(karate.x, karate.edge_index).sum().backward()
    assert released.distance > 1e-3
    assert all(p.grad.isfinite().all() for p in released.parameters())
    ours = MSG(34, 4, "S7", num_layers=2, timesteps=5, step_size=0.1)
    assert_on_manifold(ours.manifold, ours.embed(karate.x, karate.edge_index).point)


def test_what_is_measured_is_the_sum_of_the_steps(karate, released):
    """Against PyG's convolutions and a slow loop of the neurons."""
    released.eval()
    first, second = (GCNConv(a, 8, bias=False) for a in (34, 8))
    for conv, synapse in zip((first, second), released.synapses):
        conv.load_state_dict(synapse.conv.state_dict())
    with torch.no_grad():
        below = first(karate.x, karate.edge_index)
        potential, mean = torch.zeros_like(below), torch.zeros_like(below)
        for _ in range(5):
            potential = potential + below
            spikes = (potential > 0.3).float()
            potential = potential - 0.3 * spikes
            mean += second(spikes, karate.edge_index) / 5
        total = 0.1 * (below + mean)
        total[:, 0] = 0
        assert torch.allclose(released(karate.x, karate.edge_index), total @ released.head.weight.t(), atol=1e-6)
