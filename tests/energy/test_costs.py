from collections import Counter
from dataclasses import FrozenInstanceError

import pytest

from msg.energy import (
    HOROWITZ_45NM_FP16,
    HOROWITZ_45NM_FP32,
    HOROWITZ_45NM_INT8,
    LOIHI,
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
        kind: pytest.approx(46e-9 if kind == "multiply_accumulate" else 0) for kind in OPERATIONS[:4] + OPERATIONS[5:]
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
    assert HOROWITZ_45NM_FP32.unpriced(ops) == {"transcendental": 3}
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
    with pytest.raises(ValueError, match="unknown convention 'sparse': use 'nonzero' or 'dense'"):
        count.under("sparse")


def test_as_published():
    ann = operations(multiply_accumulate=100, message=20, accumulate=50)
    assert MSG_AS_PUBLISHED.inference_mj(ann) == {"published formula": pytest.approx(4.6 * 120e-9)}
    assert MSG_AS_PUBLISHED.unpriced(ann) == {"accumulate": 50}
    snn = operations(multiply_accumulate=100, state_update=7)
    for name, spikes in (("a", 10), ("b", 3)):
        snn.firing[name] = Firing(spikes, 5, 4, 1, 1, (), Count())
    assert MSG_AS_PUBLISHED.inference_mj(snn) == {"published formula": pytest.approx((46 + 11.1) * 1e-9)}
    assert MSG_AS_PUBLISHED.unpriced(snn) == {"multiply_accumulate": 100, "state_update": 7}
