from hypothesis import given
from hypothesis import strategies as st

from msg.energy import pareto_front

values = st.integers(0, 5)


def dominates(a, b):
    return a[0] <= b[0] and a[1] >= b[1] and a != b


@given(st.lists(st.tuples(values, values), max_size=12))
def test_the_front_is_what_nothing_dominates(items):
    found = pareto_front(items, lambda item: item[0], lambda item: item[1])
    assert sorted(found) == sorted({b for b in items if not any(dominates(a, b) for a in items)})
    assert found == sorted(found)


def test_of_equal_items_the_first_is_kept():
    items = [("a", 1, 2), ("b", 1, 2), ("c", 1, 1)]
    assert pareto_front(items, lambda item: item[1], lambda item: item[2]) == items[:1]
