"""What every neuron of the explicit-state contract promises."""

import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from msg.neurons import ATan, Fire, Neuron, heaviside
from msg.testing.demand import demand


def assert_neuron(neuron: Neuron, current: Tensor) -> None:
    """Assert the contract ``spikes, state = neuron(current, state)`` on a train of currents.

    Spikes are 0 or 1, of the shape and dtype of the current; rest is the state zero; nothing is kept in the module, so
    the same call gives the same; a train run in two parts, its state handed on, is the train run whole; which surrogate
    is used changes no spike; ``rate`` is the mean of the spikes; gradients of the current are finite.

    Args:
        neuron: the neuron.
        current: a train, floating point ``[T, ..., d]``, ``T`` at least 2.

    Raises:
        AssertionError: naming the promise that is broken.
    """
    whole, states = _run(neuron, current, None)
    demand(whole.shape == current.shape and whole.dtype == current.dtype, "spikes have shape and dtype of the current")
    demand(bool(((whole == 0) | (whole == 1)).all()), "spikes are 0 or 1")
    zeros = tree_map_only(Tensor, torch.zeros_like, states[0])
    demand(torch.equal(_run(neuron, current, zeros)[0], whole), "rest is the state zero")
    demand(torch.equal(_run(neuron, current, None)[0], whole), "the module keeps nothing from call to call")
    half = len(current) // 2
    later, _ = _run(neuron, current[half:], states[half - 1])
    demand(torch.equal(later, whole[half:]), "a train in two parts is the train whole")
    demand(torch.equal(_run(neuron, current, None, heaviside)[0], whole), "the surrogate changes no spike")
    demand(torch.equal(_run(copy.deepcopy(neuron), current, None)[0], whole), "a copy fires alike")
    steps = len(current)
    constant = current[:1].expand_as(current)
    rate = _run(neuron, constant, None, heaviside)[0].mean(0)
    demand(torch.allclose(neuron.rate(current[0], steps), rate, atol=1e-6), "rate is the mean of the spikes")
    leaf = current.detach().clone().requires_grad_()
    spikes, _ = _run(neuron, leaf, None)
    (grad,) = torch.autograd.grad(spikes.sum(), leaf)
    demand(bool(grad.isfinite().all()) and bool(grad.any()), "a finite gradient reaches the current")


def _run(neuron: Neuron, current: Tensor, state: Any, fire: Fire = ATan()):  # noqa: B008 - a frozen value
    spikes, states = [], []
    for now in current:
        fired, state = neuron(now, state, fire)
        spikes.append(fired)
        states.append(state)
    return torch.stack(spikes), states
