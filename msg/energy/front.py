"""Which models no other one beats in accuracy and energy at once."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def pareto_front(items: Sequence[Item], cost: Callable[[Item], float], gain: Callable[[Item], float]) -> list[Item]:
    """Those that no other item dominates, cheapest first.

    An item dominates another if it costs no more and gains no less, and is better in one of the two. Of equal items
    the first is kept.

    Args:
        items: what is compared.
        cost: to be small, such as energy.
        gain: to be large, such as accuracy.
    """
    front: list[Item] = []
    for item in sorted(items, key=lambda item: (cost(item), -gain(item))):
        if not front or gain(item) > gain(front[-1]):
            front.append(item)
    return front
