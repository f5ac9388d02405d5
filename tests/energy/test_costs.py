from collections import Counter
from dataclasses import FrozenInstanceError, replace

import pytest

from msg.energy import (
    HOROWITZ_45NM_FP16,
    HOROWITZ_45NM_FP32,
    HOROWITZ_45NM_INT8,
    LOIHI,
    MEMORY_MODELS,
    MSG_AS_PUBLISHED,
    OPERATIONS,
    SRAM_45NM,
    CostTable,
    Count,
    Firing,
    Operations,
    cost_tables,
)


def operations(**counts):
    ops = Operations()
    ops.add("layer", Count.of(counts, {"weights": 2048, "activations": 10**6}))
    return ops


def test_published_figures():
    assert HOROWITZ_45NM_FP32.picojoules["multiply_accumulate"] == pytest.approx(4.6)
    assert HOROWITZ_45NM_FP16.picojoules["multiply_accumulate"] == pytest.approx(1.5)
    assert HOROWITZ_45NM_INT8.picojoules["multiply_accumulate"] == pytest.approx(0.23)
    assert LOIHI.picojoules["accumulate"] == 23.6
    assert all(table.source and table.name for table in cost_tables())
    assert [table.bits for table in cost_tables()[:3]] == [32, 16, 8]


def test_memory_by_size():
    at = SRAM_45NM.picojoules
    assert [at(size) for size in (0, 8192, 32768, 2**20)] == [10, 10, 20, 100]
    assert at((8192 + 32768) / 2) == 15
    assert at(2**20 + 1) == 1300


def test_energy_with_and_without_memory():
    ops = operations(multiply_accumulate=10, weights=64, activations=8)
    assert HOROWITZ_45NM_FP32.inference_mj(ops) == {
        kind: pytest.approx(46e-9 if kind == "multiply_accumulate" else 0) for kind in OPERATIONS
    }
    both = HOROWITZ_45NM_FP32.inference_mj(ops, memory=True)
    assert both["weights"] == pytest.approx(64 / 2 * 10e-9)  # 2048 words are 8 KB
    assert both["activations"] == pytest.approx(8 / 2 * 1300e-9)  # 4 MB
    eight = HOROWITZ_45NM_INT8.inference_mj(ops, memory=True)
    assert eight["activations"] == pytest.approx(8 / 8 * SRAM_45NM.picojoules(10**6) * 1e-9)
    indices = operations(indices=2)
    assert HOROWITZ_45NM_INT8.inference_mj(indices, memory=True)["indices"] == pytest.approx(10e-9)  # 32 bits each


def test_what_has_no_price_is_named():
    ops = operations(transcendental=3, accumulate=2)
    assert HOROWITZ_45NM_FP32.unpriced(ops) == {}
    assert LOIHI.unpriced(ops) == {"transcendental": 3}
    free = CostTable("none", "nowhere")
    assert free.inference_mj(ops) == {}
    assert free.memory_mj(ops.modules["layer"]) == {}
    assert free.unpriced(ops) == {"transcendental": 3, "accumulate": 2}


def test_a_table_of_ones_own():
    mine = CostTable("mine", "a data sheet", {"accumulate": 2.0})
    assert mine.inference_mj(operations(accumulate=5)) == {"accumulate": pytest.approx(10e-9)}
    with pytest.raises(FrozenInstanceError):
        mine.name = "other"


def test_conventions():
    count = Count(Counter(accumulate=1), Counter(accumulate=5))
    assert HOROWITZ_45NM_FP32.arithmetic_mj(count, "dense")["accumulate"] == pytest.approx(4.5e-9)
    assert count.events == count.nonzero  # of a rule that says nothing of ones
    with pytest.raises(ValueError, match="unknown convention 'sparse': use 'nonzero', 'events' or 'dense'"):
        count.under("sparse")


def test_functions_have_a_band_of_prices():
    ops = operations(transcendental=2, multiply=1)
    assert sum(HOROWITZ_45NM_FP32.inference_mj(ops).values()) == pytest.approx((2 * 37 + 3.7) * 1e-9)
    low = HOROWITZ_45NM_FP32.at_low()
    assert sum(low.inference_mj(ops).values()) == pytest.approx(3 * 3.7e-9)
    assert low.at_low() is low
    assert LOIHI.at_low() is LOIHI


