import pytest

from msg.energy import HOROWITZ_45NM_FP32, LOIHI, Assumption, Count, Operations
from msg.experiments import RunConfig, Trial
from msg.experiments.equal_accuracy import EqualAccuracy


def trial(model, val, energies, searched=True, **counts):
    """A setting with these additions (or other operations) on each seed but the first, which chose it."""
    runs = []
    for additions in (10**9, *energies) if searched else energies:
        ops = Operations()
        ops.add("layer", Count.of({"accumulate": additions, **counts}))
        runs.append(ops)
    val = [0.0, *[val] * len(energies)] if searched else [val] * len(energies)
    return Trial(model, {"width": energies[0]}, RunConfig(), val, [one - 0.1 for one in val], runs, int(searched))


GCN = [trial("gcn", 0.90, [900, 1100]), trial("gcn", 0.896, [400, 600]), trial("gcn", 0.89, [10, 10])]
SPIKES = [trial("snn", 0.894, [1, 1]), trial("snn", 0.895001, [100, 300]), trial("snn", 0.95, [700, 700])]
LOST = [trial("lost", 0.8, [1, 1])]
PLAIN = Assumption(HOROWITZ_45NM_FP32, "events", None)


def test_the_cheapest_that_is_accurate_enough():
    found = EqualAccuracy({"gcn": GCN, "snn": SPIKES, "lost": LOST})
    assert found.reference == "gcn"
    assert found.target == pytest.approx(0.895)
    assert found.able("gcn") == GCN[:2]
    assert found.able("snn") == SPIKES[1:]
    cheapest = found.cheapest(PLAIN)
    assert (cheapest["gcn"].setting, cheapest["gcn"].ratio) == (GCN[1], 1.0)
    assert cheapest["gcn"].energy_mj == pytest.approx(500 * 0.9e-9)  # of the seeds that did not choose
    assert (cheapest["snn"].setting, cheapest["snn"].ratio) == (SPIKES[1], pytest.approx(0.4))
    assert cheapest["lost"] is None


def test_a_model_may_be_better_than_the_reference_and_dearer():
    found = EqualAccuracy({"gcn": GCN[:1], "snn": SPIKES[2:]}).cheapest(PLAIN)
    assert found["snn"].ratio == pytest.approx(0.7)
    assert EqualAccuracy({"gcn": GCN}, within=0.02).cheapest(PLAIN)["gcn"].setting is GCN[2]


def test_no_ratio_where_something_has_no_price():
    with_product = [trial("snn", 0.9, [5, 5], multiply_accumulate=1)]
    found = EqualAccuracy({"gcn": GCN, "snn": with_product})
    loihi = found.cheapest(Assumption(LOIHI, "events", None))
    assert loihi["gcn"].ratio == 1.0
    assert loihi["snn"].ratio is None
    assert loihi["snn"].energy_mj == pytest.approx(5 * 23.6e-9)
    other = EqualAccuracy({"snn": with_product, "gcn": GCN}).cheapest(Assumption(LOIHI, "events", None))
    assert other["gcn"].ratio is None


def test_each_assumption_takes_its_own_cheapest():
    narrow = trial("snn", 0.9, [100, 100], activations=10**6)
    wide = trial("snn", 0.9, [200, 200])
    found = EqualAccuracy({"gcn": GCN, "snn": [narrow, wide]})
    memory = Assumption(HOROWITZ_45NM_FP32, "events", HOROWITZ_45NM_FP32.memory.name)
    assert found.cheapest(PLAIN)["snn"].setting is narrow
    assert found.cheapest(memory)["snn"].setting is wide


def test_text_markdown_and_plain_data():
    found = EqualAccuracy({"gcn": GCN, "snn": SPIKES, "lost": LOST}, "events")
    text = found.render("text")
    assert text.index("Events:") < text.index("Non-zero inputs:") < text.index("Dense inputs:")
    assert "within 0.5 points of validation of the best gcn" in text
    assert "1.8e-07 (0.40)" in text
    row = next(line for line in text.splitlines() if line.startswith("snn"))
    assert row.split()[:2] == ["snn", "width=100"]
    assert next(line for line in text.splitlines() if line.startswith("lost")).split()[1] == "–"
    assert "| snn width=100 " in found.render("markdown")
    kept = found.as_dict()
    first = kept["cheapest"][0]
    assert (first["costs"], first["inputs"], first["memory"]) == ("45 nm, FP32", "nonzero", False)
    assert first["models"]["lost"] is None
    assert first["models"]["snn"]["setting"] == "snn width=100"
    assert first["models"]["snn"]["ratio"] == pytest.approx(0.4)
    assert first["models"]["snn"]["val"] == pytest.approx(0.895001)
    assert {one["inputs"] for one in kept["cheapest"]} == {"nonzero", "events", "dense"}
    assert not any("as-published" in one["costs"] for one in kept["cheapest"])
