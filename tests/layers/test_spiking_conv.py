"""A spiking layer as users of PyG stack them: alone, between two sets of nodes, and in models of several types."""

import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.nn import GATConv, GCNConv, HeteroConv, SAGEConv, to_hetero
from torch_geometric.utils import to_torch_coo_tensor

from msg.neurons import IF, LIF
from msg.nn import MSG, SpikingConv


@pytest.fixture
def papers():
    data = HeteroData()
    data["paper"].x, data["author"].x = torch.rand(6, 5), torch.rand(4, 5)
    data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 5]])
    data["paper", "of", "author"].edge_index = torch.tensor([[0, 1, 2, 5], [0, 1, 2, 3]])
    return data


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = SpikingConv(SAGEConv((-1, -1), 8), neuron="lif")
        self.last = SpikingConv(SAGEConv((-1, -1), 3), neuron=LIF(3.0))

    def forward(self, x, edge_index):
        return self.last(self.first(x, edge_index), edge_index)


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:Converting sparse tensor")  # PyG's and torch's own
def test_of_a_linear_convolution_it_is_the_current_of_the_rates(edge_index):
    conv, neuron, x = GCNConv(5, 3), IF(0.7), torch.rand(7, 5)
    layer = SpikingConv(conv, timesteps=9, neuron=neuron)
    torch.testing.assert_close(layer(x, edge_index), conv(neuron.rate(x, 9), edge_index))
    adj_t = to_torch_coo_tensor(edge_index.flip(0), size=(7, 7))
    assert layer(x, adj_t).shape == (7, 3)
    assert layer(x, edge_index, torch.rand(10)).shape == (7, 3)


def test_two_sets_of_nodes(papers):
    conv, edges = SAGEConv((5, 5), 3), papers["author", "writes", "paper"].edge_index
    pair = papers["author"].x, papers["paper"].x
    rates = tuple(IF().rate(x, 8) for x in pair)
    torch.testing.assert_close(SpikingConv(conv)(pair, edges), conv(rates, edges))
    assert SpikingConv(GATConv((5, 5), 3, add_self_loops=False))(pair, edges).shape == (6, 3)


def test_several_types_of_nodes(papers):
    model = to_hetero(Net(), papers.metadata())
    out = model(papers.x_dict, papers.edge_index_dict)
    assert {kind: tuple(rows.shape) for kind, rows in out.items()} == {"paper": (6, 3), "author": (4, 3)}
    sum(rows.square().sum() for rows in out.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    relations = HeteroConv({kind: SpikingConv(SAGEConv((5, 5), 3)) for kind in papers.edge_types})
    assert relations(papers.x_dict, papers.edge_index_dict)["paper"].shape == (6, 3)


def test_features_of_edges(papers):
    conv, edges = GATConv((5, 5), 3, edge_dim=2, add_self_loops=False), papers["author", "writes", "paper"].edge_index
    pair, features = (papers["author"].x, papers["paper"].x), torch.rand(4, 2)
    seen = []
    conv.register_forward_pre_hook(lambda _, args, known: seen.append(known["edge_attr"]), with_kwargs=True)
    out = SpikingConv(conv, timesteps=3)(pair, edges, edge_attr=features)
    assert out.shape == (6, 3)
    assert len(seen) == 3
    assert all(given is features for given in seen)
    writes, of = papers.edge_types
    relations = HeteroConv({writes: SpikingConv(conv, timesteps=3), of: SpikingConv(SAGEConv((5, 5), 3))})
    found = relations(papers.x_dict, papers.edge_index_dict, edge_attr_dict={writes: features})
    torch.testing.assert_close(found["paper"], out)


def test_a_whole_network_says_why_it_cannot_be_split(papers):
    with pytest.raises(ValueError, match=r"side by side through time.*msg\.nn\.SpikingConv"):
        to_hetero(MSG(5, 3), papers.metadata())
    with pytest.raises(ValueError, match="SpikingConv"):
        MSG(5, 3)(papers.x_dict, papers.edge_index_dict)


def test_refusals(edge_index):
    with pytest.raises(ValueError, match="timesteps must be a whole number of at least 1"):
        SpikingConv(GCNConv(5, 3), timesteps=0)
    with pytest.raises(ValueError, match=r"\[num_nodes, channels\]"):
        SpikingConv(GCNConv(5, 3))(torch.rand(4, 7, 5), edge_index)
    for x in (torch.ones(7, 5, dtype=torch.long), torch.rand(7, 5).to_sparse()):
        with pytest.raises(ValueError, match="neurons read dense real numbers"):
            SpikingConv(GCNConv(5, 3))(x, edge_index)


def test_a_pair_may_be_a_list():
    x, edges = torch.rand(7, 5), torch.tensor([[0, 1, 2], [1, 2, 0]])
    layer = SpikingConv(SAGEConv((5, 5), 3))
    assert torch.equal(layer([x, x], edges), layer((x, x), edges))


def test_a_threshold_is_fitted_to_the_first_input(papers):
    layer, edges = SpikingConv(SAGEConv((5, 5), 3), neuron=LIF(threshold="auto")), papers.edge_index_dict
    pair = papers["author"].x, papers["paper"].x
    layer(pair, edges["author", "writes", "paper"])
    assert layer.neuron.threshold == pytest.approx(2 * float(pair[0].square().mean().sqrt()))


@pytest.mark.parametrize(
    ("conv", "name"), [(GCNConv(5, 3), "edge_weight"), (GATConv(5, 3, edge_dim=1), "edge_attr")], ids=["gcn", "gat"]
)
def test_edges_are_weighed_as_the_convolution_weighs_them(conv, name):
    x, edge_index, weight = torch.rand(6, 5) + 0.5, torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]]), torch.rand(4)
    layer = SpikingConv(conv, timesteps=1, neuron=IF(0.4))  # all fire
    known = {name: weight if name == "edge_weight" else weight[:, None]}
    torch.testing.assert_close(layer(x, edge_index, weight), conv(torch.ones_like(x), edge_index, **known))


@pytest.mark.parametrize("conv", [GATConv(5, 3), SAGEConv(5, 3)], ids=["gat", "sage"])
def test_weights_that_a_convolution_does_not_read_are_refused(conv):
    with pytest.raises(ValueError, match=f"{type(conv).__name__} cannot honour edge_weight.*edge_dim=1"):
        SpikingConv(conv)(torch.rand(6, 5), torch.tensor([[0, 1], [1, 2]]), torch.rand(2))
