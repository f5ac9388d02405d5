"""Compiled sampling draws the very sample that its twin draws."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.sampler import NodeSamplerInput

from msg.graph import NeighborSampler
from msg.kernels.reference_splitmix import GAMMA, mix


def test_random_numbers_are_splitmix64():
    state = np.arange(1, 4, dtype=np.uint64) * np.uint64(GAMMA)
    # the first three of the generator that starts at 0, by the authors' code
    assert [hex(n) for n in mix(state)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


@pytest.fixture(scope="module")
def data():
    """A multigraph of 300 nodes, some of which have hundreds of neighbours, and some none."""
    draw = torch.Generator().manual_seed(0)
    target = (torch.rand(9000, generator=draw) ** 4 * 280).long()
    source = torch.randint(300, (9000,), generator=draw)
    weight = torch.rand(9000, generator=draw) ** 3 * (torch.rand(9000, generator=draw) < 0.9)
    return Data(edge_index=torch.stack((source, target)), weight=weight, num_nodes=300)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("weight_attr", [None, "weight"])
@pytest.mark.parametrize("kind", ["plain", "replace", "disjoint", "induced"])
@pytest.mark.parametrize("num_neighbors", [[3, 2, 1], [1, -1], [40, 60], [200]])
def test_the_same_sample(data, monkeypatch, num_neighbors, kind, weight_attr):
    options = {"subgraph_type": "induced"} if kind == "induced" else {} if kind == "plain" else {kind: True}
    sampler = NeighborSampler(data, num_neighbors, weight_attr=weight_attr, seed=3, **options)
    seeds = torch.tensor([0, 5, 299, 0, 7, 280, *range(20, 90)])
    found = []
    for kernels in ("numba", "torch"):
        monkeypatch.setenv("MSG_KERNELS", kernels)
        out = sampler.sample_from_nodes(NodeSamplerInput(None, seeds))
        found.append([getattr(out, part) for part in ("node", "row", "col", "edge", "batch")])
        found[-1] = [None if part is None else part.tolist() for part in found[-1]]
        found[-1] += [out.num_sampled_nodes, out.num_sampled_edges]
        assert out.edge.numel() > 70
    assert found[0] == found[1]