def test_a_narrow_multiplier_costs_its_bits():
    ops = operations(multiplier_bit=16, accumulate=4)
    assert sum(HOROWITZ_45NM_INT8.inference_mj(ops).values()) == pytest.approx((16 * 0.2 / 8 + 4 * 0.03) * 1e-9)
    assert LOIHI.unpriced(ops) == {"multiplier_bit": 16}


def test_each_table_takes_the_way_that_is_cheapest_for_it():
    ways = {
        "shared": Count.of({"accumulate": 30, "multiply": 1}),
        "delivered": Count.of({"accumulate": 40, "accumulators": 80}),
        "rates": Count.of({"multiply_accumulate": 10}),
    }
    count = Count.cheapest(ways)
    assert count.nonzero == {"multiply_accumulate": 10}  # 20 operations
    ops = Operations()
    ops.add("synapse", count + Count.of({"comparison": 2}))
    assert HOROWITZ_45NM_FP32.total(ops) == {"accumulate": 30, "multiply": 1, "comparison": 2}
    dear = CostTable("dear scalings", "none", {"accumulate": 1.0, "multiply": 100.0, "multiply_accumulate": 4.5})
    assert dear.total(ops) == {"accumulate": 40, "accumulators": 80, "comparison": 2}
    # on Loihi a message is a spike, and a product without a price is not free anywhere
    assert LOIHI.total(ops) == {"accumulate": 40, "accumulators": 80, "comparison": 2}
    assert CostTable("adds", "none", {"accumulate": 1.0}).total(ops)["accumulate"] == 40
    neither = CostTable("other", "none", {"multiply_accumulate": 1.0}, ways=("packets",))
    assert neither.total(ops) == {"multiply_accumulate": 10, "comparison": 2}
    # where sums are in memory, delivering pays for each of its additions
    assert HOROWITZ_45NM_FP32.chosen(count, memory=True) == ways["shared"]
    twice = Operations()
    for _ in range(2):
        twice.add("synapse", count)
    assert HOROWITZ_45NM_FP32.total(twice) == {"accumulate": 60, "multiply": 2}


def test_models_of_memory():
    count = Count.of({"accumulators": 8, "activations": 4, "indices": 3}, {"accumulators": 2048})
    registers, core, addresses = (
        replace(HOROWITZ_45NM_FP32, memory=MEMORY_MODELS[name]).memory_mj(count)
        for name in ("registers", "event-driven core", "Lemaire et al.")
    )
    assert "accumulators" not in registers
    assert core["accumulators"] == pytest.approx(8 / 2 * 10e-9)
    assert addresses["accumulators"] == pytest.approx((8 / 2 * 10 + 4 * 0.1) * 1e-9)  # one address for two words
    assert addresses["activations"] == pytest.approx((4 / 2 * 10 + 4 * 0.1) * 1e-9)
    assert addresses["indices"] == pytest.approx((3 / 2 * 10 + 3 * 3.2) * 1e-9)
    assert core["activations"] == registers["activations"] == pytest.approx(4 / 2 * 10e-9)
    assert all(model.source and model.name for model in MEMORY_MODELS.values())
    assert len({model.name for model in MEMORY_MODELS.values()}) == len(MEMORY_MODELS)


def test_as_published():
    ann = operations(multiply_accumulate=100, message=20, accumulate=50)
    assert MSG_AS_PUBLISHED.inference_mj(ann) == {"published formula": pytest.approx(4.6 * 120e-9)}
    assert MSG_AS_PUBLISHED.unpriced(ann) == {"accumulate": 50}
    twin = operations(multiply_accumulate=130, synaptic_mac=100, message=20, multiplier_bit=8)
    assert MSG_AS_PUBLISHED.inference_mj(twin) == MSG_AS_PUBLISHED.inference_mj(ann)
    assert MSG_AS_PUBLISHED.unpriced(twin) == {}
    snn = operations(multiply_accumulate=100, state_update=7)
    for name, spikes in (("a", 10), ("b", 3)):
        snn.firing[name] = Firing(spikes, 5, 4, 1, 1, (), Count())
    assert MSG_AS_PUBLISHED.inference_mj(snn) == {"published formula": pytest.approx((46 + 11.1) * 1e-9)}
    assert MSG_AS_PUBLISHED.unpriced(snn) == {"multiply_accumulate": 100, "state_update": 7}
