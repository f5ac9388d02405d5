from functools import cache

import pytest

from msg.gradients import Schedule


@cache
def _fewest(steps, slots, store):
    """The recursion as the paper writes it, by brute force."""
    if steps == 0:
        return 0
    if slots == 1:
        return steps * (steps + 1) // 2
    if slots >= steps:
        return 2 * steps - 1 if store == "hidden" else steps
    if store == "hidden":
        return min(y + _fewest(steps - y, slots - 1, store) + _fewest(y, slots, store) for y in range(1, steps))
    return min(y + _fewest(steps - y, slots - 1, store) + _fewest(y - 1, slots, store) for y in range(1, steps + 1))


PUBLISHED = [
    *[("hidden", t, m, c) for t, m, c in [(4, 2, 8), (5, 2, 11), (10, 2, 30), (10, 3, 25), (100, 5, 416)]],
    *[("hidden", 1000, m, c) for m, c in [(5, 7284), (10, 4636), (20, 3747), (50, 2948)]],
    *[("internal", t, m, c) for t, m, c in [(4, 2, 6), (10, 2, 24), (10, 3, 18), (100, 5, 320)]],
]


@pytest.mark.parametrize(("store", "timesteps", "slots", "evaluations"), PUBLISHED)
def test_evaluations_of_the_paper(store, timesteps, slots, evaluations):
    schedule = Schedule(timesteps, slots, store)
    assert schedule.evaluations == evaluations
    assert _counted(schedule) == evaluations


@pytest.mark.parametrize("store", ["hidden", "internal"])
def test_no_other_schedule_is_cheaper(store):
    for timesteps in range(1, 26):
        for slots in range(1, 28):
            assert Schedule(timesteps, slots, store).evaluations == _fewest(timesteps, slots, store)


def _counted(schedule):
    """Forward evaluations, while every action is checked to be possible and every step to go back once, in order."""
    position, held, recorded, evaluations, gone_back = 0, {0}, [], 0, []
    for action in schedule:
        if action.kind == "load":
            assert action.start in held or action.start - 1 in recorded
            position = action.start
        elif action.kind == "advance":
            assert position == action.start <= action.stop
            evaluations += action.stop - action.start
            position = action.stop
        elif action.kind == "store":
            assert position == action.start
            held.add(position)
        elif action.kind == "free":
            held.remove(action.start)
        elif action.kind == "record":
            assert position == action.start
            evaluations += 1
            recorded.append(position)
            position += 1
        else:
            assert recorded.pop() == action.start
            gone_back.append(action.start)
        # the step being gone back through is held besides hidden states
        assert (len(held) if schedule.store == "hidden" else len(recorded)) <= schedule.slots
        assert len(recorded) <= (1 if schedule.store == "hidden" else schedule.slots)
    assert gone_back == list(range(schedule.timesteps))[::-1]
    return evaluations


@pytest.mark.parametrize("store", ["hidden", "internal"])
@pytest.mark.parametrize("timesteps", [1, 2, 3, 7, 20, 33])
def test_actions_are_possible_hold_no_more_than_allowed_and_cost_what_was_counted(store, timesteps):
    for slots in (1, 2, 3, 5, 19, 33, 50):
        schedule = Schedule(timesteps, slots, store)
        assert _counted(schedule) == schedule.evaluations


@pytest.mark.parametrize("store", ["hidden", "internal"])
def test_a_budget_for_everything_stores_everything(store):
    assert Schedule(6, 6, store).stored == (tuple(range(1, 6)) if store == "hidden" else tuple(range(6)))
    assert Schedule(6, 100, store).evaluations == (11 if store == "hidden" else 6)


def test_is_printed_in_a_line():
    assert str(Schedule(10, 3)) == "10 steps, 3 hidden states: 25 forward evaluations, first storing 4, 7"
    assert "50 hidden states: 2948 forward evaluations" in str(Schedule(1000, 50))
    assert len(str(Schedule(1000, 50))) < 120


@pytest.mark.parametrize(("timesteps", "slots"), [(0, 1), (1, 0), (-1, 3)])
def test_needs_steps_and_room(timesteps, slots):
    with pytest.raises(ValueError, match="at least one step and room for one state"):
        Schedule(timesteps, slots)


@pytest.mark.parametrize("store", ["hidden", "internal"])
def test_ten_thousand_steps_are_planned_at_once(store):
    schedule = Schedule(10_000, 200, store)
    ran = sum(action.stop - action.start if action.kind == "advance" else 1 for action in schedule
              if action.kind in ("advance", "record"))  # fmt: skip
    assert ran == schedule.evaluations < 3 * 10_000
