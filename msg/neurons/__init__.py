"""Spiking neurons with explicit state, the surrogate derivatives of their firing, and activations in their place."""

from torch.serialization import add_safe_globals

from msg.neurons.activations import Activation, ClippedReLU, QuantizedReLU, ReLU
from msg.neurons.adapted import Adapted, adapt, resolve_neuron, stepwise_neuron
from msg.neurons.adaptive import ALIF, ALIFState
from msg.neurons.neuron import IF, LIF, Fire, Neuron, NeuronLike, ParametricLIF
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
    "Activation",
    "Adapted",
    "ArcTan",
    "Box",
    "ClippedReLU",
    "DecayingThresholdLIF",
    "DecayingThresholdState",
    "Fire",
    "MultiGaussian",
    "Neuron",
    "NeuronLike",
    "ParametricLIF",
    "QuantizedReLU",
    "ReLU",
    "ScaledLIF",
    "Sigmoid",
    "SuperSpike",
    "Surrogate",
    "Triangle",
    "adapt",
    "heaviside",
    "resolve_neuron",
    "stepwise_neuron",
]

# values: a checkpoint that holds them among its hyperparameters, as Lightning's do, is read with weights_only=True
add_safe_globals(
    [
        *(IF, LIF, ParametricLIF, ScaledLIF, DecayingThresholdLIF, ALIF, ReLU, ClippedReLU, QuantizedReLU, Adapted),
        *(ATan, ArcTan, Box, MultiGaussian, Sigmoid, SuperSpike, Triangle),
        *(ALIFState, DecayingThresholdState),
    ]
)
