import json

import pytest
import torch
from matplotlib.figure import Figure
from torch_geometric.nn import GCN

from msg.energy import (
    HOROWITZ_45NM_FP32,
    LOIHI,
    MSG_AS_PUBLISHED,
    OPERATIONS,
    Candidate,
    compare,
    cost_tables,
    count,
    parts_mj,
    report,
)
from msg.nn import MSG

EDGES = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])


def counted(model):
    model.eval()
    with torch.no_grad(), count(model) as ops:
        model(torch.eye(5, 3), EDGES)
    return ops


@pytest.fixture
def spiking():
    return counted(MSG(3, 2, "H2", timesteps=4))


@pytest.fixture
def ordinary():
    return counted(GCN(3, 2, 2))


def test_energy_is_counts_times_prices(ordinary):
    found = report(ordinary).as_dict()
    prices = HOROWITZ_45NM_FP32.picojoules
    expected = 1e-9 * sum(prices[kind] * found["counts"][kind] for kind in OPERATIONS if kind in prices)
    assert found["energy_mj"] == pytest.approx(expected, rel=1e-12)
    assert found["energy_mj"] == pytest.approx(sum(part["energy_mj"] for part in found["modules"].values()))
    memory = sum(part["memory_mj"] for part in found["modules"].values())
    assert found["energy_with_memory_mj"] == pytest.approx(found["energy_mj"] + memory)
    assert found["dense_energy_mj"] > found["energy_mj"]


def test_json(spiking):
    found = json.loads(json.dumps(report(spiking).as_dict(), allow_nan=False))
    assert found["firing"]["stack.layers.0.neuron"]["timesteps"] == 4
    assert [even["memory"] for even in found["break_even"]] == [False, True]
    assert found["unpriced"] == {}
    assert report(spiking, LOIHI).as_dict()["unpriced"]["transcendental"] == found["counts"]["transcendental"]
    assert found["low_energy_mj"] < found["energy_mj"]
    assert found["not_counted"]
    assert report(spiking, LOIHI).as_dict()["energy_with_memory_mj"] is None


def test_text_shows_its_work(spiking):
    text = str(report(spiking))
    for expected in (
        "Energy of one inference, 45 nm, FP32", "stack.layers.0.synapse", "path", "the same, dense inputs",
        "spikes per synapse", "against 3-bit activations", "with memory", "Horowitz 2014",
        "not priced by this table: nothing", "with the lower price of transcendental",
        "the same, events", "not known, so in no count: nothing", "not counted for any model",
    ):  # fmt: skip
        assert expected in text
    assert "2 inferences" in str(report(type(spiking)(spiking.modules, forwards=2)))


def test_what_is_not_known_is_in_the_text(ordinary):
    ordinary.unknown["aten::strange"] += 3
    assert "aten::strange (3×)" in str(report(ordinary))
    assert "aten::strange" in str(compare([Candidate("GCN", [ordinary])]))


def test_markdown_is_a_table(spiking):
    lines = report(spiking).markdown().splitlines()
    assert lines[0].startswith("## ")
    header = next(line for line in lines if line.startswith("| module"))
    rule = lines[lines.index(header) + 1]
    assert header.count("|") == rule.count("|")


def test_what_a_report_shows(ordinary):
    """The identity matrix is ones: the first product is additions."""
    plain, events, dense = (report(ordinary, inputs=kind) for kind in ("nonzero", "events", "dense"))
    assert plain.energy_mj() == pytest.approx(report(ordinary).energy_mj())
    assert events.energy_mj() == pytest.approx(plain.energy_mj() - 1e-9 * 3.7 * 3 * 2)
    assert events.energy_mj("dense") == pytest.approx(dense.energy_mj())
    assert events.as_dict() == plain.as_dict()
    assert events.as_dict()["events_energy_mj"] == pytest.approx(events.energy_mj())
    first = next(line for line in str(events).splitlines() if line.startswith("convs.0"))
    assert first.split()[1:3] == ["0", str(3 * 2 + 9 * 2 + 10)]
    assert "the same, non-zero inputs" in str(events)
    bars = events.figure().axes[0].patches
    assert sum(bar.get_height() for bar in bars) == pytest.approx(events.energy_mj(memory=True))
    with pytest.raises(ValueError, match="unknown convention 'sparse'"):
        report(ordinary, inputs="sparse")


def test_figures(spiking, ordinary):
    for figure in (report(spiking).figure(), compare([Candidate("a", [spiking]), Candidate("b", [ordinary])]).figure()):
        assert isinstance(figure, Figure)
        assert all(axes.patches for axes in figure.axes)
    bars = report(ordinary).figure().axes[0].patches
    total = sum(bar.get_height() for bar in bars)
    assert total == pytest.approx(report(ordinary).energy_mj(memory=True))


def test_comparison(spiking, ordinary):
    models = [Candidate("MSG", [spiking, spiking], [0.5, 0.6]), Candidate("GCN", [ordinary])]
    comparison = compare(models, title="On a graph")
    text = str(comparison)
    assert "55.00 ± 7.07" in text
    assert "On a graph" in text
    assert all(costs.name in text for costs in cost_tables())
    content = json.loads(json.dumps(comparison.as_dict(), allow_nan=False))
    energies = content["models"]["GCN"]["energy_mj"]["45 nm, FP32"]
    assert set(energies) == {
        f"{kind}{memory}" for kind in ("nonzero", "events", "dense") for memory in ("", " with memory")
    }
    assert "events: zeros are skipped" in text.lower()
    assert energies["events"] == pytest.approx(report(ordinary, inputs="events").energy_mj())
    assert energies["nonzero"] == pytest.approx(report(ordinary).energy_mj())
    assert set(content["models"]["MSG"]["energy_mj"][MSG_AS_PUBLISHED.name]) == {"nonzero", "events", "dense"}
    assert comparison.markdown().startswith("## On a graph")


def test_nothing_to_compare(ordinary):
    with pytest.raises(ValueError, match="nothing to compare"):
        compare([])
    with pytest.raises(ValueError, match="nothing to compare"):
        compare([Candidate("GCN", [])])


@pytest.mark.parametrize("inputs", ["nonzero", "events", "dense"])
def test_parts_of_what_a_report_kept_are_its_modules(inputs):
    model = MSG(3, 2, "H2", num_layers=2, timesteps=3).eval()
    with count(model) as ops:
        model(torch.ones(4, 3), torch.tensor([[0, 1], [1, 2]])).sum().backward()
    parts = parts_mj(report(ops).as_dict(), inputs=inputs)
    for name, found in ops.inference.items():
        priced = HOROWITZ_45NM_FP32.module_mj(found, inputs)
        assert {kind: one for kind, one in parts[name or "model"].items() if one} == pytest.approx(
            {kind: one for kind, one in priced.items() if one}
        )
    assert set(parts) == {name or "model" for name in ops.inference}  # a backward pass is no part of it
    with pytest.raises(KeyError):
        parts_mj({})


def test_a_table_of_costs_is_no_name():
    with count(MSG(3, 2)) as ops:
        pass
    with pytest.raises(TypeError, match=r"costs must be a CostTable, such as msg\.energy\..*, not 'horowitz'"):
        report(ops, costs="horowitz")  # pyright: ignore[reportArgumentType]
