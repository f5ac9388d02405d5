import copy

import pytest
import torch

from msg.energy import count
from msg.kernels import choice
from msg.layers import BernoulliEncoder, BernoulliLinear


@pytest.fixture(params=["compiled", "NumPy", "by torch"])
def drawn(request, monkeypatch):
    """Who draws: compiled code, its twin, or torch, as on other devices."""
    if request.param == "by torch":
        monkeypatch.setattr(choice, "plain", lambda *tensors: False)
    elif request.param == "NumPy":
        monkeypatch.setenv(choice.VARIABLE, "torch")


@pytest.mark.usefixtures("drawn")
def test_spikes_are_as_many_as_their_probability_says(dtype):
    x = torch.tensor([-0.5, 0.0, 0.01, 0.3, 0.9, 1.0, 4.0], dtype=dtype)
    train = BernoulliEncoder(seed=1)(x, 20_000)
    assert train.shape == (20_000, 7)
    assert train.dtype == dtype
    assert set(train.unique().tolist()) == {0.0, 1.0}
    p = x.clamp(0, 1)
    # within five standard deviations; exact at the ends
    assert bool(((train.mean(0) - p).abs() <= 5 * (p * (1 - p) / 20_000).sqrt()).all())
    # drawn anew at each step: two steps share a spike with probability p²
    together = (train[1:, 3] * train[:-1, 3]).mean()
    assert abs(float(together) - 0.09) < 0.01


@pytest.mark.usefixtures("drawn")
def test_both_precisions_and_every_evaluation_draw_the_same():
    x = torch.rand(6, 5)
    encoder = BernoulliEncoder(seed=1).eval()
    want = encoder(x, 9)
    assert torch.equal(encoder(x, 9), want)
    assert torch.equal(encoder(x.double(), 9).float(), want)
    assert not torch.equal(encoder.train()(x, 9), want)
    assert not torch.equal(encoder(x, 9), encoder(x, 9))


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("shape", [(), (6,), (2, 6)])
@pytest.mark.parametrize("training", [True, False])
def test_linear_is_the_product_with_what_the_encoder_draws(shape, training, dtype):
    layer = BernoulliLinear(5, 3, seed=2).to(dtype).train(training)
    x, upstream = torch.rand(*shape, 5, dtype=dtype), torch.randn(4, *shape, 3, dtype=dtype)
    upstream[..., 2, :] = 0  # of a node without a label
    train = copy.deepcopy(layer.encoder)(x, 4)
    weight = layer.weight.detach().clone().requires_grad_()
    want = train @ weight.t()
    (want * upstream).sum().backward()
    got = layer(x, 4)
    (got * upstream).sum().backward()
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(layer.weight.grad, weight.grad)


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("training", [True, False])
def test_rows_that_are_asked_for_draw_what_they_draw_among_all(training, dtype):
    layer = BernoulliLinear(5, 3, seed=2).to(dtype).train(training)
    twin, x, rows = copy.deepcopy(layer), torch.rand(8, 5, dtype=dtype), torch.tensor([6, 0, 3])
    got, want = layer(x, 9, rows=rows), twin(x, 9)[:, rows]
    torch.testing.assert_close(got, want)
    upstream = torch.randn(got.shape, dtype=dtype)
    (got * upstream).sum().backward()
    (want * upstream).sum().backward()
    torch.testing.assert_close(layer.weight.grad, twin.weight.grad)


def test_rows_that_are_asked_for_are_counted():
    layer, x = BernoulliLinear(3, 2, seed=0).eval(), torch.tensor([[0.0, 1.0, 0.5], [0.0, 2.0, 0.5]])
    with torch.no_grad(), count(layer) as asked:
        layer(x, 10, rows=torch.tensor([1]))
    with torch.no_grad(), count(layer) as alone:
        layer(x[1:], 10)
    assert asked.total() == alone.total()
    assert asked.total()["accumulate"] == 30


def test_nothing_is_drawn_by_torchs_generator():
    layer, before = BernoulliLinear(5, 3), torch.get_rng_state()
    layer(torch.rand(4, 5, generator=torch.Generator().manual_seed(0)), 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_is_counted():
    layer, x = BernoulliLinear(3, 2, seed=0).eval(), torch.tensor([[0.0, 1.0, 0.5], [0.0, 2.0, 0.5]])
    with torch.no_grad(), count(layer) as ops:
        layer(x, 10)
    assert not ops.unknown
    # 1 + 0.5 + 1 + 0.5 spikes a step add two weights each; chance decides two of them
    total = ops.total()
    assert (total["accumulate"], total["spike"], total["comparison"]) == (60, 30, 20)
    with torch.no_grad(), count(layer.encoder) as ops:
        layer.encoder(x, 10)
    assert not ops.unknown
    assert ops.total()["comparison"] == 20


def test_reset_draws_weights():
    layer = BernoulliLinear(5, 3)
    before = layer.weight.detach().clone()
    layer.reset_parameters()
    assert not torch.equal(layer.weight, before)
    with pytest.raises(ValueError, match="timesteps"):
        layer(torch.rand(2, 5), 0)


@pytest.mark.usefixtures("drawn")
def test_other_inputs_are_refused():
    with pytest.raises(ValueError, match="x has 4 inputs, the layer 5: see in_channels"):
        BernoulliLinear(5, 3)(torch.rand(2, 4), 2)


@pytest.mark.parametrize("timesteps", [1.5, "3", 0])
def test_steps_that_are_no_number_of_them_are_refused(timesteps):
    for layer in (BernoulliEncoder(), BernoulliLinear(3, 2)):
        with pytest.raises(ValueError, match="timesteps must be a whole number of at least 1"):
            layer(torch.rand(4, 3), timesteps)


def test_second_derivatives_are_refused():
    layer = BernoulliLinear(3, 2)
    with pytest.raises(RuntimeError, match="BernoulliLinear has no second derivatives"):
        torch.autograd.grad(layer(torch.rand(4, 3), 5).square().sum(), layer.weight, create_graph=True)
