"""What every gradient rule for feed-forward layers promises."""

import copy
import pickle

import torch

from msg.gradients import FeedForwardRule, SurrogateBPTT
from msg.models import MSG
from msg.neurons import LIF
from msg.testing.demand import demand


def assert_rule(rule: FeedForwardRule) -> None:
    """Assert that a rule is a frozen value which decides what is differentiated, never what is simulated.

    It is equal to its copy and its pickle, hashable, and shown by the model; under it a network on a random graph fires
    at the same rates as under :class:`~msg.gradients.SurrogateBPTT`, for a constant input and for one that varies, with
    one convolution above the encoder and with two; a backward pass gives every synapse a finite gradient; without
    gradients, and in inference mode, the output is the same.

    Args:
        rule: the rule.

    Raises:
        AssertionError: naming the promise that is broken.
    """
    demand(copy.deepcopy(rule) == rule == pickle.loads(pickle.dumps(rule)), "a rule equals its copy and its pickle")
    demand(hash(copy.deepcopy(rule)) == hash(rule), "equal rules have one hash")
    draw = torch.Generator().manual_seed(0)
    edges = torch.randint(0, 9, (2, 30), generator=draw)
    for layers in (2, 3):
        for lead in ((), (6,)):
            x = torch.randn(*lead, 9, 5, dtype=torch.float64, generator=draw) * 2
            _same_spikes(rule, layers, x, edges)


def _model(rule: FeedForwardRule, layers: int) -> MSG:
    torch.manual_seed(0)
    return MSG(5, 3, "H4", layers, 6, LIF(threshold=0.4), rule).double()


def _same_spikes(rule: FeedForwardRule, layers: int, x: torch.Tensor, edges: torch.Tensor) -> None:
    model, reference = _model(rule, layers), _model(SurrogateBPTT(), layers)
    demand(repr(rule) in repr(model), "the model shows its rule")
    got, want = model.activity(x, edges), reference.activity(x, edges)
    for one, two in zip(got.rates, want.rates, strict=True):
        demand(torch.allclose(one, two, rtol=1e-12, atol=1e-12), "the rates are those of every rule")
    out = model(x, edges)
    out.square().sum().backward()
    for name, parameter in model.stack.named_parameters():
        if parameter.requires_grad and "synapse" in name:
            found = parameter.grad is not None and bool(parameter.grad.isfinite().all())
            demand(found, f"a finite gradient reaches {name}")
    with torch.no_grad():
        demand(torch.allclose(model(x, edges), out, rtol=1e-12), "the same output without gradient")
    with torch.inference_mode():
        demand(torch.allclose(model(x, edges), out, rtol=1e-12), "the same output in inference mode")
