"""The dynamics of a spiking network: layers that run through time under a gradient rule."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from msg.calls import casting_anew
from msg.gradients import Activity, FeedForwardRule, Online, RuleLike, resolve_rule
from msg.gradients.simulation import Dynamics, encoder_current, mean
from msg.graph import Graph, SparseMatrix
from msg.layers import SpikingLayer
from msg.neurons.contract import fitted, spikes
from msg.neurons.timesteps import checked_timesteps


class SpikingStack(nn.Module):
    """Layers of synapse and neuron, run through ``T`` time steps under a gradient rule.

    Args:
        layers: encoder first.
        timesteps: number of time steps ``T``.
        gradient: the gradient rule: a value, a class of rules or a name.
        model: name of the model in error messages.
        flat: whether only the last mean current is read, so that hidden layers learn through spikes or not at all.

    Shapes:
        ``features``: ``[N, F]``, dense or a :class:`~msg.graph.SparseMatrix`, a constant current; or a train
        ``[T, N, F]``; returns an :class:`~msg.gradients.Activity`.

    Raises:
        ValueError: if ``timesteps`` is not a positive integer, not 1 for neurons that do not spike, or the rule cannot
            train these layers.
    """

    layers: nn.ModuleList

    def __init__(
        self,
        layers: Sequence[SpikingLayer],
        timesteps: int,
        gradient: RuleLike,
        model: str = "this network",
        flat: bool = False,
    ):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.timesteps = timesteps
        self._model, self._flat = model, flat
        self.gradient = gradient

    @property
    def timesteps(self) -> int:
        """Number of time steps ``T``; another one is checked when it is set."""
        return self._timesteps

    @timesteps.setter
    def timesteps(self, timesteps: int) -> None:
        self._timesteps = checked_timesteps(timesteps, [layer.neuron for layer in self._layers])

    @property
    def gradient(self) -> FeedForwardRule:
        """The gradient rule; another one is checked when it is set."""
        return self._gradient

    @gradient.setter
    def gradient(self, rule: RuleLike) -> None:
        resolved = resolve_rule(rule, FeedForwardRule, self._model)
        if self._flat and not resolved.through_spikes:
            raise ValueError(
                f"{type(resolved).__name__} differentiates only through the manifold, and {self._model} has none: its "
                "hidden layers would never learn. Use SurrogateBPTT, or MSG with manifold='E32'"
            )
        resolved.check(self._layers)
        self._gradient = resolved

    @property
    def _layers(self) -> list[SpikingLayer]:
        return list(self.layers)  # pyright: ignore[reportReturnType]

    def reset_parameters(self) -> None:
        """Reset all layers."""
        for layer in self._layers:
            layer.reset_parameters()

    def fit_thresholds(self, features: Tensor | SparseMatrix, graph: Graph) -> None:
        """Fit thresholds that are ``"auto"`` and not known yet, layer by layer, to mean currents of this input."""
        if not all(fitted(layer.neuron) for layer in self._layers):
            with casting_anew(next(self.parameters())):
                self._fit_thresholds(features, graph)

    @torch.no_grad()
    def _fit_thresholds(self, features: Tensor | SparseMatrix, graph: Graph) -> None:
        norms = nn.ModuleList(layer.norm for layer in self._layers if layer.norm is not None)
        running = [(buffer, buffer.clone()) for buffer in norms.buffers()]
        dynamics = Dynamics(self._layers, graph, self.timesteps)
        current = mean(encoder_current(self._layers, features, graph, self.timesteps))
        for source, target, part in zip(dynamics.sources, dynamics.targets, dynamics.graphs[1:]):
            neuron: Any = source.neuron
            if not fitted(neuron):
                neuron.fit_threshold(current, graph.total)
            if target is not dynamics.targets[-1]:
                current = target.current(neuron.rate(current, self.timesteps), part)
        for buffer, before in running:  # this input comes again, and is to count once
            buffer.copy_(before)

    @property
    def spiking(self) -> bool:
        """Whether all that layers send is spikes."""
        return all(spikes(layer.neuron) for layer in self._layers)

    def forward(self, features: Tensor | SparseMatrix, graph: Graph) -> Activity:
        if not self.spiking:
            graph.whole_only("a network that sends numbers in place of spikes", "a neuron that spikes")
        self.fit_thresholds(features, graph)
        return self.gradient.run(self._layers, features, graph, self.timesteps)

    def online(self, features: Tensor | SparseMatrix, graph: Graph) -> Iterator[Activity]:
        """Step by step: the activity so far, with the gradient of the last step alone.

        Raises:
            ValueError: if the gradient rule has no gradient before the end of the simulation.
        """
        if not isinstance(self.gradient, Online):
            raise ValueError(
                f"{type(self.gradient).__name__} has no gradient before the end of the simulation: use OTTT"
            )
        self.fit_thresholds(features, graph)
        yield from self.gradient.online(self._layers, features, graph, self.timesteps)

    def extra_repr(self) -> str:
        return f"timesteps={self.timesteps}, gradient={self.gradient.describe(self.timesteps)}"
