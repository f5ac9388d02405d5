"""When to store, forget and run again, so that a simulation is backpropagated in little memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import comb
from typing import Literal, NamedTuple

Store = Literal["hidden", "internal"]


class Action(NamedTuple):
    """One thing to do.

    Attributes:
        kind: ``"advance"`` runs the steps ``start..stop - 1`` without a graph; ``"store"`` and ``"load"`` keep and take
            up the state before step ``start``, ``"free"`` forgets it; ``"record"`` runs step ``start`` with its graph
            and keeps that; ``"backward"`` goes back through the recorded step ``start`` and forgets it.
        start: a step.
        stop: a step, of ``"advance"``.
    """

    kind: Literal["advance", "store", "load", "free", "record", "backward"]
    start: int
    stop: int = 0


@cache
def _steps_at(repeats: int, slots: int, store: Store) -> int:
    r"""The most steps that ``slots`` states allow to go back through with none run more than ``repeats`` times:
    :math:`\binom{m+r-1}{m}` (hidden), :math:`\binom{m+r}{m} - 1` (internal).
    """
    return comb(slots + repeats - 1, slots) if store == "hidden" else comb(slots + repeats, slots) - 1


@cache
def _last_step(steps: int, slots: int, store: Store) -> int:
    """``C(t, m) - C(t - 1, m)``: how often the step most often run is run."""
    repeats = 1
    while _steps_at(repeats, slots, store) < steps:
        repeats += 1
    return repeats


def _evaluations(steps: int, slots: int, store: Store) -> int:
    """``C(t, m)``: steps that are run once, those that are run twice, and so on."""
    total, done, repeats = 0, 0, 1
    while done < steps:
        reached = min(_steps_at(repeats, slots, store), steps)
        total += repeats * (reached - done)
        done, repeats = reached, repeats + 1
    return total


@cache
def _place(steps: int, slots: int, store: Store) -> int:
    """The step to store next, the farthest of those that are as good; ``steps`` where nothing can be stored."""
    hidden = store == "hidden"
    if slots == 1 or steps == 1:
        return 0 if hidden else steps
    # y + C(t - y, m - 1) + C(y, m) is convex in y, since C is in t: the farthest minimum is where it last does not rise
    low, high = 1, steps - 1 if hidden else steps
    while low < high:
        y = (low + high + 1) // 2
        rises = 1 - _last_step(steps - y + 1, slots - 1, store) + _last_step(y if hidden else y - 1, slots, store)
        low, high = (low, y - 1) if rises > 0 else (y, high)
    return low


@dataclass(frozen=True)
class Schedule:
    r"""The cheapest way to backpropagate ``timesteps`` steps while holding ``slots`` states.

    With :math:`C(t, m)` the number of forward evaluations of one step, :math:`C(t, 1) = t(t+1)/2` and

    .. math::
        C(t, m) = \min_{1\le y<t}\; y + C(t-y, m-1) + C(y, m) \quad\text{(hidden)}, \qquad
        C(t, m) = \min_{1\le y\le t}\; y + C(t-y, m-1) + C(y-1, m) \quad\text{(internal)}.

    A *hidden* state is what the neurons remember between two steps; an *internal* one is all that the backward pass of
    one step needs, so the step is not run again for it. The first state of a slot count is the one the (sub-)simulation
    begins with (hidden) or the step that is being backpropagated (internal).

    Source: `Gruslys et al. 2016, Memory-Efficient Backpropagation Through Time <https://arxiv.org/abs/1606.03401>`_,
    eq. 1-3 and 5-6; the closed form of ``C`` for hidden states is that of `Griewank & Walther 2000, Algorithm 799
    <https://doi.org/10.1145/347837.347846>`_, that for internal ones is ours (tested against the recursion).

    Args:
        timesteps: ``t``.
        slots: ``m``; more than ``t`` are as good as ``t``.
        store: ``"hidden"`` or ``"internal"``.

    Raises:
        ValueError: if ``timesteps`` or ``slots`` is not positive.
    """

    timesteps: int
    slots: int
    store: Store = "hidden"

    def __post_init__(self):
        if self.timesteps < 1 or self.slots < 1:
            raise ValueError(
                f"a schedule needs at least one step and room for one state, not {self.timesteps} steps and "
                f"{self.slots} states"
            )

    @property
    def _slots(self) -> int:
        return min(self.slots, self.timesteps)

    @property
    def evaluations(self) -> int:
        r""":math:`C(t, m)`: how many steps are run forward, those of the first forward pass included."""
        return _evaluations(self.timesteps, self._slots, self.store)

    def __iter__(self) -> Iterator[Action]:
        """The actions in order; those before the first ``"backward"`` are one pass through time."""
        hidden = self.store == "hidden"
        todo: list[tuple[int, int, int] | Action] = [(0, self.timesteps, self._slots)]
        while todo:
            item = todo.pop()
            if isinstance(item, Action):
                yield item
                continue
            start, steps, slots = item
            if steps == 0:
                continue
            # where nothing can be stored, the last step is reached from the start each time
            y = _place(steps, slots, self.store) or steps
            parts: list[tuple[int, int, int] | Action]
            if not hidden or y == steps:
                last = start + y - 1
                parts = [Action("load", start), Action("advance", start, last), Action("record", last)]
                parts += [(last + 1, steps - y, slots - 1), Action("backward", last), (start, y - 1, slots)]
            else:
                middle = start + y
                parts = [Action("load", start), Action("advance", start, middle), Action("store", middle)]
                parts += [(middle, steps - y, slots - 1), Action("free", middle), (start, y, slots)]
            todo.extend(reversed(parts))

    @property
    def stored(self) -> tuple[int, ...]:
        """Steps whose state the first pass through time keeps."""
        kind = "store" if self.store == "hidden" else "record"
        kept = []
        for action in self:
            if action.kind == "backward":
                break
            if action.kind == kind:
                kept.append(action.start)
        return tuple(kept)

    def __str__(self) -> str:
        """What it does, in a line."""
        shown = [str(step) for step in self.stored]
        if len(shown) > 8:
            shown = [*shown[:6], "…", shown[-1]]
        return (
            f"{self.timesteps} steps, {self._slots} {self.store} states: {self.evaluations} forward evaluations, "
            f"first storing {', '.join(shown) or 'none'}"
        )
