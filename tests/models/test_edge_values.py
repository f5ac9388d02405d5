"""What is known of edges beside a weight, read by the convolutions of PyG that take it."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.nn import GATConv, GATv2Conv, GINEConv, NNConv, RGCNConv, TransformerConv

from msg.graph import Graph, NeighborSampler
from msg.nn import MSG, SpikingGNN

ATTRIBUTES, TYPES = 3, 2
CONVS = {
    "GATv2Conv": ("edge_attr", lambda i, o: GATv2Conv(i, o, edge_dim=ATTRIBUTES)),
    "TransformerConv": ("edge_attr", lambda i, o: TransformerConv(i, o, edge_dim=ATTRIBUTES)),
    "NNConv": ("edge_attr", lambda i, o: NNConv(i, o, nn.Linear(ATTRIBUTES, i * o))),
    "GINEConv": ("edge_attr", lambda i, o: GINEConv(nn.Linear(i, o), edge_dim=ATTRIBUTES)),
    "RGCNConv": ("edge_type", lambda i, o: RGCNConv(i, o, TYPES)),
}


@pytest.fixture(params=list(CONVS))
def case(request, edge_index, dtype, dyadic):
    """A model of three convolutions, features and what is known of edges, by name."""
    name, conv = CONVS[request.param]
    model = dyadic(MSG(5, 3, "H4", 3, timesteps=4, conv=conv, gradient="bptt").to(dtype))
    edges = edge_index.size(1)
    values = torch.rand(edges, ATTRIBUTES, dtype=dtype) if name == "edge_attr" else torch.arange(edges) % TYPES
    return model, dyadic(torch.rand(7, 5, dtype=dtype)), {name: values}


def loop(model, x, edge_index, known):
    """Mean currents of all layers, neuron by neuron and step by step; IF with a threshold of 1."""
    convs = [layer.synapse.conv for layer in model.stack.layers]
    first = convs[0](x, edge_index, **known)
    potentials, totals = [torch.zeros_like(first) for _ in convs[1:]], [0.0] * (len(convs) - 1)
    for _ in range(model.timesteps):
        current = first
        for number, conv in enumerate(convs[1:]):
            potentials[number] = potentials[number] + current
            spikes = (potentials[number] > 1).to(x)
            potentials[number] = potentials[number] - spikes
            current = conv(spikes, edge_index, **known)
            totals[number] = totals[number] + current / model.timesteps
    return [first, *totals]


def test_every_convolution_reads_it_at_every_step(case, edge_index):
    model, x, known = case
    with torch.no_grad():
        found = model.activity(x, edge_index, **known).currents
        for got, want in zip(found, loop(model, x, edge_index, known), strict=True):
            torch.testing.assert_close(got, want)
    other = {name: value.flip(0) for name, value in known.items()}
    assert not torch.allclose(model(x, edge_index, **other), model(x, edge_index, **known))
    model(x, edge_index, **known).square().sum().backward()
    assert all(p.grad is not None for p in model.stack.parameters())


def test_a_batch_has_that_of_its_own_edges(case, edge_index):
    model, x, known = case
    edges = edge_index[:, (edge_index[0] != edge_index[1])].unique(dim=1)
    ((name, value),) = known.items()
    data = Data(x=x, edge_index=edges, **{name: value[: edges.size(1)]})
    batch = next(iter(NodeLoader(data, NeighborSampler(data, [-1] * 3), batch_size=3)))
    sizes = {
        "num_sampled_nodes_per_hop": batch.num_sampled_nodes,
        "num_sampled_edges_per_hop": batch.num_sampled_edges,
    }
    with torch.no_grad():
        whole = model(data.x, data.edge_index, **{name: data[name]})
        found = model(batch.x, batch.edge_index, **{name: batch[name]}, **sizes)
    torch.testing.assert_close(found[:3], whole[batch.n_id[:3]], rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_what_would_not_be_read_is_refused(edge_index):
    x, attributes = torch.rand(7, 5), torch.rand(edge_index.size(1), ATTRIBUTES)
    for conv, name in (("gcn", "GCNConv"), ("sage", "SAGEConv"), ("gin", "GINConv"), (GATConv, "GATConv")):
        for model in (MSG(5, 3, "H4", conv=conv), SpikingGNN(5, 3, 4, conv=conv)):
            with pytest.raises(ValueError, match=rf"{name} does not read edge_attr: use one of PyG's that does"):
                model(x, edge_index, edge_attr=attributes)
    model = MSG(5, 3, "H4", conv=CONVS["GATv2Conv"][1])
    with pytest.raises(ValueError, match="GATv2Conv does not read edge_type"):
        model(x, edge_index, edge_type=torch.zeros(edge_index.size(1), dtype=torch.long))
    with pytest.raises(ValueError, match=r"edge_attr has shape \[9, 3\], but there are 10 edges"):
        model(x, edge_index, edge_attr=attributes[1:])
    with pytest.raises(ValueError, match="edge_attr must be a tensor, not list"):
        model(x, edge_index, edge_attr=attributes.tolist())
    with pytest.raises(ValueError, match="edge_attr need edge_index"):
        model(x, torch.sparse_coo_tensor(edge_index, torch.ones(10), (7, 7)), edge_attr=attributes)
    typed = MSG(5, 3, "H4", conv=CONVS["RGCNConv"][1])
    with pytest.raises(ValueError, match=r"edge_type must be integers \[num_edges\], not torch.float32"):
        typed(x, edge_index, edge_type=torch.zeros(10))
    data = Data(x=x, edge_index=edge_index, edge_attr=attributes)
    loader = NodeLoader(data, NeighborSampler(data, [-1]), batch_size=7)
    with pytest.raises(ValueError, match="inference reads no edge_attr: call the model"):
        model.eval().inference(loader)
    MSG(5, 3, "H4").eval().inference(loader)  # who does not read it is not concerned


def test_matrices_are_shared_with_the_graph_without_it(edge_index):
    graph = Graph(edge_index, None, 7)
    other = graph.carrying(edge_attr=torch.rand(10))
    assert other.normalized(torch.float32) is graph.normalized(torch.float32)
    assert not graph.edge_values
    assert graph.carrying() is graph
