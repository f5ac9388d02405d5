"""Drawn spikes: a twin draws the same, and their distribution is that of independent draws at each step."""

import math

import numpy as np
import pytest
import torch

from msg.kernels import choice, reference_chances
from msg.kernels.reference_splitmix import random, streams_of
from msg.layers import BernoulliLinear

KEY = np.uint64(0x0123456789ABCDEF)
CHANCES = [-1.0, 0.0, math.nan, 1e-45, 1e-9, 0.003, 0.04, 0.1, 0.11, 0.5, 0.97, 1.0, 7.0, math.inf]


def _slow(chances, steps):
    """Number by number: of an input that fires often each tells of a step, of another how long it waits."""
    rows, inputs = chances.shape
    out = np.zeros((steps, rows, inputs))
    for i in range(rows):
        for k in range(inputs):
            p, t, number = float(chances[i, k]), 0, 0
            while p > 0 and t < steps:
                u = random(streams_of(KEY, np.array([i * inputs + k])), np.array([number])).item()
                if p > 0.1:
                    out[t, i, k] = u < p
                else:
                    # P(wait >= w) = (1 - p)^w is below 1 - u for the first time
                    t += math.floor(min(math.log(1.0 - u) / math.log1p(-p), steps))
                    if t < steps:
                        out[t, i, k] = 1
                t, number = t + 1, number + 1
    return out


@pytest.fixture(params=["numba", "numpy"])
def kernels(request):
    if request.param == "numpy":
        return reference_chances
    pytest.importorskip("numba")
    return choice.compiled("chances") or pytest.skip("MSG_KERNELS=torch")


@pytest.mark.parametrize("steps", [1, 7, 70])
def test_spikes_are_those_of_a_slow_loop(kernels, steps):
    chances = np.array([CHANCES, CHANCES[::-1], [0.2] * len(CHANCES)], np.float32)
    out = np.zeros((steps, *chances.shape))
    for first, last in ((1, 3), (0, 1)):  # who draws, and when, is all one
        kernels.draw(chances, KEY, steps, first, last, out)
    np.testing.assert_array_equal(out, _slow(chances, steps))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_currents_are_products_of_what_is_drawn(kernels, dtype):
    random_numbers = np.random.default_rng(0)
    chances = random_numbers.random((9, 11), np.float32) * (random_numbers.random((9, 11)) < 0.6)
    weight, grad = (random_numbers.standard_normal(shape).astype(dtype) for shape in ((11, 3), (20, 9, 3)))
    # nine of twelve rows, which draw as they do among all
    numbers, every = np.array([10, 0, 1, 4, 3, 11, 6, 7, 8]), np.zeros((12, 11), np.float32)
    every[numbers] = chances
    all_fired = np.zeros((20, 12, 11), dtype)
    kernels.draw(every, KEY, 20, 0, 12, all_fired)
    fired = all_fired[:, numbers]
    out, to_weight = np.full((20, 9, 3), np.nan, dtype), np.zeros((11, 3), dtype)
    kernels.currents(chances, numbers, KEY, 20, weight, 0, 9, out)
    rows = np.array([0, 4, 5, 8])
    for first, last in ((0, 3), (3, 4)):
        kernels.currents_back(chances, numbers, KEY, 20, grad, rows, first, last, to_weight)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(out, fired @ weight, **tolerance)
    want = np.einsum("tnf,tnc->fc", fired[:, rows], grad[:, rows])
    np.testing.assert_allclose(to_weight, want, **tolerance)


@pytest.mark.parametrize("chance", [0.02, 0.09, 0.3, 0.9])
def test_steps_are_independent_and_alike(kernels, chance):
    """Every train of five steps comes as often as its probability says."""
    many, steps = 40_000, 5
    out = np.zeros((steps, many, 1))
    kernels.draw(np.full((many, 1), chance, np.float32), KEY, steps, 0, many, out)
    trains = (out[:, :, 0] * 2.0 ** np.arange(steps)[:, None]).sum(0).astype(int)
    spikes = np.array([n.bit_count() for n in range(2**steps)])
    expected = many * chance**spikes * (1 - chance) ** (steps - spikes)
    # the draws are fixed, so no other seed or machine changes this
    assert (np.abs(np.bincount(trains, minlength=2**steps) - expected) <= 4 * np.sqrt(expected) + 1).all()


def test_threads_draw_what_one_does():
    layer = BernoulliLinear(5, 3, seed=1).eval()
    x, found = torch.rand(900, 5), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(layer(x, 6))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(*found, rtol=0, atol=0)
