import pytest
import torch
from torch_geometric.nn import GCN

from msg.energy import HOROWITZ_45NM_INT8, CostTable, Count, Firing, Operations, break_even, count
from msg.nn import SpikingGNN


def network(spikes, fixed, quantised, timesteps=15):
    ops = Operations()
    way = Count.of({"accumulate": 10 * spikes}), Count.of({"accumulate": fixed})
    firing = Firing(spikes, 10, timesteps, 100, 10 * spikes, (way, way), Count.of({"multiply_accumulate": quantised}))
    ops.firing["neuron"] = firing
    return ops


UNIT = CostTable("unit", "none", {"multiply": 8.0, "accumulate": 1.0, "multiply_accumulate": 9.0}, bits=8)


@pytest.mark.parametrize(("timesteps", "bits"), [(1, 1), (3, 2), (4, 3), (15, 4), (16, 5)])
def test_bits_that_hold_all_counts(timesteps, bits):
    found = break_even(network(5, 0, 10, timesteps), UNIT)
    assert found.bits == bits
    # a multiplication by fewer bits costs less, the addition does not; one bit needs the addition alone
    assert found.quantised_mj == pytest.approx((bits + 1 if bits > 1 else 1) * 10 * 1e-9)


def test_the_rate_at_which_both_cost_the_same():
    found = break_even(network(30, 100, 200), UNIT)
    assert found.rate == 30 / 150
    assert found.spikes_per_synapse == 3.0
    assert found.spiking_mj == pytest.approx((300 + 100) * 1e-9)
    rate = found.break_even_rate
    assert rate * 150 * 10 + 100 == pytest.approx(200 * 5)


def test_no_break_even():
    assert break_even(network(30, 10**6, 10), UNIT).break_even_rate == 0.0
    silent = break_even(network(0, 0, 10), UNIT)
    assert silent.break_even_rate is None
    assert silent.as_dict()["rate"] == 0.0


def test_a_model_without_spikes_has_none():
    model = GCN(3, 2, 1)
    with count(model) as ops:
        model(torch.ones(4, 3), torch.tensor([[0], [1]]))
    assert break_even(ops) is None


def test_scaling_the_spikes_of_a_model_to_the_break_even():
    """One spiking layer: energy is linear in the spikes, so the line through two rates crosses where it says."""
    torch.manual_seed(1)
    edges = torch.randint(0, 20, (2, 60))
    found = []
    for gain in (1.0, 3.0):
        model = SpikingGNN(6, 3, hidden_channels=8, num_layers=1, timesteps=8).eval()
        torch.nn.init.constant_(model.stack.layers[0].synapse.conv.lin.weight, 0.1 * gain)
        with count(model) as ops:
            model(torch.ones(20, 6), edges)
        found.append(break_even(ops, HOROWITZ_45NM_INT8))
    low, high = found
    slope = (high.spiking_mj - low.spiking_mj) / (high.rate - low.rate)
    crossing = low.rate + (low.quantised_mj - low.spiking_mj) / slope
    assert low.break_even_rate == pytest.approx(max(0.0, crossing), abs=1e-6)
    assert high.break_even_rate == pytest.approx(low.break_even_rate, rel=1e-6)
    assert break_even(ops, memory=True).spiking_mj > high.spiking_mj
