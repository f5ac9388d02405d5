"""Numbers of time steps."""

from collections.abc import Iterable
from typing import Any

from msg.neurons.contract import spikes
from msg.sizes import check_sizes


def checked_timesteps(timesteps: Any, neurons: Iterable[Any] = ()) -> int:
    """A number of steps, NumPy's too.

    Args:
        timesteps: the number.
        neurons: that are run so often; ``None`` is none.

    Raises:
        ValueError: for what is no whole number of at least one, and more than one for neurons that do not spike.
    """
    check_sizes(timesteps=timesteps)
    steps = int(timesteps)
    for neuron in neurons:
        if steps > 1 and not spikes(neuron):
            raise ValueError(
                f"timesteps={steps} contradicts {type(neuron).__name__}, which sends its value at once: use timesteps=1"
            )
    return steps


def _timesteps(module: Any) -> int:
    return module._timesteps


def _set_timesteps(module: Any, timesteps: int) -> None:
    module._timesteps = checked_timesteps(timesteps)


def _fix_timesteps(module: Any, timesteps: int) -> None:
    steps = checked_timesteps(timesteps)
    if vars(module).setdefault("_timesteps", steps) != steps:
        raise ValueError(
            f"{type(module).__name__} has weights for each of its {module._timesteps} time steps: make a new one with "
            f"timesteps={steps}"
        )


Timesteps = property(_timesteps, _set_timesteps, doc="Number of time steps; another one is checked as the first was.")
"""For the body of a module's class: ``timesteps = Timesteps``."""

FixedTimesteps = property(_timesteps, _fix_timesteps, doc="Number of time steps, for which the weights were made.")
"""The same where weights depend on it."""
