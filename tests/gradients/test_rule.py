"""The contract every gradient rule passes. A new rule is one entry in ``RULES``, and its exact limit in ``_limit``.

The oracle is a dense loop over layers and time, written from the formulas of docs and papers, in float64.
"""

import copy
import pickle
from functools import partial

import dense
import pytest
import torch
from torch import nn

from msg.gradients import (
    OTTT,
    Activity,
    CheckpointedBPTT,
    DvM,
    EquilibriumPropagation,
    FeedForwardRule,
    GradientRule,
    RateBackprop,
    RecurrentRule,
    SettlingBPTT,
    SettlingRule,
    SparseAttentiveBacktracking,
    SurrogateBPTT,
    simulation,
)
from msg.neurons import IF, LIF, ATan, ParametricLIF, Sigmoid, Triangle
from msg.nn import MSG, ConvergentGNN, RiemannianConvergentGNN, SpikingGNN
from msg.testing import assert_demand

pytestmark = pytest.mark.covering

RULES = [
    DvM(),
    SurrogateBPTT(),
    SurrogateBPTT(Sigmoid(3.0)),
    SurrogateBPTT(Triangle(0.5), detach_reset=False),
    CheckpointedBPTT(states=2),
    CheckpointedBPTT(Sigmoid(3.0), False, states=3, store="internal"),
    CheckpointedBPTT(nbytes=3000),
    RateBackprop(),
    RateBackprop(Triangle(0.5), detach_reset=False),
    OTTT(),
    OTTT(Sigmoid(3.0)),
]
# of networks that settle; their gradients are the matter of test_equilibrium_propagation.py
SETTLING = [EquilibriumPropagation(0.1, 3, symmetric=True), SettlingBPTT()]
# their limit is in tests of their own: they have no forward in common with the others
RECURRENT = [SparseAttentiveBacktracking(), SparseAttentiveBacktracking(k_top=0, k_trunc=None, k_att=3)]
NEURONS = [IF(threshold=0.6), IF(threshold=0.6, reset="zero"), LIF(threshold=0.4), LIF(threshold=0.4, reset="zero")]
NODES, FEATURES, WIDTH = 9, 5, 4


def _serves(rule, neuron):
    return not isinstance(rule, OTTT) or neuron.reset == "subtract"


def _name(value):
    return repr(value) if isinstance(value, GradientRule) else f"{type(value).__name__}-{value.reset}"


def pytest_generate_tests(metafunc):
    """Every rule, and every neuron it serves."""
    if {"rule", "neuron"} <= set(metafunc.fixturenames):
        pairs = [(rule, neuron) for rule in RULES for neuron in NEURONS if _serves(rule, neuron)]
        metafunc.parametrize(("rule", "neuron"), pairs, ids=lambda value: _name(value))
    elif "rule" in metafunc.fixturenames and not any(
        "rule" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("rule", RULES, ids=repr)


def _graph():
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, NODES, (2, 24), generator=generator)


def _features(*lead: int, scale: float = 2.0):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(*lead, NODES, FEATURES, dtype=torch.float64, generator=generator) * scale


def _model(rule, neuron, layers=3, timesteps=4, manifold=f"E{WIDTH}", conv="gcn"):
    torch.manual_seed(5)
    model = MSG(FEATURES, 3, manifold, layers, timesteps, neuron, rule, step_size=1.0, conv=conv).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(-0.2, 0.5)
    return model


# -------------------------------------------------------------------------------- the oracle


class _Fire(torch.autograd.Function):
    """Written again here on purpose: a strict step, its derivative given from outside."""

    @staticmethod
    def forward(ctx, u, slope):
        ctx.save_for_backward(u)
        ctx.slope = slope
        return (u > 0).double()

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.slope(ctx.saved_tensors[0]), None


