import math

import pytest
import torch

from msg.nn import MSG, BernoulliEncoder, LatencyEncoder, PopulationEncoder


def test_linear_latency_by_hand(dtype):
    x = torch.tensor([[1.0, 0.5, 0.26], [0.0, -1.0, 3.0]], dtype=dtype)
    encoder = LatencyEncoder()
    assert encoder.times(x, 5).tolist() == [[0, 2, 3], [math.inf, math.inf, 0]]
    train = encoder(x, 5)
    assert train.shape == (5, 2, 3)
    assert train.dtype == dtype
    assert train.argmax(0).tolist() == [[0, 2, 3], [0, 0, 0]]
    assert train.sum(0).tolist() == [[1, 1, 1], [0, 0, 1]]
    assert encoder(x[:1], 1).tolist() == [[[1, 1, 1]]]
    assert LatencyEncoder(threshold=0.5)(x, 5).sum(0).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_latency_of_a_membrane_is_that_of_the_charged_one():
    """Steps of one hundredth of the exact solution, as long as it takes."""
    tau, threshold = 4.0, 0.3
    for x in (0.31, 0.4, 0.7, 1.0, 5.0):
        v, time = 0.0, 0.0
        while v < threshold:
            time += 0.001
            v = x * (1 - math.exp(-time / tau))
        (got,) = LatencyEncoder(threshold, tau).times(torch.tensor([x], dtype=torch.float64), 99).tolist()
        assert abs(got - time) <= 0.5 + 0.002
    late = torch.tensor([0.31])  # after 13.7 steps
    assert LatencyEncoder(threshold, tau)(late, 14).sum() == 0
    assert LatencyEncoder(threshold, tau)(late, 15)[14] == 1


def test_linear_latency_is_that_of_spikingjelly(library, dtype):
    x = torch.rand(6, 4, dtype=dtype).clamp(min=0.01)
    theirs = library("spikingjelly.activation_based.encoding").LatencyEncoder(9, "linear")
    assert torch.equal(LatencyEncoder()(x, 9), torch.stack([theirs(x) for _ in range(9)]))


@pytest.mark.parametrize("linear", [True, False])
def test_latency_is_that_of_snntorch(library, linear):
    x = torch.rand(6, 4).clamp(min=0.05)
    ours = LatencyEncoder() if linear else LatencyEncoder(threshold=0.01, tau=3.0)
    options = {"linear": True, "normalize": True} if linear else {"tau": 3.0}
    theirs = library("snntorch.spikegen").latency(x, num_steps=9, **options)
    assert torch.equal(ours(x, 9), theirs)


def test_population_by_hand(dtype):
    encoder = PopulationEncoder(4, low=-1.0, high=3.0)
    x = torch.tensor([[-2.0, 0.3], [5.0, -1.0]], dtype=dtype)
    assert encoder.centers.tolist() == [-2.0, 0.0, 2.0, 4.0]
    responses = encoder.responses(x)
    assert responses.shape == (2, 8)
    assert responses.dtype == dtype
    want = math.exp(-0.5 * (0.3 / (2 / 1.5)) ** 2)
    assert float(responses[0, 5]) == pytest.approx(want)
    assert float(responses[0, 0]) == 1.0
    assert float(responses.min()) >= 0
    train = encoder(x, 10)
    assert train.shape == (10, 2, 8)
    assert torch.equal(train, LatencyEncoder(threshold=0.1)(responses, 10))
    drawn = BernoulliEncoder(seed=3).eval()
    assert torch.equal(PopulationEncoder(4, -1.0, 3.0, encoder=drawn)(x, 10), drawn(responses, 10))


def test_fields_have_the_shape_of_norse(library):
    """A Gaussian around each centre; theirs lie on the range and have width one."""
    x = torch.rand(5, 3)
    theirs = library("norse.torch.functional.encode").population_encode(x, 4, scale=1)
    ours = PopulationEncoder(4)
    ours.centers, ours.width = torch.linspace(0, 1, 4), 1.0
    torch.testing.assert_close(ours.responses(x), theirs.flatten(1))


def test_models_read_the_trains(edge_index):
    x = torch.randn(7, 5)
    train = PopulationEncoder(4, -2.0, 2.0)(x, 6)
    assert MSG(20, 3, "H4", timesteps=6)(train, edge_index).shape == (7, 3)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: LatencyEncoder(-0.1), "threshold must be"),
        (lambda: LatencyEncoder(tau=2.0), "positive tau and threshold"),
        (lambda: LatencyEncoder()(torch.rand(2), 0), "timesteps must be a whole number of at least 1, not 0"),
        (lambda: LatencyEncoder()(torch.rand(2), 2.5), "timesteps must be a whole number of at least 1, not 2.5"),
        (lambda: PopulationEncoder(4)(torch.tensor(0.5), 5), r"x is a single number.*use x\.view\(1\)"),
        (lambda: PopulationEncoder(2), "at least 3"),
        (lambda: PopulationEncoder(4, 1.0, 1.0), "range must not be empty"),
        (lambda: PopulationEncoder(4, overlap=0.0), "overlap must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


def test_no_gradient_and_no_change_of_the_input(dtype):
    x = torch.rand(3, 2, dtype=dtype, requires_grad=True)
    kept = x.detach().clone()
    for encoder in (LatencyEncoder(), LatencyEncoder(0.1, 2.0), PopulationEncoder(3)):
        assert not encoder(x, 4).requires_grad
    assert torch.equal(x.detach(), kept)
    assert "tau=2" in repr(LatencyEncoder(0.1, 2.0))
    assert "fields=3" in repr(PopulationEncoder(3))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_other_numbers_are_read_as_they_are(kind):
    x = torch.tensor([[0, 1, 3], [2, 0, 1]]).to(kind)
    if kind is not torch.bool:
        fields = PopulationEncoder(fields=6, low=0, high=4)
        tolerance = 0.02 if kind.itemsize == 2 else 1e-6
        torch.testing.assert_close(fields.responses(x).float(), fields.responses(x.float()), rtol=0, atol=tolerance)
    train = LatencyEncoder()(x, 5)
    assert train.dtype == kind
    assert torch.equal(train.float(), LatencyEncoder()(x.float(), 5))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_at_most_one_spike_however_many_steps(kind):
    x = torch.rand(20, 20, generator=torch.Generator().manual_seed(0)).to(kind)
    assert LatencyEncoder()(x, 3000).float().sum(0).max() == 1


def test_what_is_infinite_fires_at_once():
    spikes = LatencyEncoder(0.5, 2.0)(torch.tensor([math.inf, 1e30, 1.0]), 4)
    assert spikes[0].tolist() == [1, 1, 0]
    assert spikes[:, :2].sum() == 2
