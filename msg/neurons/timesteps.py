"""Numbers of time steps."""

from numbers import Integral
from typing import Any


def checked_timesteps(timesteps: Any) -> int:
    """A number of steps, NumPy's too; ``ValueError`` for what is no whole number of at least one."""
    if isinstance(timesteps, bool) or not isinstance(timesteps, Integral) or timesteps < 1:
        raise ValueError(f"timesteps must be an integer of at least 1, not {timesteps!r}")
    return int(timesteps)


def _timesteps(module: Any) -> int:
    return module._timesteps


def _set_timesteps(module: Any, timesteps: int) -> None:
    module._timesteps = checked_timesteps(timesteps)


Timesteps = property(_timesteps, _set_timesteps, doc="Number of time steps; another one is checked as the first was.")
"""For the body of a module's class: ``timesteps = Timesteps``."""
