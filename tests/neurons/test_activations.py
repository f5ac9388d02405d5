"""Activations in a neuron's place."""

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.nn import SAGEConv

from msg.gradients import DvM, RateBackprop, SurrogateBPTT
from msg.graph import NeighborSampler
from msg.neurons import IF, ClippedReLU, QuantizedReLU, ReLU
from msg.nn import MSG, SpikingGNN

DTYPES = (torch.float32, torch.float64)
ACTIVATIONS = (ReLU(0.5), ClippedReLU(0.5), QuantizedReLU(2, 0.5))


def ring(dtype=torch.float32):
    torch.manual_seed(0)
    source = torch.arange(7)
    edges = torch.stack([torch.cat([source, (source + 1) % 7]), torch.cat([(source + 1) % 7, source])])
    return torch.rand(7, 5, dtype=dtype), edges


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_those_of_the_formula(dtype):
    current = torch.tensor([-1.0, 0.0, 0.1, 0.26, 0.49, 0.5, 3.0], dtype=dtype)
    levels = [0.0, 0.0, 1 / 3, 2 / 3, 1.0, 1.0, 1.0]  # round(3 clip(2 c))/3
    assert QuantizedReLU(2, 0.5)(current)[0].tolist() == pytest.approx(levels)
    assert ClippedReLU(0.5)(current)[0].tolist() == pytest.approx([0, 0, 0.2, 0.52, 0.98, 1, 1])
    assert ReLU(0.5)(current)[0].tolist() == pytest.approx([0, 0, 0.2, 0.52, 0.98, 1, 6])


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_levels_are_as_many_as_bits_hold(bits):
    values = QuantizedReLU(bits)(torch.linspace(-1, 2, 5000, dtype=torch.float64))[0]
    found = (values * (2**bits - 1)).round().unique()
    assert found.tolist() == list(range(2**bits))
    assert (values * (2**bits - 1) - (values * (2**bits - 1)).round()).abs().max() < 1e-12


def test_the_gradient_is_that_of_the_clipped_line():
    current = torch.tensor([-0.2, 0.1, 0.3, 0.8], dtype=torch.float64, requires_grad=True)
    for neuron in (ClippedReLU(0.5), QuantizedReLU(3, 0.5)):
        (found,) = torch.autograd.grad(neuron(current)[0].sum(), current)
        assert found.tolist() == [0, 2, 2, 0]


def test_many_steps_of_integration_tend_to_the_clipped_line():
    current = torch.randn(50, 4, dtype=torch.float64)
    assert (IF(0.7).rate(current, 4096) - ClippedReLU(0.7).rate(current, 1)).abs().max() < 1 / 2048


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_flat_network_of_them_is_an_ordinary_one(dtype):
    x, edges = ring(dtype)
    model = SpikingGNN(5, 3, 4, 2, 1, ReLU(0.5), conv="sage").to(dtype).eval()
    layers = list(model.stack.layers)
    hidden = x
    for layer in layers[:2]:
        conv = SAGEConv(hidden.size(1), 4).to(dtype)
        conv.load_state_dict(layer.synapse.conv.state_dict())
        hidden = torch.relu(conv(hidden, edges)) / 0.5
    expected = torch.nn.functional.linear(hidden, *layers[2].synapse.conv.parameters())
    assert torch.allclose(model(x, edges), expected, rtol=1e-5)


@pytest.mark.parametrize("neuron", ACTIVATIONS, ids=repr)
def test_rules_train_them(neuron):
    x, edges = ring(torch.float64)
    grads = []
    for rule in (SurrogateBPTT(), RateBackprop(), DvM()):
        torch.manual_seed(0)
        model = MSG(5, 3, "H4", 3, 1, neuron, rule).double()
        learned = [p for p in model.parameters() if p.requires_grad]
        grads.append(torch.autograd.grad(model(x, edges).square().sum(), learned))
    for whole, rate, partial in zip(*grads):
        assert torch.allclose(whole, rate, atol=1e-12)  # one step varies with nothing
        assert partial.isfinite().all()
        assert partial.any()


@pytest.mark.parametrize("neuron", ACTIVATIONS[:2], ids=repr)
def test_gradients_are_those_of_finite_differences(neuron):
    x, edges = ring(torch.float64)
    model = SpikingGNN(5, 3, 4, 2, 1, neuron).double()
    loss = lambda: model(x, edges).square().sum()  # noqa: E731
    loss().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        place, step = (0,) * parameter.dim(), 1e-6
        with torch.no_grad():
            parameter[place] += step
            above = loss()
            parameter[place] -= 2 * step
            below = loss()
            parameter[place] += step
        assert float(parameter.grad[place]) == pytest.approx(float((above - below) / (2 * step)), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("neuron", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("conv", ["gcn", "sage", "gin"])
def test_inference_by_batches_is_the_whole(neuron, conv):
    x, edges = ring()
    model = MSG(5, 3, "S4", 4, 1, neuron, conv=conv).eval()
    data = Data(x=x, edge_index=edges, num_nodes=7)
    loader = NodeLoader(data, NeighborSampler(data, [-1]), batch_size=3)
    with torch.no_grad():
        assert torch.allclose(model.inference(loader), model(x, edges), atol=1e-6)


def test_a_threshold_can_be_fitted():
    x, edges = ring()
    model = MSG(5, 3, "H4", 3, 1, QuantizedReLU(2, "auto"))
    assert model.stack.layers[0].neuron.extra_repr() == "bits=2, threshold='auto'"
    model(x, edges)
    current = model.activity(x, edges).currents[0].detach()
    assert model.stack.layers[0].neuron.threshold == pytest.approx(2 * float(current.square().mean().sqrt()), rel=1e-5)


def test_what_has_no_time_takes_one_step():
    with pytest.raises(
        ValueError, match="timesteps=4 contradicts ReLU, which sends its value at once: use timesteps=1"
    ):
        MSG(5, 3, timesteps=4, neuron=ReLU())


@pytest.mark.parametrize("bits", [0, 17, True, 2.0])
def test_impossible_bits(bits):
    with pytest.raises(ValueError, match="bits must be a whole number from 1 to 16"):
        QuantizedReLU(bits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_half_precision_has_the_levels_and_gradients_of_float32(bits, dtype):
    neuron, x = QuantizedReLU(bits), torch.linspace(-0.5, 1.5, 200).to(dtype).requires_grad_()
    out = neuron(x)[0]
    assert out.dtype == dtype
    assert torch.equal(out, neuron(x.float())[0].to(dtype))
    (grad,) = torch.autograd.grad(out, x, torch.full_like(out, 1e-5))
    inside = (x > 0) & (x < 1)
    assert torch.equal(grad[inside], torch.full_like(grad[inside], 1e-5))