def _oracle(model, x, slope, detach_reset=True, detach_spikes=False):
    """Drives and rates of ``model`` by the slow loop; ``x`` is ``[T, N, F]`` or ``[N, F]``."""
    a = dense.gcn(_graph(), NODES)
    convs = [layer.synapse.conv for layer in model.stack.layers]
    neuron = model.stack.layers[0].neuron
    decay = 1 - 1 / neuron.tau if isinstance(neuron, LIF) else 1.0
    theta, steps = neuron.threshold, model.timesteps
    states = [torch.zeros(NODES, WIDTH, dtype=torch.float64) for _ in convs]
    currents, rates = [0.0 for _ in convs], [0.0 for _ in convs]
    for t in range(steps):
        signal = x[t] if x.dim() == 3 else x
        for i, conv in enumerate(convs):
            current = a @ signal @ conv.lin.weight.t() + conv.bias
            currents[i] = currents[i] + current / steps
            u = decay * states[i] + current
            spikes = _Fire.apply(u - theta, slope)
            gone = spikes.detach() if detach_reset else spikes
            states[i] = u - theta * gone if neuron.reset == "subtract" else u * (1 - gone)
            rates[i] = rates[i] + spikes.detach() / steps
            signal = spikes.detach() if detach_spikes else spikes
            if detach_spikes:
                states[i] = states[i].detach()
    return currents, rates[:-1]


def _loss(currents):
    generator = torch.Generator().manual_seed(6)
    return sum(
        (d * torch.randn(d.shape, dtype=d.dtype, generator=generator)).sum() + (d**2).sum() / 2 for d in currents
    )


def _weights(model):
    return [p for layer in model.stack.layers for p in layer.synapse.parameters()]


# -------------------------------------------------------------------------------- one forward for all


@pytest.mark.parametrize(("timesteps", "layers"), [(1, 4), (4, 2), (4, 3), (15, 4)])
def test_every_rule_computes_what_the_slow_loop_computes(rule, neuron, layers, timesteps):
    model = _model(rule, neuron, layers, timesteps)
    x = _features()
    activity = model.activity(x, _graph())
    assert isinstance(activity, Activity)
    currents, rates = _oracle(model, x, lambda u: u)
    assert len(activity.currents) == layers
    assert len(activity.rates) == layers - 1
    for got, want in zip(activity.rates, rates):
        assert torch.equal((got.detach() * timesteps).round(), (want * timesteps).round())
        torch.testing.assert_close(got.detach(), want, rtol=1e-14, atol=1e-15)
    assert 0.02 < rates[0].mean() < 0.98
    for got, want in zip(activity.currents, currents):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    reference = _model(SurrogateBPTT(), neuron, layers, timesteps)
    torch.testing.assert_close(model(x, _graph()), reference(x, _graph()), rtol=1e-10, atol=1e-10)
    for got, want in zip(activity.rates, reference.activity(x, _graph()).rates):
        assert torch.equal(got, want)


@pytest.mark.parametrize("elements", [1, 2 * NODES * WIDTH, 5 * NODES * WIDTH])
def test_chunks_change_nothing(rule, neuron, elements, monkeypatch):
    model, x = _model(rule, neuron, 4, 15), _features()
    whole = model.activity(x, _graph())
    grads = torch.autograd.grad(_loss(whole.currents), _weights(model))
    monkeypatch.setattr(simulation, "_CHUNK_ELEMENTS", elements)
    sizes = [chunk.stop - chunk.start for chunk in simulation._chunks(15, NODES * WIDTH, elements)]
    assert len(sizes) > 1
    assert sum(sizes) == 15
    parts = model.activity(x, _graph())
    for a, b in zip(whole.rates, parts.rates):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=0)
    for a, b in zip(grads, torch.autograd.grad(_loss(parts.currents), _weights(model))):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layers", [2, 4])
