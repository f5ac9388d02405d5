import copy
import math
import pickle

import pytest
import torch

from msg.neurons import ATan, Sigmoid, Surrogate, Triangle, heaviside

# the surrogate and the smooth step whose derivative it claims to be; a new surrogate is one entry
PRIMITIVES = {
    "Sigmoid": (Sigmoid(), lambda u: torch.sigmoid(4 * u)),
    "Sigmoid(1.5)": (Sigmoid(1.5), lambda u: torch.sigmoid(1.5 * u)),
    "ATan": (ATan(), lambda u: (math.pi * u).atan() / math.pi),
    "ATan(3)": (ATan(3.0), lambda u: (math.pi / 2 * 3 * u).atan() / math.pi),
    "Triangle": (Triangle(), lambda u: torch.where(u.abs() < 1, u - u * u.abs() / 2, u.sign() / 2)),
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
