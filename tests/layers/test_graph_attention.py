import pytest
import torch
from torch import nn
from torch.export import Dim
from torch.nn.functional import leaky_relu
from torch_geometric.nn import GATConv

from msg.graph import Graph, SparseMatrix
from msg.layers import GraphAttention, neighbours


def slow(conv, x, edge_index):
    """One step, node by node."""
    h = (x @ conv.lin.weight.t()).view(len(x), conv.heads, -1)
    out = torch.zeros_like(h)
    for i in range(len(x)):
        near = [j for j, k in edge_index.t().tolist() if k == i]
        if conv.add_self_loops:
            near = [j for j in near if j != i] + [i]
        for head in range(conv.heads):
            score = [
                leaky_relu(h[j, head] @ conv.att_src[0, head] + h[i, head] @ conv.att_dst[0, head], 0.2) for j in near
            ]
            total = sum(e.exp() for e in score)
            for j, e in zip(near, score):
                out[i, head] = out[i, head] + e.exp() / total * h[j, head] / (len(near) if conv.mean else 1)
    out = out.flatten(1)
    return out if conv.bias is None else out + conv.bias


@pytest.mark.parametrize(("loops", "mean", "bias"), [(True, False, True), (False, True, False), (False, False, True)])
def test_formula_and_gradients(loops, mean, bias, edge_index):
    conv = GraphAttention(5, 6, 2, add_self_loops=loops, mean=mean, bias=bias).double()
    x = torch.randn(7, 3, 5, dtype=torch.float64, requires_grad=True)
    want = torch.stack([slow(conv, now, edge_index) for now in x.unbind(1)], dim=1)
    out = conv(x, Graph(edge_index, None, 7))
    assert torch.allclose(out, want)
    weighed, leaves = torch.randn_like(out), [x, *conv.parameters()]
    ours = torch.autograd.grad((out * weighed).sum(), leaves)
    theirs = torch.autograd.grad((want * weighed).sum(), leaves)
    for a, b in zip(ours, theirs):
        assert torch.allclose(a, b)


def test_it_is_pygs(edge_index):
    ours, theirs = GraphAttention(5, 6, 3), GATConv(5, 2, 3)
    ours.load_state_dict(theirs.state_dict())
    x, graph = torch.randn(7, 5), Graph(edge_index, None, 7)
    assert torch.allclose(ours(x, graph), theirs(x, edge_index), atol=1e-6)
    few = x * (torch.rand(7, 5) > 0.5)
    sparse = SparseMatrix.from_tensor(few.to_sparse_coo())
    assert torch.allclose(ours(sparse, graph), theirs(few, edge_index), atol=1e-6)


def test_what_is_put_in_place_of_its_map_acts_on_sparse_features_too(edge_index):
    conv, graph = GraphAttention(5, 6, 3), Graph(edge_index, None, 7)
    few = torch.randn(7, 5) * (torch.rand(7, 5) > 0.5)
    sparse = SparseMatrix.from_tensor(few.to_sparse_coo())
    plain = conv(few, graph)
    handle = conv.lin.register_forward_hook(lambda _, __, out: 3 * out)
    tripled = conv(few, graph)
    assert not torch.allclose(tripled, plain)
    torch.testing.assert_close(conv(sparse, graph), tripled)
    handle.remove()
    conv.lin = nn.Sequential(conv.lin, nn.Tanh())
    torch.testing.assert_close(conv(sparse, graph), conv(few, graph))


def test_gathering_in_parts_changes_nothing(edge_index, monkeypatch):
    conv, x = GraphAttention(5, 6, 2), torch.randn(7, 3, 5)
    monkeypatch.setenv("MSG_KERNELS", "torch")
    grads = []
    for chunk in (1, 2**18):
        monkeypatch.setattr(neighbours, "_CHUNK", chunk)
        conv.zero_grad()
        conv(x, Graph(edge_index, None, 7)).square().sum().backward()
        grads.append(conv.lin.weight.grad.clone())
    assert torch.equal(*grads)


def test_large_scores_do_not_overflow(edge_index):
    conv = GraphAttention(5, 6, 2)
    out = conv(1e4 * torch.randn(7, 5), Graph(edge_index, None, 7))
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("loops", [True, False])
def test_without_edges(loops):
    conv = GraphAttention(5, 6, 2, add_self_loops=loops)
    x = torch.randn(4, 5, requires_grad=True)
    out = conv(x, Graph(torch.zeros(2, 0, dtype=torch.long), None, 4))
    assert torch.allclose(out, conv.lin(x) + conv.bias if loops else torch.zeros(4, 6))
    out.square().sum().backward()
    assert bool(x.grad.isfinite().all())


def test_refusals(edge_index):
    with pytest.raises(ValueError, match="heads must divide the width 6, but heads=4"):
        GraphAttention(5, 6, 4)
    conv = GraphAttention(5, 6, 2)
    with pytest.raises(ValueError, match="cannot honour edge_weight"):
        conv(torch.randn(7, 5), Graph(edge_index, torch.rand(edge_index.size(1)), 7))
    assert "heads=2" in repr(conv)


def test_a_program_of_it_takes_graphs_of_any_size(edge_index):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = GraphAttention(5, 6, 2)

        def forward(self, x, edge_index):
            return self.conv(x, Graph(edge_index, None, x.size(0)))

    model, sizes = Model().eval(), {"x": {0: Dim("nodes", min=3)}, "edge_index": {1: Dim("edges", min=3)}}
    program = torch.export.export(model, (torch.randn(7, 5), edge_index), dynamic_shapes=sizes).module()
    x, more = torch.randn(9, 5), torch.cat([edge_index, torch.tensor([[8, 7], [0, 8]])], dim=1)
    assert torch.allclose(program(x, more), model(x, more), atol=1e-6)
