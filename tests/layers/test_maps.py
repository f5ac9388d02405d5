import pytest
import torch
from torch import nn
from torch_geometric.nn import Linear

from msg.graph import SparseMatrix
from msg.layers.maps import is_map, may_be_read, through


class Twice(nn.Linear):
    """One that says more than its weight."""

    def forward(self, x):
        return 2 * super().forward(x)


def features(dtype):
    x = torch.randn(7, 5, dtype=dtype) * (torch.rand(7, 5) > 0.5)
    return x, SparseMatrix.from_tensor(x.to_sparse_coo())


@pytest.mark.parametrize("kind", [nn.Linear, Linear])
def test_what_multiplies_by_its_weight_alone_is_a_map(kind):
    assert is_map(kind(5, 3))
    assert not is_map(kind(5, 3), biased=False)
    assert is_map(kind(5, 3, bias=False), biased=False)
    for other in (Twice(5, 3), nn.Sequential(kind(5, 3)), None):
        assert not is_map(other)


def test_a_map_that_somebody_waits_for_is_not_read():
    layer = nn.Linear(5, 3)
    assert may_be_read(layer)
    handle = layer.register_forward_hook(lambda *_: None)
    assert is_map(layer)
    assert not may_be_read(layer)
    handle.remove()
    assert may_be_read(layer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.Linear, Linear, Twice])
def test_sparse_features_are_mapped_as_dense_ones(kind, bias, dtype):
    layer = kind(5, 3, bias=bias).to(dtype)
    dense, sparse = features(dtype)
    want = layer(dense)
    torch.testing.assert_close(through(layer, dense), want)
    torch.testing.assert_close(through(layer, sparse), want)
    weighed = torch.randn_like(want)
    ours, theirs = (
        torch.autograd.grad((out * weighed).sum(), list(layer.parameters())) for out in (through(layer, sparse), want)
    )
    for one, two in zip(ours, theirs):
        torch.testing.assert_close(one, two)


def test_a_hook_changes_what_sparse_features_become():
    layer, (_, sparse) = nn.Linear(5, 3), features(torch.float32)
    before = through(layer, sparse)
    layer.register_forward_hook(lambda _, __, out: -out)
    torch.testing.assert_close(through(layer, sparse), -before)
