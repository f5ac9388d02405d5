import pytest
import torch
from torch import nn
from torch.nn import functional as F

from msg.graph import SparseMatrix
from msg.layers import dropout
from msg.nn import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.8, 0.999])
def test_elements_are_dropped_with_the_probability_and_the_mean_stays(dtype, p):
    number = 400_000
    y = dropout(torch.ones(number, dtype=dtype), p)
    kept = round((1 - p) * 2**16) / 2**16
    assert y.dtype == dtype
    assert set(y.unique().tolist()) == {0.0, torch.tensor(1 / kept, dtype=dtype).item()}
    # seven deviations of a binomial, of each of the four places within a draw too
    for part, count in [(y, number), *((y[place::4], number // 4) for place in range(4))]:
        assert abs((part != 0).double().mean().item() - kept) < 7 * (kept * (1 - kept) / count) ** 0.5


def test_neighbouring_decisions_are_independent():
    kept = (dropout(torch.ones(400_000), 0.5) != 0).double() - 0.5
    for lag in range(1, 9):
        correlation = (kept[lag:] * kept[:-lag]).mean().item() / 0.25
        assert abs(correlation) < 7 / 400_000**0.5


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (5, 3), (3, 2, 5)])
def test_shapes_and_the_gradient(shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    y = dropout(x, 0.4)
    assert y.shape == x.shape
    g = torch.randn(shape, dtype=torch.float64)
    (found,) = torch.autograd.grad(y, x, g)
    factor = torch.where(x == 0, torch.zeros_like(x), y / x).detach()
    torch.testing.assert_close(found, g * factor)


def test_draws_are_of_the_generator_of_torch():
    x = torch.ones(1000)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    y = dropout(torch.ones(10_000, dtype=dtype), 0.5)
    assert y.dtype == dtype
    assert set(y.float().unique().tolist()) == {0.0, 2.0}


def test_extremes_and_evaluation():
    x = torch.randn(50)
    assert torch.equal(dropout(x, 0.0), x)
    assert torch.equal(dropout(x, 1e-9), x)
    assert not dropout(x, 1.0).any()
    assert dropout(x, 0.5, training=False) is x
    module = Dropout(0.5).eval()
    assert module(x) is x
    assert repr(module) == repr(nn.Dropout(0.5))


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropout(torch.ones(3), p)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dropout(p)


def test_of_a_sparse_matrix_the_entries():
    dense = torch.bernoulli(torch.full((60, 40), 0.3)) * torch.rand(60, 40)
    matrix = SparseMatrix.from_tensor(dense.to_sparse())
    dropped = Dropout(0.5)(matrix).csr.to_dense()
    factor = dropped[dense != 0] / dense[dense != 0]
    torch.testing.assert_close(factor, torch.where(factor > 1, 2.0, 0.0))
    assert 0.3 < (factor > 1).float().mean() < 0.7
    assert not dropped[dense == 0].any()
    assert dropout(matrix, 0.5, training=False) is matrix
    assert dropout(matrix, 0.0) is matrix


def test_under_a_transform_it_is_that_of_torch():
    module = Dropout(0.5)

    def loss(x):
        return module(x).sum()

    x = torch.ones(200)
    torch.manual_seed(0)
    found = torch.func.grad(loss)(x)
    torch.manual_seed(0)
    torch.testing.assert_close(found, F.dropout(x, 0.5))
    mapped = torch.func.vmap(module, randomness="different")(torch.ones(2, 500))
    assert not torch.equal(mapped[0], mapped[1])
