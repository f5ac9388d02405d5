"""What a neuron from outside may leave unsaid: it is any module ``spikes, state = neuron(current, state)``."""

from typing import Any


def spikes(neuron: Any) -> bool:
    """Whether it sends zeros and ones; one that does not say (``spiking``) does."""
    return getattr(neuron, "spiking", True)


def fitted(neuron: Any) -> bool:
    """Whether its threshold is known; that of one that does not say (``fitted``) is."""
    return getattr(neuron, "fitted", True)
