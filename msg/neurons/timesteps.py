"""Numbers of time steps."""

from numbers import Integral
from typing import Any


def check_timesteps(timesteps: Any) -> None:
    """Raise ``ValueError`` for what is no whole number of at least one step."""
    if isinstance(timesteps, bool) or not isinstance(timesteps, Integral) or timesteps < 1:
        raise ValueError(f"timesteps must be an integer of at least 1, not {timesteps!r}")


def _timesteps(module: Any) -> int:
    return module._timesteps


def _set_timesteps(module: Any, timesteps: int) -> None:
    check_timesteps(timesteps)
    module._timesteps = int(timesteps)


Timesteps = property(_timesteps, _set_timesteps, doc="Number of time steps; another one is checked as the first was.")
"""For the body of a module's class: ``timesteps = Timesteps``."""
