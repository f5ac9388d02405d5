"""What online training promises beyond the contract in test_rule.py."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch_geometric.nn import GATConv

from msg.gradients import OTTT, DvM, SurrogateBPTT, simulation
from msg.neurons import IF, LIF
from msg.nn import MSG, SpikingGNN

NODES = 20


def _data(*lead):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(*lead, NODES, 6, dtype=torch.float64, generator=generator) * 2
    return x, torch.randint(0, NODES, (2, 60), generator=generator)


def _model(rule, timesteps, layers=3, neuron=None, conv="gcn", model=SpikingGNN):
    torch.manual_seed(0)
    width = 5 if model is SpikingGNN else "H5"
    return model(6, 3, width, layers, timesteps, neuron or LIF(threshold=0.4), rule, conv=conv).double()


@pytest.mark.parametrize("timesteps", [2, 50])
def test_keeps_nothing_that_grows_with_time(timesteps):
    shapes = []

    def pack(tensor):
        shapes.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        _model(OTTT(), timesteps)(*_data())
    assert sum(shape == (NODES, 5) for shape in shapes) <= 6
    assert all(timesteps not in shape for shape in shapes)


def test_backward_holds_the_graph_of_one_chunk(monkeypatch):
    monkeypatch.setattr(simulation, "_CHUNK_ELEMENTS", 2 * NODES * 5)
    longest = []

    def pack(tensor):
        longest.append(tensor.size(1) if tensor.dim() == 3 else 0)
        return tensor

    loss = _model(OTTT(), 12)(*_data()).square().sum()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss.backward()
    assert max(longest) <= 2


@pytest.mark.parametrize("lead", [(), (6,)])
@pytest.mark.parametrize("model", [SpikingGNN, MSG])
def test_online_ends_with_the_output_of_the_whole(lead, model):
    network, data = _model(OTTT(), 6, model=model), _data(*lead)
    outputs = list(network.online(*data))
    assert len(outputs) == 6
    torch.testing.assert_close(outputs[-1], network(*data), rtol=1e-10, atol=1e-12)
    # and on the way with that of a shorter simulation
    shorter = _model(OTTT(), 4, model=model)
    torch.testing.assert_close(outputs[3], shorter(data[0][:4] if lead else data[0], data[1]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("lead", [(), (5,)])
def test_online_gradients_of_all_steps_add_up_to_the_accumulated_one(lead):
    """For a loss that is linear in the last layer's rates: its steps are then the instantaneous losses."""
    data = _data(*lead)
    mix = torch.randn(NODES, 3, dtype=torch.float64)
    whole = _model(OTTT(), 5)
    (whole(*data) * mix).sum().backward()
    online = _model(OTTT(), 5)
    for t, output in enumerate(online.online(*data), start=1):
        (output * mix).sum().mul(t / 5).backward()  # t/T turns the mean so far into one step's share
    for (name, a), b in zip(whole.named_parameters(), online.parameters()):
        if not name.startswith("stack.layers.3"):  # the read-out sees the mean so far, not one step's share
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_online_updates_train():
    network, data = _model(OTTT(), 5, neuron=IF(threshold=0.5)), _data()
    labels = torch.arange(NODES) % 3
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        for output in network.online(*data):
            loss = cross_entropy(output, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_online_needs_a_rule_that_has_a_gradient_before_the_end():
    for rule in (DvM(), SurrogateBPTT()):
        with pytest.raises(ValueError, match=rf"{type(rule).__name__} has no gradient.*use OTTT"):
            next(_model(rule, 4, model=MSG).online(*_data()))
    with pytest.raises(ValueError, match=r"5 time steps.*timesteps=4"):
        next(_model(OTTT(), 4).online(*_data(5)))


def test_refuses_what_has_no_trace():
    with pytest.raises(ValueError, match=r"OTTT needs IF or LIF.*reset='zero'.*RateBackprop"):
        _model(OTTT(), 4, neuron=IF(reset="zero"))
    with pytest.raises(ValueError, match=r"OTTT needs linear synapses.*GATConv.*RateBackprop"):
        _model(OTTT(), 4, conv=lambda i, o: GATConv(i, o))


def test_the_encoder_may_be_any_convolution():
    kinds = iter([lambda i, o: GATConv(i, o)])

    def conv(i, o):
        from torch_geometric.nn import GCNConv

        return next(kinds, lambda i, o: GCNConv(i, o))(i, o)

    network = _model(OTTT(), 4, conv=conv)
    network(*_data()).square().sum().backward()
    assert network.stack.layers[0].synapse.conv.lin.weight.grad.abs().max() > 0


def test_online_refuses_a_norm_between_a_train_and_its_encoder():
    """The trace is of what comes in, and a norm is not linear; whole simulations are exact."""
    torch.manual_seed(0)
    network = SpikingGNN(6, 3, 5, 2, 5, LIF(threshold=0.4), OTTT(), norm="layer").double()
    with pytest.raises(ValueError, match=r"only where its first layer is linear, and a norm is not"):
        next(network.online(*_data(5)))
    constant = _data()
    *_, last = network.online(*constant)
    torch.testing.assert_close(last, network(*constant))
    assert network(*_data(5)).isfinite().all()
