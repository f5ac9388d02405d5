"""Spiking neurons with explicit state, and the surrogate derivatives of their firing."""

from msg.neurons.adaptive import ALIF, ALIFState
from msg.neurons.neuron import IF, LIF, Fire, Neuron, ParametricLIF, resolve_neuron
from msg.neurons.surrogates import ATan, Sigmoid, Surrogate, Triangle, heaviside

__all__ = [
    "ALIF",
    "IF",
    "LIF",
    "ALIFState",
    "ATan",
    "Fire",
    "Neuron",
    "ParametricLIF",
    "Sigmoid",
    "Surrogate",
    "Triangle",
    "heaviside",
    "resolve_neuron",
]
