from msg.energy import Count, Firing, Operations
from msg.energy.counts import BACKWARD


def test_memory_is_used_again_and_operations_add_up():
    total = Count.of({"accumulate": 2}, {"weights": 10}) + Count.of({"accumulate": 3}, {"weights": 7})
    assert total.nonzero == {"accumulate": 5}
    assert total.footprint == {"weights": 10}


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
