"""Spiking neurons with explicit state, and the surrogate derivatives of their firing."""

from msg.neurons.adaptive import ALIF, ALIFState
from msg.neurons.neuron import IF, LIF, Fire, Neuron, ParametricLIF, resolve_neuron
from msg.neurons.scaled import DecayingThresholdLIF, DecayingThresholdState, ScaledLIF
from msg.neurons.surrogates import (
    ArcTan,
    ATan,
    Box,
    MultiGaussian,
    Sigmoid,
    SuperSpike,
    Surrogate,
    Triangle,
    heaviside,
)

__all__ = [
    "ALIF",
    "IF",
    "LIF",
    "ALIFState",
    "ATan",
    "ArcTan",
    "Box",
    "DecayingThresholdLIF",
    "DecayingThresholdState",
    "Fire",
    "MultiGaussian",
    "Neuron",
    "ParametricLIF",
    "ScaledLIF",
    "Sigmoid",
    "SuperSpike",
    "Surrogate",
    "Triangle",
    "heaviside",
    "resolve_neuron",
]
