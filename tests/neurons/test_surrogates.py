import copy
import math
import pickle

import pytest
import torch

from msg.gradients import OTTT, CheckpointedBPTT, RateBackprop, SurrogateBPTT
from msg.neurons import (
    ArcTan,
    ATan,
    Box,
    MultiGaussian,
    Sigmoid,
    SuperSpike,
    Surrogate,
    Triangle,
    heaviside,
)


def _lobe(u, sigma):
    return torch.special.ndtr(u / sigma)


# the surrogate and the smooth step whose derivative it claims to be; a new surrogate is one entry
PRIMITIVES = {
    "Sigmoid": (Sigmoid(), lambda u: torch.sigmoid(4 * u)),
    "Sigmoid(1.5)": (Sigmoid(1.5), lambda u: torch.sigmoid(1.5 * u)),
    "ATan": (ATan(), lambda u: (math.pi * u).atan() / math.pi),
    "ATan(3)": (ATan(3.0), lambda u: (math.pi / 2 * 3 * u).atan() / math.pi),
    "Triangle": (Triangle(), lambda u: torch.where(u.abs() < 1, u - u * u.abs() / 2, u.sign() / 2)),
    "SuperSpike": (SuperSpike(), lambda u: u / (1 + u.abs())),
    "SuperSpike(3)": (SuperSpike(3.0), lambda u: u / (1 + 3 * u.abs())),
    "ArcTan": (ArcTan(), lambda u: u.atan()),
    "ArcTan(4)": (ArcTan(4.0), lambda u: (2 * u).atan() / 2),
    "MultiGaussian": (
        MultiGaussian(),
        lambda u: 1.15 * _lobe(u, 0.5) - 0.15 * _lobe(u - 0.5, 3.0) - 0.15 * _lobe(u + 0.5, 3.0),
    ),
    "Box": (Box(), lambda u: u.clamp(-0.5, 0.5)),
    "Box(0.2)": (Box(0.2), lambda u: u.clamp(-0.2, 0.2) / 0.4),
    "Triangle(0.3)": (Triangle(0.3), lambda u: 0.3 * torch.where(u.abs() < 1, u - u * u.abs() / 2, u.sign() / 2)),
}


@pytest.fixture(params=list(PRIMITIVES))
def pair(request):
    return PRIMITIVES[request.param]


def test_derivative_is_that_of_the_smooth_step(pair):
    surrogate, primitive = pair
    u = torch.linspace(-2.05, 2.07, 83, dtype=torch.float64)
    h = 1e-6
    torch.testing.assert_close(
        surrogate.derivative(u), (primitive(u + h) - primitive(u - h)) / (2 * h), rtol=1e-7, atol=1e-8
    )


def test_published_height_at_threshold():
    zero = torch.zeros(1)
    assert Sigmoid(4.0).derivative(zero).item() == 1.0
    assert ATan(2.0).derivative(zero).item() == 1.0
    assert Triangle(0.3).derivative(zero).item() == pytest.approx(0.3)
    assert SuperSpike(7.0).derivative(zero).item() == ArcTan(7.0).derivative(zero).item() == 1.0
    assert Box(0.5).derivative(zero).item() == 1.0


def test_arctan_is_an_atan_of_another_height():
    u = torch.linspace(-3, 3, 31, dtype=torch.float64)
    ours, published = ArcTan(2.0).derivative(u), ATan(2 * math.sqrt(2.0) / math.pi).derivative(u)
    torch.testing.assert_close(published, ours * math.sqrt(2.0) / math.pi)


@pytest.mark.parametrize("kind", [SuperSpike, ArcTan, MultiGaussian, Box])
@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_settings_are_positive_numbers(kind, bad):
    with pytest.raises(ValueError, match="positive"):
        kind(bad)


def test_fires_strictly_above_and_differentiates_by_the_surrogate(pair, dtype):
    surrogate, _ = pair
    tiny = torch.finfo(dtype).tiny
    u = torch.tensor([-1.0, -tiny, -0.0, 0.0, tiny, 0.5, 7.0], dtype=dtype, requires_grad=True)
    spikes = surrogate(u)
    assert spikes.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert spikes.dtype == dtype
    assert torch.equal(heaviside(u), spikes.detach())
    upstream = torch.arange(1.0, 8.0, dtype=dtype)
    (grad,) = torch.autograd.grad(spikes, u, upstream)
    torch.testing.assert_close(grad, upstream * surrogate.derivative(u.detach()))


def test_is_a_value(pair):
    surrogate, _ = pair
    assert copy.deepcopy(surrogate) == surrogate
    assert pickle.loads(pickle.dumps(surrogate)) == surrogate
    assert hash(copy.deepcopy(surrogate)) == hash(surrogate)
    with pytest.raises(AttributeError):
        surrogate.alpha = 1.0
    assert type(surrogate).__name__ in repr(surrogate)


def test_the_base_says_what_it_needs():
    with pytest.raises(TypeError, match="derivative"):
        Surrogate()


def test_a_step_is_mapped():
    u = torch.randn(4, 7, 5)
    assert torch.equal(torch.vmap(lambda v: heaviside(v, 0.1))(u), heaviside(u, 0.1))
    assert torch.equal(torch.vmap(lambda v: ATan()(v, 0.1))(u), heaviside(u, 0.1))


@pytest.mark.parametrize("rule", [SurrogateBPTT, RateBackprop, CheckpointedBPTT, OTTT])
@pytest.mark.parametrize("bad", ["sigmoid", Sigmoid])
def test_rules_take_values(rule, bad):
    with pytest.raises(ValueError, match=r"surrogate must be a value such as Sigmoid\(4\.0\)"):
        rule(bad)
