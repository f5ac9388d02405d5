"""When to store, forget and run again, so that a simulation is backpropagated in little memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

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
def _costs(timesteps: int, slots: int, store: Store) -> tuple[np.ndarray, np.ndarray]:
    r"""``C(t, m)`` and the step to store next, for all ``t <= timesteps`` and ``m <= slots``."""
    hidden = store == "hidden"
    far = np.iinfo(np.int64).max // 4
    cost = np.full((slots + 1, timesteps + 1), far, dtype=np.int64)
    place = np.zeros((slots + 1, timesteps + 1), dtype=np.int64)
    t = np.arange(timesteps + 1)
    cost[:, 0] = 0
    cost[1:, 1:] = t[1:] * (t[1:] + 1) // 2
    place[1:, 1:] = 0 if hidden else t[1:]
    for m in range(2, slots + 1):
        cost[m, 1], place[m, 1] = 1, 0 if hidden else 1
        for n in range(2, timesteps + 1):
            y = np.arange(1, n if hidden else n + 1)
            total = y + cost[m - 1, n - y] + cost[m, y if hidden else y - 1]
            best = n - 1 - int(total[::-1].argmin()) if not hidden else n - 2 - int(total[::-1].argmin())
            cost[m, n], place[m, n] = total[best], y[best]
    return cost, place


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
    eq. 1-3 and 5-6.

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
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        return _costs(self.timesteps, self._slots, self.store)

    @property
    def _slots(self) -> int:
        return min(self.slots, self.timesteps)

    @property
    def evaluations(self) -> int:
        r""":math:`C(t, m)`: how many steps are run forward, those of the first forward pass included."""
        return int(self._tables[0][self._slots, self.timesteps])

    def __iter__(self) -> Iterator[Action]:
        """The actions in order; those before the first ``"backward"`` are one pass through time."""
        place = self._tables[1]
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
            y = int(place[slots, steps]) or steps
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
