"""Functions of autograd keep their signatures."""

import inspect

import pytest
import torch

import msg.nn  # noqa: F401 - whose functions are looked at
from msg.kernels.signatures import looked_up


def _kinds(base):
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def test_every_function_with_a_context_of_its_own_is_looked_up_once():
    own = torch.autograd.Function.setup_context
    asked = [
        kind
        for kind in _kinds(torch.autograd.Function)
        if kind.__module__.startswith("msg.") and kind.setup_context is not own
    ]
    assert {kind.__name__ for kind in asked} >= {"_Spike", "_MatMul", "_Analytic"}
    for kind in asked:
        assert inspect.signature(kind.forward) is inspect.signature(kind.forward), kind


def test_what_is_looked_up_is_what_it_was():
    def forward(x, power=2):
        return x**power

    found = inspect.signature(looked_up(forward))
    assert list(found.parameters) == ["x", "power"]
    assert forward(3.0) == 9.0
    with pytest.raises(TypeError):
        found.bind()
