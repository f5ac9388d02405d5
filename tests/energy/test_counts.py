from collections import Counter

import pytest
from pydantic import TypeAdapter

from msg.energy import Count, Firing, Operations
from msg.energy.counts import BACKWARD


def test_memory_is_used_again_and_operations_add_up():
    total = Count.of({"accumulate": 2}, {"weights": 10}) + Count.of({"accumulate": 3}, {"weights": 7})
    assert total.nonzero == {"accumulate": 5}
    assert total.footprint == {"weights": 10}


def test_ones_are_read_like_other_numbers_unless_said():
    assert Count.of({"accumulate": 2}).events == {"accumulate": 2}
    both = Count(Counter(multiply_accumulate=3), events=Counter(accumulate=3)) + Count.of({"multiply": 1})
    assert both.under("events") == {"accumulate": 3, "multiply": 1}
    assert both.under("nonzero") == {"multiply_accumulate": 3, "multiply": 1}


def test_the_cheapest_way_under_each_reading():
    rows = Count.of({"accumulate": 5}, {"weights": 4})
    rates = Count(Counter(multiply_accumulate=4), Counter(multiply_accumulate=4), Counter(), Counter(accumulate=4))
    count = Count.cheapest({"shared": rows, "rates": rates})
    assert (count.nonzero, count.events, count.footprint) == ({"accumulate": 5}, {"accumulate": 4}, {"weights": 4})
    more = count + Count.of({"multiply": 1})
    assert more.ways == {"shared": rows + Count.of({"multiply": 1}), "rates": rates + Count.of({"multiply": 1})}
    assert more.nonzero == {"accumulate": 5, "multiply": 1}


def test_operations_are_kept_and_read_again():
    ops = Operations()
    ops.add("synapse", Count.cheapest({"shared": Count.of({"accumulate": 5}), "rates": Count.of({"multiply": 9})}))
    kept = TypeAdapter(Operations)
    dumped = kept.dump_python(ops, mode="json")
    assert kept.validate_python(dumped) == ops
    # what was kept before ones and ways were counted
    for name in ("events", "ways"):
        del dumped["modules"]["synapse"][name]
    old = kept.validate_python(dumped)
    assert old.total("events") == old.total() == {"accumulate": 5}
    nested = dumped["modules"]["synapse"]
    for _ in range(2000):
        nested = {"ways": {"shared": nested}}
    with pytest.raises(ValueError, match="recursion"):
        kept.validate_python({"modules": {"synapse": nested}})


def test_training_is_not_in_the_total():
    ops = Operations()
    ops.add("a", Count.of({"accumulate": 2}))
    ops.add(BACKWARD, Count.of({"accumulate": 3}))
    ops.add("silent", Count())
    assert ops.total() == {"accumulate": 2}
    assert set(ops.modules) == {"a", BACKWARD}
    assert set(ops.training) == {BACKWARD}


def test_firing():
    firing = Firing(10, 5, 4, 0, 0, (), Count())
    assert firing.rate == 0.5
    assert firing.spikes_per_synapse == 0.0
    assert firing.as_dict()["spikes"] == 10
