import pytest
import torch
from torch_geometric.nn import GAT as PygGAT
from torch_geometric.nn import GCN, GraphSAGE, SGConv

from msg.energy import OPERATIONS, count
from msg.models import GAT, SAGE, SGC, CachedGCN


@pytest.fixture
def x():
    return torch.rand(7, 5) * (torch.rand(7, 5) > 0.5)


def test_sgc_is_pygs(x, edge_index):
    ours, theirs = SGC(5, 3, num_hops=2), SGConv(5, 3, K=2)
    ours.weights.conv.weight.data = theirs.lin.weight.data
    ours.bias.data = theirs.lin.bias.data = torch.randn(3)
    assert torch.allclose(ours(x, edge_index), theirs(x, edge_index), atol=1e-6)
    assert torch.allclose(ours(x.to_sparse_coo(), edge_index), theirs(x, edge_index), atol=1e-6)


@pytest.mark.parametrize(("kind", "pygs"), [(SAGE, GraphSAGE), (CachedGCN, GCN)])
def test_layered_ones_are_pygs(kind, pygs, x, edge_index):
    ours, theirs = kind(5, 4, 2, 3).eval(), pygs(5, 4, 2, 3).eval()
    for layer, conv in zip(ours.layers, theirs.convs):
        layer.conv.load_state_dict(conv.state_dict())
    assert torch.allclose(ours(x, edge_index), theirs(x, edge_index), atol=1e-6)
    assert torch.allclose(ours(x.to_sparse_coo(), edge_index), theirs(x, edge_index), atol=1e-6)


@pytest.mark.parametrize("layers", [1, 3])
def test_gat_is_pygs(layers, x, edge_index):
    ours, theirs = (kind(5, 4, layers, 3, dropout=0.3, heads=2).eval() for kind in (GAT, PygGAT))
    for layer, conv in zip(ours.layers, theirs.convs, strict=True):
        layer.conv.load_state_dict(conv.state_dict())
        assert (layer.conv.dropout, layer.conv.concat) == (conv.dropout, conv.concat)
    assert ours.dropout.p == theirs.dropout.p
    assert torch.allclose(ours(x, edge_index), theirs(x, edge_index), atol=1e-6)
    assert torch.allclose(ours(x.to_sparse_coo(), edge_index), theirs(x, edge_index), atol=1e-6)


def test_gat_of_no_nodes(x):
    model = GAT(5, 4, 2, 3, heads=2)
    model(x[:0], torch.empty(2, 0, dtype=torch.long)).sum().backward()
    assert all(not parameter.grad.any() for name, parameter in model.named_parameters() if "bias" not in name)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="heads must divide hidden_channels=4, but heads=3"):
        GAT(5, 4, 2, 3, heads=3)
    assert GAT(5, 4, 1, 3, heads=3).num_layers == 1  # it has no hidden width
    with pytest.raises(ValueError, match="num_layers must be a whole number of at least 1"):
        GAT(5, 4, 0, 3)


@pytest.mark.parametrize(("kind", "pygs"), [(SAGE, GraphSAGE), (GAT, PygGAT)])
def test_they_are_counted_as_pygs(kind, pygs, x, edge_index):
    ours, theirs = kind(5, 4, 2, 3).eval(), pygs(5, 4, 2, 3).eval()
    for layer, conv in zip(ours.layers, theirs.convs):
        layer.conv.load_state_dict(conv.state_dict())
    totals = []
    for model in (ours, theirs):
        with torch.no_grad(), count(model) as ops:
            model(x, edge_index)
        assert not ops.unknown
        totals.append({kind: ops.total()[kind] for kind in OPERATIONS})
    assert totals[0] == totals[1]


def test_sgc_is_counted(x, edge_index):
    model = SGC(5, 3, num_hops=1)
    with torch.no_grad(), count(model) as ops:
        model(x, edge_index)
    assert not ops.unknown
    assert ops.total()["multiply_accumulate"] == int(x.count_nonzero()) * 3
    assert ops.modules[""].nonzero["accumulate"] == 7 * 3  # the bias
