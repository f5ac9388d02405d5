"""Spiking neurons with explicit state, and the surrogate derivatives of their firing."""

from msg.neurons.neuron import IF, LIF, Neuron, ParametricLIF
from msg.neurons.surrogates import ATan, Sigmoid, Surrogate, Triangle, heaviside

__all__ = ["IF", "LIF", "ATan", "Neuron", "ParametricLIF", "Sigmoid", "Surrogate", "Triangle", "heaviside"]