def test_a_repeated_train_is_a_constant_current(rule, neuron, layers):
    model, x = _model(rule, neuron, layers, 6), _features()
    constant = model.activity(x, _graph())
    train = model.activity(x.expand(6, -1, -1), _graph())
    for a, b in zip(constant.rates, train.rates):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-15)
    grads = [torch.autograd.grad(_loss(activity.currents), _weights(model)) for activity in (constant, train)]
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_train_that_varies_equals_the_slow_loop(rule, neuron):
    model, x = _model(rule, neuron, 3, 5), _features(5)
    activity = model.activity(x, _graph())
    currents, rates = _oracle(model, x, lambda u: u)
    for got, want in zip([*activity.currents, *activity.rates], [*currents, *rates]):
        torch.testing.assert_close(got.detach(), want.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_train_of_another_length_is_refused(rule, steps):
    with pytest.raises(ValueError, match=rf"{steps} time steps.*timesteps=4"):
        _model(rule, IF())(_features(steps), _graph())


# -------------------------------------------------------------------------------- the gradient


def _slope(rule):
    slopes = {
        ATan: lambda u: 1 / (1 + (torch.pi * u) ** 2),
        Sigmoid: lambda u: 3 * torch.sigmoid(3 * u) * torch.sigmoid(-3 * u),
        Triangle: lambda u: 0.5 * (1 - u.abs()).clamp(min=0),
    }
    return slopes[type(rule.surrogate)]


def _by_autograd(rule, model, x):
    """Loss whose gradient by autograd through the slow loop is the rule's."""
    if isinstance(rule, DvM):
        return _loss(_oracle(model, x, lambda u: torch.zeros_like(u), detach_spikes=True)[0])
    return _loss(_oracle(model, x, _slope(rule), getattr(rule, "detach_reset", True))[0])


def _forward(model, x):
    """Of every layer and step: input spikes (features) and membrane potential before the reset."""
    a, neuron = dense.gcn(_graph(), NODES), model.stack.layers[0].neuron
    decay = 1 - 1 / neuron.tau if isinstance(neuron, LIF) else 1.0
    convs = [layer.synapse.conv for layer in model.stack.layers]
    states = [torch.zeros(NODES, WIDTH, dtype=torch.float64) for _ in convs]
    inputs, potentials = [[] for _ in convs], [[] for _ in convs]
    for t in range(model.timesteps):
        signal = (x[t] if x.dim() == 3 else x).detach()
        for i, conv in enumerate(convs):
            inputs[i].append(signal)
            u = decay * states[i] + (a @ signal @ conv.lin.weight.t() + conv.bias).detach()
            signal = (u > neuron.threshold).double()
            states[i] = u - neuron.threshold * signal if neuron.reset == "subtract" else u * (1 - signal)
            potentials[i].append(u)
    return a, neuron, decay, convs, inputs, potentials


def _by_rates(rule, model, x):
    """Loss of the network of mean activities, from the recursions of shared rates and slopes."""
    a, neuron, decay, convs, _, potentials = _forward(model, x)
    theta, slope, mean = neuron.threshold, _slope(rule), x.mean(0) if x.dim() == 3 else x
    currents = []
    for i, conv in enumerate(convs):
        currents.append(a @ mean @ conv.lin.weight.t() + conv.bias)
        rho, g, rate, last = 0.0, 0.0, 0.0, None
        for u in potentials[i]:
            if last is None:
                kappa = 0.0
            else:
                s, d = (last > theta).double(), slope(last - theta)
                if neuron.reset == "subtract":
                    kappa = decay * (1.0 if rule.detach_reset else 1 - theta * d)
                else:
                    kappa = decay * ((1 - s) - (0.0 if rule.detach_reset else last * d))
            rho = 1 + rho * kappa
            g = g + slope(u - theta) * rho / model.timesteps
            rate = rate + (u > theta).double() / model.timesteps
            last = u
        mean = rate + g * (currents[i] - currents[i].detach())
    return _loss(currents)


def _by_traces(rule, model, x):
    """Gradients of weights and features, from the traces and instantaneous errors of online training."""
    a, neuron, decay, convs, inputs, potentials = _forward(model, x)
    steps, top, slope = model.timesteps, len(convs) - 1, _slope(rule)
    currents = [
        sum(a @ s @ c.lin.weight.t() + c.bias for s in of).detach().requires_grad_() for c, of in zip(convs, inputs)
    ]
    errors = torch.autograd.grad(_loss([drive / steps for drive in currents]), currents)  # 1/T is in them
    weights, biases = [0.0] * (top + 1), [errors[i].sum(0) * steps for i in range(top + 1)]
    features = torch.zeros(steps, NODES, FEATURES, dtype=torch.float64)
    trace, ones = [0.0] * (top + 1), 0.0
    for t in range(steps):
        ones = decay * ones + 1
        from_above = torch.zeros(NODES, WIDTH, dtype=torch.float64)
        for i in reversed(range(top + 1)):
            weight = convs[i].lin.weight.detach()
            trace[i] = decay * trace[i] + a @ inputs[i][t]
            delta = torch.zeros_like(from_above)
            if i < top:
                delta = slope(potentials[i][t] - neuron.threshold) * from_above
            weights[i] = weights[i] + delta.t() @ trace[i] + errors[i].t() @ (a @ inputs[i][t])
            biases[i] = biases[i] + ones * delta.sum(0)
            from_above = a.t() @ (errors[i] + delta) @ weight
            if i == 0:
                features[t] += a.t() @ errors[0] @ weight
                for k in range(t + 1):
                    features[k] += decay ** (t - k) * (a.t() @ delta @ weight)
    found = [part for pair in zip(biases, weights) for part in pair]
    return [*found, features if x.dim() == 3 else features.sum(0)]


def _wanted(rule, model, x):
    """Gradients of all synapses' parameters, and of the features, by the slow loop that belongs to the rule."""
    if isinstance(rule, OTTT):
        return _by_traces(rule, model, x)
    loss = (_by_rates if isinstance(rule, RateBackprop) else _by_autograd)(rule, model, x)
    return torch.autograd.grad(loss, [*_weights(model), x])


def _assert_gradients(model, x, want):
    got = torch.autograd.grad(_loss(model.activity(x, _graph()).currents), [*_weights(model), x])
    assert max(g.abs().max() for g in want) > 1e-3
    names = [*[name for layer in model.stack.layers for name, _ in layer.synapse.named_parameters()], "x"]
    for name, one, two in zip(names, got, want, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(("timesteps", "layers"), [(1, 4), (4, 2), (4, 3), (15, 4)])
def test_gradient_is_that_of_the_slow_loop(rule, neuron, layers, timesteps):
    model, x = _model(rule, neuron, layers, timesteps), _features().requires_grad_()
    _assert_gradients(model, x, _wanted(rule, model, x))


@pytest.mark.parametrize("layers", [2, 4])
def test_gradient_of_a_train_is_that_of_the_slow_loop(rule, neuron, layers):
    model, x = _model(rule, neuron, layers, 5), _features(5).requires_grad_()
    _assert_gradients(model, x, _wanted(rule, model, x))


def _limits(rule):
    """``(timesteps, layers, varying input)`` in which a rule's gradient is backpropagation through time."""
    if isinstance(rule, RateBackprop):
        return [(1, 4, False), (1, 4, True), (12, 2, False)]
    if isinstance(rule, OTTT):
        return [(1, 4, False), (1, 4, True), (12, 2, False), (12, 2, True)]
    return [(1, 4, True), (12, 2, False), (12, 4, True)]


def test_in_its_limit_a_rule_is_backpropagation_through_time(rule, neuron):
    for timesteps, layers, varying in _limits(rule):
        model = _model(rule, neuron, layers, timesteps)
        x = _features(*[timesteps] * varying).requires_grad_()
        # of DvM the limit is that spikes carry no gradient
        _assert_gradients(model, x, torch.autograd.grad(_by_autograd(rule, model, x), [*_weights(model), x]))


@pytest.mark.parametrize("manifold", ["E4", "H2xS2"])
def test_trains_with_the_users_own_backward(rule, manifold):
    model, x = _model(rule, IF(threshold=0.5), manifold=manifold), _features()
    labels = torch.arange(NODES) % 3
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x, _graph()), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert losses[-1] < 0.9 * losses[0]


def test_two_backward_passes_add_up(rule):
    model, x = _model(rule, IF(threshold=0.5)), _features()
    model(x, _graph()).sum().backward()
    once = [p.grad.clone() for p in _weights(model)]
    model(x, _graph()).sum().backward()
    for p, g in zip(_weights(model), once):
        torch.testing.assert_close(p.grad, 2 * g)


def test_no_grad_and_inference_mode_give_the_same_output(rule):
    # in float64: where one of the two runs compiled, sums are rounded in another order
    model, x = _model(rule, IF(threshold=0.5)).double(), _features().double()
    want = model(x, _graph()).detach()
    with torch.no_grad():
        torch.testing.assert_close(model(x, _graph()), want, rtol=1e-10, atol=1e-12)
    with torch.inference_mode():
        torch.testing.assert_close(model(x.clone(), _graph()), want, rtol=1e-10, atol=1e-12)
    # and training goes on after it
    model(x, _graph()).sum().backward()


# -------------------------------------------------------------------------------- a rule's value


@pytest.mark.parametrize("rule", [*RULES, *SETTLING, *RECURRENT], ids=repr)
def test_is_a_frozen_value(rule):
    twin = copy.deepcopy(rule)
    assert twin == rule == pickle.loads(pickle.dumps(rule))
    assert hash(twin) == hash(rule)
    assert len({rule, twin}) == 1
    with pytest.raises(AttributeError):
        rule.anything = 1
    assert type(rule).__name__ in repr(rule)


def test_is_shown_by_the_model_and_not_in_its_state(rule):
    model = _model(rule, IF())
    assert repr(rule) in repr(model)
    other = _model(SurrogateBPTT(), IF())
    assert model.state_dict().keys() == other.state_dict().keys()
    assert not any("gradient" in key for key in model.state_dict())


@pytest.mark.parametrize("rule", SETTLING, ids=repr)
def test_rules_that_settle_refuse_spiking_neurons_and_the_other_way_round(rule):
    message = rf"{type(rule).__name__} trains a network that settles.*ConvergentGNN.*use DvM"
    with pytest.raises(ValueError, match=message):
        MSG(FEATURES, 3, "H4", gradient=rule)
    with pytest.raises(ValueError, match=message):
        SpikingGNN(FEATURES, 3, gradient=rule)
    assert repr(rule) in repr(ConvergentGNN(FEATURES, 3, gradient=rule))
    for other in RULES:
        with pytest.raises(ValueError, match=rf"{type(other).__name__} trains layers of spiking.*use Equil"):
            ConvergentGNN(FEATURES, 3, gradient=other)


@pytest.mark.parametrize(
    ("base", "method"), [(FeedForwardRule, "simulate"), (RecurrentRule, "unroll"), (SettlingRule, "output")]
)
def test_a_base_says_what_it_needs(base, method):
    with pytest.raises(TypeError, match=method):
        base()


def test_a_rule_may_be_given_by_name_or_class():
    assert MSG(FEATURES, 3, "H4", gradient="rate").gradient == RateBackprop()
    assert MSG(FEATURES, 3, "H4", gradient=OTTT).gradient == OTTT()
    for wrong in ("backprop", 3):
        with pytest.raises(ValueError, match="gradient"):
            MSG(FEATURES, 3, "H4", gradient=wrong)


def test_a_rule_set_later_is_checked_too():
    model = SpikingGNN(FEATURES, 3)
    with pytest.raises(ValueError, match=r"DvM.*SpikingGNN.*SurrogateBPTT"):
        model.gradient = DvM()
    assert model.gradient == SurrogateBPTT()


@pytest.mark.parametrize("rule", [r for r in RULES if r.through_spikes], ids=repr)
def test_rules_through_spikes_serve_every_model(rule):
    torch.manual_seed(0)
    model = SpikingGNN(FEATURES, 3, WIDTH, 3, 4, ParametricLIF(threshold=0.4), rule).double()
    model(_features(), _graph()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("rule", [r for r in RULES if not r.through_spikes], ids=repr)
def test_rules_around_spikes_refuse_what_they_cannot_train(rule):
    with pytest.raises(ValueError, match=rf"{type(rule).__name__}.*weight.*ParametricLIF.*SurrogateBPTT"):
        MSG(FEATURES, 3, "H4", neuron=ParametricLIF(), gradient=rule)
    with pytest.raises(ValueError, match=rf"{type(rule).__name__}.*SpikingGNN.*SurrogateBPTT"):
        SpikingGNN(FEATURES, 3, gradient=rule)
    frozen = ParametricLIF()
    frozen.weight.requires_grad_(False)
    MSG(FEATURES, 3, "H4", neuron=frozen, gradient=rule)


@pytest.mark.parametrize("rule", RECURRENT, ids=repr)
def test_rules_of_recurrences_refuse_feed_forward_layers(rule):
    needs = rf"{type(rule).__name__} trains a recurrent cell.*AttentiveRecurrence.*SurrogateBPTT"
    for model in (MSG, SpikingGNN):
        with pytest.raises(ValueError, match=needs):
            model(FEATURES, 3, gradient=rule)


# -------------------------------------------------------------------------------- what a gradient is not


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.twice], ids=repr)
def test_second_derivatives_that_would_be_incomplete_are_refused_by_name(rule):
    model = _model(rule, LIF(threshold=0.4))
    with pytest.raises(RuntimeError, match=rf"{type(rule).__name__} has no second derivatives.*SurrogateBPTT"):
        torch.autograd.grad(model(_features(), _graph()).square().sum(), _weights(model), create_graph=True)


