import dense
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.nn import GATConv

from msg.energy import count
from msg.graph import NeighborSampler
from msg.models import ClassicGNN
from msg.testing import assert_model

CONVS = ["gcn", "sage", "gat", "linear"]


def dense_matrix(conv, edge_index, n):
    if conv != "sage":
        return dense.gcn(edge_index, n)
    a = dense.counted(edge_index, n)
    return a / a.sum(1, keepdim=True).clamp(min=1)


@pytest.mark.parametrize("jumping", ["none", "cat", "max"])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("conv", ["gcn", "sage", "linear"])
def test_formula(conv, norm, residual, jumping, edge_index):
    model = ClassicGNN(5, 3, 4, 3, conv, 0.0, norm, residual, jumping).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    matrix = dense_matrix(conv, edge_index, 7)
    h, found = x, []
    for number, layer in enumerate(model.layers):
        if conv == "gcn":
            out = matrix @ h @ layer.conv.lin.weight.T + layer.conv.bias
        elif conv == "linear":
            out = h @ layer.conv.weight.T + layer.conv.bias
        else:
            out = matrix @ h @ layer.conv.lin_l.weight.T + layer.conv.lin_l.bias + h @ layer.conv.lin_r.weight.T
        if residual:
            out = out + model.residuals[number].conv(h)
        dim = {"batch": 0, "layer": 1}.get(norm)
        if dim is not None:
            out = (out - out.mean(dim, keepdim=True)) / (out.var(dim, unbiased=False, keepdim=True) + 1e-5).sqrt()
        h = out.relu()
        found.append(h)
    read = {"none": h, "cat": torch.cat(found, -1), "max": torch.stack(found).amax(0)}[jumping]
    assert torch.allclose(model(x, edge_index), model.lin(read), atol=1e-12)


def test_attention_is_pygs_with_all_its_heads(edge_index):
    model = ClassicGNN(5, 3, 4, 2, "gat", 0.0, "none", False, "none", heads=2)
    h = torch.randn(7, 5)
    want = h
    for layer in model.layers:
        theirs = GATConv(want.size(1), 2, heads=2)
        theirs.load_state_dict(layer.conv.state_dict())
        want = theirs(want, edge_index).relu()
    assert torch.allclose(model(h, edge_index), model.lin(want), atol=1e-6)


@pytest.mark.parametrize("conv", CONVS)
def test_contract(conv, edge_index):
    x = torch.rand(7, 5)
    assert_model(
        lambda: ClassicGNN(5, 3, 4, 2, conv, norm="layer", residual=True, jumping="cat"), x, edge_index, conv != "gat"
    )


@pytest.mark.parametrize("conv", ["sage", "linear"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_inference_and_batches_are_the_whole_graphs(norm, conv, edge_index):
    data = Data(x=torch.rand(7, 5), edge_index=edge_index)
    model = ClassicGNN(5, 3, 4, 2, conv, norm=norm, residual=True, jumping="cat").eval()
    want = model(data.x, data.edge_index)
    loader = NodeLoader(data, NeighborSampler(data, [-1]), batch_size=3)
    assert torch.allclose(model.inference(loader), want, atol=1e-6)
    (batch,) = NodeLoader(data, NeighborSampler(data, [-1, -1]), input_nodes=torch.tensor([2, 5]), batch_size=2)
    out = model(batch.x, batch.edge_index, None, 2, batch.num_sampled_nodes, batch.num_sampled_edges)
    assert torch.allclose(out, want[[2, 5]], atol=1e-6)


@pytest.mark.parametrize("conv", CONVS)
def test_all_of_it_is_counted(conv, edge_index):
    model = ClassicGNN(5, 3, 4, 2, conv, norm="batch", residual=True, jumping="cat", heads=2).eval()
    x = torch.rand(7, 5)
    with torch.no_grad(), count(model) as ops:
        model(x, edge_index)
    assert not ops.unknown


def test_an_mlp_looks_along_no_edge(edge_index):
    model = ClassicGNN(5, 3, 4, 2, "linear", norm="layer", residual=True).eval()
    x = torch.rand(7, 5)
    assert model.hops == 0
    assert torch.equal(model(x, edge_index), model(x, edge_index[:, :1]))


def test_embeds_without_classes(edge_index):
    assert ClassicGNN(5, None, 4)(torch.rand(7, 5), edge_index).shape == (7, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 0}, "num_layers must be a whole number of at least 1"),
        ({"conv": "gin"}, "unknown conv 'gin'"),
        ({"norm": "group"}, "unknown norm 'group'"),
        ({"jumping": "lstm"}, "unknown jumping 'lstm'"),
        ({"conv": "gat", "hidden_channels": 5, "heads": 2}, "cannot be divided into 2 heads"),
    ],
)
def test_what_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        ClassicGNN(5, 3, **options)
