import json

import pytest

from msg.energy import (
    CONVENTIONS,
    HOROWITZ_45NM_FP32,
    LOIHI,
    MEMORY_MODELS,
    MSG_AS_PUBLISHED,
    Candidate,
    CostTable,
    Count,
    Operations,
    assumptions,
    compare,
    sensitivity,
)


def doing(name, footprint=None, **counts):
    ops = Operations()
    ops.add("layer", Count.of(counts, footprint))
    return Candidate(name, [ops])


UNIT = CostTable(
    "unit", "none", {"accumulate": 1.0, "multiply": 2.0, "transcendental": 4.0}, low={"transcendental": 1.0}
)


def test_all_assumptions():
    cases = assumptions([HOROWITZ_45NM_FP32, LOIHI, MSG_AS_PUBLISHED])
    # two ends, and memory in three models or not at all; Loihi has neither
    assert len(cases) == 2 * len(CONVENTIONS) * (1 + len(MEMORY_MODELS)) + len(CONVENTIONS)
    assert len({str(case) for case in cases}) == len(cases)
    assert len(assumptions()) == 3 * 24 + 3


def test_a_conclusion_that_survives():
    (found,) = sensitivity([doing("a", accumulate=4), doing("b", accumulate=1)], [UNIT]).conclusions
    assert (found.less, found.more, found.holds, found.exceptions) == ("b", "a", True, [])
    assert set(found.ratios.values()) == {4.0}
    assert not found.partial


def test_a_conclusion_that_depends_on_a_price():
    """Functions at 4 against 5 additions, at 1 the other way round; by a slow loop over both ends."""
    found = sensitivity([doing("sums", accumulate=5), doing("functions", transcendental=2)], [UNIT])
    (one,) = found.conclusions
    assert {one.less, one.more} == {"sums", "functions"}
    expected = {"unit": 2 * 4 / 5, "unit, low": 2 * 1 / 5}
    for name, ratio in one.ratios.items():
        own = expected[name.rsplit(", ", 2)[0]]
        assert ratio == pytest.approx(own if one.less == "sums" else 1 / own)
    assert len(one.exceptions) == len(CONVENTIONS)
    assert "3 of 6" in str(found)
    assert not one.holds


def test_where_sums_are_kept_can_decide():
    spikes = doing("spikes", {"accumulators": 10}, accumulate=10, accumulators=20)
    products = doing("products", multiply_accumulate=8)
    (one,) = sensitivity([spikes, products], [HOROWITZ_45NM_FP32]).conclusions
    assert (one.less, one.more) == ("spikes", "products")
    assert {name.rsplit(", ", 1)[1] for name in one.exceptions} == {"event-driven core", "Lemaire et al."}
    assert all(ratio > 1 for name, ratio in one.ratios.items() if name.endswith(("no memory", "registers")))


def test_what_is_priced_in_part_is_told_apart():
    found = sensitivity([doing("a", accumulate=1), doing("b", multiply_accumulate=1, accumulate=2)], [UNIT, LOIHI])
    (one,) = found.conclusions
    assert not one.ratios
    assert not one.holds
    assert (one.less, len(one.partial)) == ("a", 9)
    assert "0 of 0" in str(found)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))[0]["less"] == "a"


def test_what_costs_nothing():
    found = sensitivity([doing("a", accumulate=1), doing("nothing", spike=1), doing("silence", message=1)], [UNIT])
    assert [one.less for one in found.conclusions[:2]] == ["nothing", "silence"]
    assert set(found.as_dict()[0]["ratios"].values()) == {None}
    assert set(found.as_dict()[2]["ratios"].values()) == {1.0}
    assert not found.conclusions[2].holds


def test_comparisons_show_it():
    pair = [doing("a", accumulate=1), doing("b", accumulate=2)]
    comparison = compare(pair)
    assert "Who needs less energy" in str(comparison)
    assert "Who needs less energy" in comparison.markdown()
    assert comparison.as_dict()["sensitivity"][0]["less"] == "a"
    assert compare(pair[:1]).as_dict()["sensitivity"] is None
    assert "Who needs less" not in str(compare(pair[:1]))


def test_too_few():
    with pytest.raises(ValueError, match="at least two models"):
        sensitivity([doing("a", accumulate=1)])
    with pytest.raises(ValueError, match="at least two models"):
        sensitivity([doing("a", accumulate=1), Candidate("b", [])])