@pytest.mark.parametrize("rule", [DvM(), RateBackprop(), SurrogateBPTT()], ids=repr)
@pytest.mark.parametrize("manifold", ["E4", "H2xS2"])
def test_forward_mode_is_backward_mode(rule, manifold, edge_index):
    model = MSG(FEATURES, 3, manifold, timesteps=4, neuron=LIF(threshold=0.4), gradient=rule).double().eval()
    x = torch.randn(7, FEATURES, dtype=torch.float64)
    forward, backward = (mode(lambda x: model(x, edge_index))(x) for mode in (torch.func.jacfwd, torch.func.jacrev))
    assert backward.abs().max() > 1e-3
    torch.testing.assert_close(forward, backward, rtol=1e-9, atol=1e-12)
    if not rule.twice:
        with pytest.raises(RuntimeError, match=rf"{type(rule).__name__} has no second derivatives.*SurrogateBPTT"):
            torch.func.hessian(lambda x: model(x, edge_index).sum())(x)


@pytest.mark.parametrize("demanded", ["torch.func", "torch.vmap"])
@pytest.mark.parametrize("manifold", ["E4", "H4", "H2xS2"])
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.transformable], ids=repr)
def test_transforms_have_the_gradients_of_backward(rule, manifold, demanded, edge_index):
    x = torch.randn(7, FEATURES, generator=torch.Generator().manual_seed(2))
    make = partial(MSG, FEATURES, 3, manifold, timesteps=4, neuron=LIF(threshold=0.4), gradient=rule)
    assert_demand(demanded, make, x, edge_index)


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.transformable], ids=repr)
def test_what_simulates_again_refuses_to_be_transformed_and_infers_for_many_models_at_once(rule):
    models, seen = [_model(rule, LIF(threshold=0.4)) for _ in range(2)], (_features(), _graph())
    with torch.no_grad():
        for parameter in models[1].parameters():
            parameter.mul_(-1.5)
    state, _ = torch.func.stack_module_state(models)

    def outputs(given):
        return torch.func.functional_call(models[0], given, seen)

    with pytest.raises(ValueError, match=rf"{type(rule).__name__} simulates again.*torch.func.*use SurrogateBPTT"):
        torch.func.grad(lambda given: outputs(given).sum())(dict(models[0].named_parameters()))
    with torch.no_grad():
        found = torch.vmap(outputs)(state)
        want = torch.stack([model(*seen) for model in models])
    assert not torch.allclose(*want)
    torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("surrogate", [ATan(), Sigmoid(3.0)], ids=repr)
