"""What rate-based backpropagation promises beyond the contract in test_rule.py."""

import pytest
import torch
from torch_geometric.nn import GATConv

from msg.gradients import DvM, RateBackprop, SurrogateBPTT
from msg.neurons import ALIF, IF, LIF, ParametricLIF
from msg.nn import MSG, SpikingGNN

NODES = 30


def _data():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(NODES, 6, dtype=torch.float64, generator=generator) * 2
    return x, torch.randint(0, NODES, (2, 90), generator=generator)


def _gradient(rule, timesteps, layers=3, neuron=None, conv="gcn", model=SpikingGNN):
    torch.manual_seed(0)
    width = 5 if model is SpikingGNN else "E5"
    network = model(6, 3, width, layers, timesteps, neuron or LIF(threshold=0.4), rule, conv=conv).double()
    network(*_data()).square().sum().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def _saved(timesteps, neuron):
    """Bytes that autograd keeps for backward."""
    total = 0

    def pack(tensor):
        nonlocal total
        total += tensor.numel() * tensor.element_size() if tensor.layout == torch.strided else 0
        return tensor

    torch.manual_seed(0)
    model = MSG(6, 3, "H5", 3, timesteps, neuron, RateBackprop()).double()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        model(*_data())
    return total


@pytest.mark.parametrize("neuron", [IF(), LIF(), ParametricLIF()], ids=lambda n: type(n).__name__)
def test_keeps_nothing_that_grows_with_time(neuron):
    assert _saved(4, neuron) == _saved(64, neuron)


@pytest.mark.parametrize("timesteps", [8, 32])
def test_is_close_to_backpropagation_through_time_with_leaky_neurons(timesteps):
    got, want = _gradient(RateBackprop(), timesteps), _gradient(SurrogateBPTT(), timesteps)
    assert torch.cosine_similarity(got, want, 0) > 0.999
    assert (got - want).norm() < 0.02 * want.norm()


def test_adds_the_path_through_rates_to_the_gradient_of_dvm():
    """Against finite differences in the surrogate: with none of it left, the gradient is that of DvM."""
    from dataclasses import dataclass

    from msg.neurons import Surrogate

    @dataclass(frozen=True)
    class Flat(Surrogate):
        height: float

        def derivative(self, u):
            return torch.full_like(u, self.height)

    torch.testing.assert_close(_gradient(RateBackprop(Flat(0.0)), 6, model=MSG), _gradient(DvM(), 6, model=MSG))
    two, one = (_gradient(RateBackprop(Flat(h)), 6, layers=2, model=MSG) for h in (0.2, 0.1))
    # with one hidden layer the gradient is linear in the height of a constant derivative
    torch.testing.assert_close(two - one, one - _gradient(DvM(), 6, layers=2, model=MSG))


def test_learns_a_time_constant_exactly_where_the_current_is_constant():
    rules = RateBackprop(), SurrogateBPTT()
    a, b = (_gradient(rule, 12, layers=1, neuron=ParametricLIF(threshold=0.4)) for rule in rules)
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_synapse_that_is_not_linear_keeps_its_value_and_is_differentiated_at_the_mean():
    conv = lambda i, o: GATConv(i, o)  # noqa: E731
    torch.manual_seed(0)
    outputs = []
    for rule in (SurrogateBPTT(), RateBackprop()):
        torch.manual_seed(0)
        outputs.append(SpikingGNN(6, 3, 5, 2, 8, LIF(threshold=0.4), rule, conv=conv).double()(*_data()))
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-14)
    got, want = _gradient(RateBackprop(), 8, conv=conv), _gradient(SurrogateBPTT(), 8, conv=conv)
    assert torch.cosine_similarity(got, want, 0) > 0.98
    a, b = (_gradient(rule, 1, conv=conv) for rule in (RateBackprop(), SurrogateBPTT()))
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("detach_reset", [True, False])
def test_states_of_several_tensors(detach_reset):
    """A neuron with a state of its own: exact under a constant current, whatever it remembers."""
    neuron = ALIF(tau=2.0, tau_adaptation=5.0, threshold=0.2, refractory=1)
    rules = RateBackprop(detach_reset=detach_reset), SurrogateBPTT(detach_reset=detach_reset)
    a, b = (_gradient(rule, 10, layers=1, neuron=neuron) for rule in rules)
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("chosen", ["auto", "torch"])
@pytest.mark.parametrize("conv", ["gcn", "linear"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_simulated_does_not_depend_on_the_rule_where_a_current_is_no_number(value, conv, chosen, monkeypatch):
    monkeypatch.setenv("MSG_KERNELS", chosen)
    x, edge_index = torch.rand(4, 5, dtype=torch.float64), torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
    x[0, 0] = value
    outputs = []
    for rule in (RateBackprop(), SurrogateBPTT()):
        torch.manual_seed(0)
        outputs.append(SpikingGNN(5, 3, 4, 2, 4, LIF(2.0, 0.4), rule, conv=conv).double()(x, edge_index))
    torch.testing.assert_close(*outputs, equal_nan=True)


@pytest.mark.parametrize("layers", [1, 2])
def test_second_derivatives_of_a_linear_loss_are_refused_too(layers):
    """It hands no derivative down: what lies below it must not pass for the whole."""
    x, edge_index = _data()
    model = SpikingGNN(6, 3, 5, layers, 5, LIF(2.0, 0.4), RateBackprop()).double()
    one = lambda x: model(x, edge_index)[0, 0]  # noqa: E731
    torch.testing.assert_close(torch.func.grad(one)(x), torch.autograd.functional.jacobian(one, x))
    twice = (torch.func.hessian(one), torch.func.jacrev(torch.func.jacrev(one)))
    for second in (*twice, lambda x: torch.autograd.functional.hessian(one, x)):
        with pytest.raises(RuntimeError, match="RateBackprop has no second derivatives"):
            second(x)


def test_forward_mode_does_not_leave_out_what_a_neuron_learns():
    x, edge_index = _data()
    model = SpikingGNN(6, 3, 5, 2, 5, ParametricLIF(), RateBackprop()).double()
    given = {name: p.detach() for name, p in model.named_parameters()}
    directions = {name: torch.ones_like(p) for name, p in given.items()}
    run = lambda given: torch.func.functional_call(model, given, (x, edge_index)).sum()  # noqa: E731
    with pytest.raises(RuntimeError, match="Nested forward mode"):
        torch.func.jvp(run, (given,), (directions,))
