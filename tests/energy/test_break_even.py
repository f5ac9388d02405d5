import pytest
import torch
from torch_geometric.nn import GCN

from msg.energy import (
    HOROWITZ_45NM_FP32,
    HOROWITZ_45NM_INT8,
    LOIHI,
    CostTable,
    Count,
    Firing,
    Operations,
    break_even,
    break_even_map,
    count,
)
from msg.neurons import IF
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


def half_firing(timesteps, readout, conv="gcn"):
    """Every neuron of two layers fires in every other step, on a ring whose nodes all have the same current."""
    layers = 2 + (readout == "conv")
    model = SpikingGNN(1, 3, 4, layers, timesteps, IF(1.0), conv=conv, readout=readout).double().eval()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    first, second = (layer.synapse.conv for layer in list(model.stack.layers)[:2])
    for conv_, value in ((first, 0.51), (second, 0.26)):
        torch.nn.init.constant_(getattr(conv_, "lin_l", getattr(conv_, "lin", None)).weight, value)
    ring = torch.stack([torch.arange(6), (torch.arange(6) + 1) % 6])
    with count(model) as ops:
        model(torch.ones(6, 1, dtype=torch.float64), ring)
    return ops


@pytest.mark.parametrize("readout", ["linear", "conv"])
@pytest.mark.parametrize("conv", ["gcn", "sage"])
@pytest.mark.parametrize("memory", [False, True])
def test_more_steps_at_the_same_rate_are_a_network_that_runs_for_so_long(readout, conv, memory):
    found = {steps: half_firing(steps, readout, conv) for steps in (2, 8)}
    assert all(firing.rate == 0.5 for ops in found.values() for firing in ops.firing.values())
    for before, after in ((2, 8), (8, 2), (2, 2)):
        for costs in (HOROWITZ_45NM_FP32, HOROWITZ_45NM_INT8):
            said = break_even(found[before], costs, memory, timesteps=after)
            ran = break_even(found[after], costs, memory)
            assert said.as_dict() == pytest.approx(ran.as_dict())


def test_one_step_is_one_bit():
    ran, said = break_even(half_firing(2, "linear"), UNIT, timesteps=1), break_even(network(1, 0, 10, 1), UNIT)
    assert ran.bits == said.bits == 1


def test_a_map_has_a_boundary_for_each_table_and_a_dot_for_each_layer():
    ops = half_firing(4, "conv")
    found = break_even_map(ops, timesteps=(1, 2, 4))
    plain = [name for name in found.boundaries if "memory" not in name]
    assert plain == ["45 nm, FP32", "45 nm, FP16", "45 nm, INT8"]  # the other tables have no price of a product
    for steps, rate in found.boundaries["45 nm, INT8 + memory"]:
        assert rate == break_even(ops, HOROWITZ_45NM_INT8, True, steps).break_even_rate
    assert found.layers == {f"stack.layers.{index}.neuron": (4, 0.5) for index in (0, 1)}
    assert found.as_dict()["boundaries"]["45 nm, FP32"][0] == [1, found.boundaries["45 nm, FP32"][0][1]]
    axes = found.figure().axes[0]
    assert len(axes.lines) == len(found.boundaries) + 2
    assert axes.lines[0].get_xdata().tolist() == [1, 2, 4]


def test_no_map_without_spikes_or_prices():
    assert break_even_map(Operations()) is None
    assert break_even_map(half_firing(4, "conv"), [LOIHI]) is None
    assert break_even_map(network(0, 0, 10)) is None
    products = CostTable("products alone", "nobody", {"multiply": 1.0, "multiply_accumulate": 2.0})
    assert break_even(half_firing(4, "conv"), products).break_even_rate is None
    assert break_even_map(half_firing(4, "conv"), [products]) is None