def test_second_derivatives_of_bptt_are_those_of_the_slow_loop(surrogate):
    slope = _slope(SurrogateBPTT(surrogate))
    model, x = _model(SurrogateBPTT(surrogate), LIF(threshold=0.4), 3, 4), _features()
    seconds = []
    for currents in (model.activity(x, _graph()).currents, _oracle(model, x, slope)[0]):
        first = torch.autograd.grad(_loss(currents), _weights(model), create_graph=True)
        seconds.append(torch.autograd.grad(sum(g.square().sum() for g in first), _weights(model)))
    assert max(g.abs().max() for g in seconds[1]) > 1e-3
    for a, b in zip(*seconds):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("conv", ["gcn", "gat"])
@pytest.mark.parametrize("kind", [LIF, ParametricLIF])
@pytest.mark.parametrize("rule", [r for r in RULES if r.through_spikes], ids=repr)
def test_parameters_given_for_a_call_are_those_of_its_backward_pass(rule, kind, conv):
    """By then the model has its own again."""
    if isinstance(rule, OTTT) and conv == "gat":
        pytest.skip("OTTT takes linear synapses alone")
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(SpikingGNN(FEATURES, 3, WIDTH, 3, 4, kind(threshold=0.4), rule, conv=conv).double())
    given = {name: p.detach().clone().requires_grad_() for name, p in models[1].named_parameters()}
    torch.func.functional_call(models[0], given, (_features(), _graph())).square().sum().backward()
    models[1](_features(), _graph()).square().sum().backward()
    for name, parameter in models[1].named_parameters():
        torch.testing.assert_close(given[name].grad, parameter.grad, rtol=1e-12, atol=1e-14)
    assert all(parameter.grad is None for parameter in models[0].parameters())


