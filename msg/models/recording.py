"""What every neuron did in every step: trains of spikes and potentials, of chosen nodes and layers."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from msg.gradients.simulation import SILENT, Dynamics, Stage, encoder_current
from msg.graph import Graph, SampledGraph, SparseMatrix
from msg.models.stack import SpikingStack


@dataclass(frozen=True)
class Record:
    """What a layer of neurons did in one forward; ``T`` steps, ``n`` chosen nodes, ``d`` neurons a node.

    Attributes:
        nodes: which nodes, ``[n]``.
        spikes: 0 or 1, ``[T, n, d]``.
        potentials: membrane potential after the step, as the neuron keeps it (reset already, but for :class:`ALIF
            <msg.neurons.ALIF>`), ``[T, n, d]``; ``None`` where the neuron keeps none.
        threshold: of the neurons; ``None`` where they have none, or not a constant one.
    """

    nodes: Tensor
    spikes: Tensor
    potentials: Tensor | None
    threshold: float | None

    @property
    def rates(self) -> Tensor:
        """Firing rates, ``[n, d]``."""
        return self.spikes.sum(0) / len(self.spikes)


@dataclass
class Recording:
    """What :func:`record` saw in the last forward.

    Attributes:
        layers: records by the number of the layer, the encoder's 0.
    """

    layers: dict[int, Record] = field(default_factory=dict)

    def __getitem__(self, layer: int) -> Record:
        """The record of a layer.

        Raises:
            KeyError: naming the mend.
        """
        if layer not in self.layers:
            known = sorted(self.layers) or "none yet: call the model inside `with record(model)`"
            raise KeyError(f"layer {layer} was not recorded; there are {known}")
        return self.layers[layer]

    def figure(self, potentials: bool = False) -> Any:
        """The raster: a dot a spike, a row a neuron, a panel a layer; see :func:`msg.report.figures.raster`.

        Args:
            potentials: draw below what the potential of one neuron of each node did, of the one that fires most.

        Returns:
            A :class:`matplotlib.figure.Figure`.
        """
        from msg.report.figures import raster

        spikes, shown = {}, {}
        for number, one in sorted(self.layers.items()):
            title = f"layer {number}"
            spikes[title] = one.spikes.flatten(1).cpu().numpy()
            if potentials and one.potentials is not None:
                most = one.spikes.sum(0).argmax(-1).cpu()
                shown[title] = one.potentials.cpu()[:, torch.arange(len(most)), most].numpy()
        return raster(spikes, shown)


class _Recorder:
    """A neuron that is watched."""

    def __init__(self, neuron: Any, nodes: Tensor):
        self.neuron, self.nodes = neuron, nodes
        self.spikes: list[Tensor] = []
        self.potentials: list[Tensor] = []

    def __call__(self, *args: Any) -> tuple[Tensor, Any]:
        spikes, state = self.neuron(*args)
        self.spikes.append(spikes[self.nodes])
        potential = state if isinstance(state, Tensor) else getattr(state, "potential", None)
        if potential is not None:
            self.potentials.append(potential[self.nodes])
        return spikes, state

    def record(self) -> Record:
        constant = type(self.neuron).__name__ not in ("ALIF", "DecayingThresholdLIF")
        threshold = getattr(self.neuron, "threshold", None) if constant else None
        potentials = torch.stack(self.potentials) if self.potentials else None
        return Record(self.nodes, torch.stack(self.spikes), potentials, threshold)


@contextmanager
def record(
    model: nn.Module, nodes: Sequence[int] | Tensor | None = None, layers: Sequence[int] | None = None
) -> Iterator[Recording]:
    """Record trains and potentials of a spiking network in evaluation mode.

    .. code-block:: python

        with msg.record(model, nodes=[0, 33]) as recording:
            model(x, edge_index)
        recording[0].spikes  # [T, 2, d] of the encoder's neurons
        recording.figure().savefig("raster.png")

    Each forward is run a second time, step by step and without gradient, and the last one is kept. Inside, the network
    runs step by step: what is recorded are its own spikes to the bit, and their mean is
    ``model.activity(...).rates``.

    Args:
        model: with one :class:`SpikingStack`, as every :class:`SpikingNetwork` has.
        nodes: which nodes; ``None``: all.
        layers: numbers of layers with neurons, the encoder's 0; ``None``: all. The last convolution has none.

    Raises:
        ValueError: for a model without a stack or with several, layers or nodes that there are not, a model in training
            mode, or a batch or a part of a graph.
    """
    stacks = [module for module in model.modules() if isinstance(module, SpikingStack)]
    if len(stacks) != 1:
        raise ValueError(
            f"{type(model).__name__} has {len(stacks)} spiking stacks: give a model that has one, such as MSG"
        )
    (stack,) = stacks
    known = range(len(stack.layers) - 1)
    wanted = list(known) if layers is None else [int(layer) for layer in layers]
    if not set(wanted) <= set(known):
        raise ValueError(f"layers={wanted}, but layers with neurons are numbered {list(known)}")
    recording = Recording()

    def watch(_: nn.Module, args: tuple[Tensor | SparseMatrix, Graph], out: Any) -> None:
        recording.layers = _recorded(stack, *args, nodes, wanted)

    with ExitStack() as hooks:
        hooks.callback(stack.register_forward_hook(watch).remove)
        for layer in known:
            # compiled kernels leave a neuron alone that is watched: both runs then round alike
            hooks.callback(stack.layers[layer].neuron.register_forward_hook(lambda *_: None).remove)  # pyright: ignore
        yield recording


@torch.no_grad()
def _recorded(
    stack: SpikingStack,
    features: Tensor | SparseMatrix,
    graph: Graph,
    nodes: Sequence[int] | Tensor | None,
    wanted: Sequence[int],
) -> dict[int, Record]:
    if stack.training:
        raise ValueError("a recording needs a model in evaluation mode: call model.eval()")
    if isinstance(graph, SampledGraph):
        raise ValueError("a recording needs a whole graph: leave out batch_size and num_sampled_nodes_per_hop")
    graph.whole_only("a recording", "one process")
    device = graph.edge_index.device
    chosen = torch.arange(graph.num_nodes, device=device) if nodes is None else torch.as_tensor(nodes, device=device)
    if chosen.numel() and not 0 <= int(chosen.min()) <= int(chosen.max()) < graph.num_nodes:
        raise ValueError(f"nodes={chosen.tolist()}, but the graph has nodes 0 to {graph.num_nodes - 1}")
    own: Any = list(stack.layers)
    recorders = {number: _Recorder(own[number].neuron, chosen) for number in wanted}
    stages = [Stage.of(layer, neuron=recorders.get(number, layer.neuron)) for number, layer in enumerate(own)]
    dynamics, states = Dynamics(stages, graph, stack.timesteps), None
    current = encoder_current(own, features, graph, stack.timesteps)
    if len(own) > 1:
        states = dynamics.resting
        for chunk in dynamics.chunks(0, stack.timesteps):
            states = dynamics.advance(current, states, chunk, SILENT)[2]
    return {number: recorder.record() for number, recorder in recorders.items()}