def test_a_parameter_changed_before_a_checkpointed_backward_is_seen():
    model = _model(CheckpointedBPTT(states=2), IF(threshold=0.6))
    out = model(_features(), _graph())
    with torch.no_grad():
        model.stack.layers[1].synapse.conv.bias.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("rule", [*SETTLING], ids=repr)
def test_settling_networks_under_activation_checkpointing(rule):
    from torch.utils.checkpoint import checkpoint

    model, grads = ConvergentGNN(FEATURES, 3, gradient=rule, steps=8).double(), []
    for run in (model, lambda *given: checkpoint(model, *given, use_reentrant=False)):
        x = _features().requires_grad_()
        run(x, _graph()).square().sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("network", [ConvergentGNN, RiemannianConvergentGNN])
@pytest.mark.parametrize("rule", [*SETTLING], ids=repr)
def test_networks_that_settle_refuse_to_be_transformed(rule, network, edge_index):
    model, x = network(FEATURES, 3, gradient=rule), torch.randn(7, FEATURES)
    run = lambda x: model(x, edge_index)  # noqa: E731
    for transformed in (torch.func.jacrev(run), torch.func.jacfwd(run), lambda x: torch.vmap(run)(x[None])):
        with pytest.raises(ValueError, match=r"settles looks at how far.*torch.func.*loss.backward"):
            transformed(x)
