"""NeuroBench's metrics of any model here, by its own harness, with sums along edges counted.

NeuroBench's metrics know linear, convolutional and recurrent layers of torch, and neurons of snnTorch; of a graph
network they see next to nothing. Here its harness runs the model (:class:`GraphModel`), and the metrics are read from
:func:`msg.energy.count`. Needs ``pip install msg-graph[neurobench]``.

Source: `Yik et al. 2025, The NeuroBench framework <https://arxiv.org/abs/2304.04640>`_.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from msg.energy.counter import count
from msg.energy.counts import Operations
from msg.energy.products import nonzeros
from msg.layers import FixedLinear
from msg.models import SpikingStack
from msg.neurons import Activation

try:
    from neurobench.benchmarks import Benchmark  # pyright: ignore[reportMissingImports]
    from neurobench.blocks.activation import SUPPORTED_ACTIVATIONS  # pyright: ignore[reportMissingImports]
    from neurobench.metrics.abstract import AccumulatedMetric, StaticMetric  # pyright: ignore[reportMissingImports]
    from neurobench.metrics.static import Footprint, ParameterCount  # pyright: ignore[reportMissingImports]
    from neurobench.models import NeuroBenchModel  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError("NeuroBench's metrics need its package: pip install msg-graph[neurobench]") from error


class Inference(NamedTuple):
    """What one inference did.

    Attributes:
        ops: as it was counted.
        silent: activations that were zero: neurons that did not fire, in every step.
        activations: all of them.
    """

    ops: Operations
    silent: int
    activations: int


class GraphModel(NeuroBenchModel):
    """A torch, PyG or msg model on one graph, as NeuroBench's harness runs it: a sample is the features of all nodes.

    Args:
        net: called with features, ``edge_index`` and, if there is one, ``edge_weight``; set to evaluation mode.
        edge_index: ``[2, E]``.
        edge_weight: ``[E]``.

    Attributes:
        inferences: what the last batch did, an entry a sample.

    Shapes:
        ``batch``: ``[B, N, F]``; returns ``[B, N, C]``.
    """

    def __init__(self, net: nn.Module, edge_index: Tensor, edge_weight: Tensor | None = None):
        super().__init__()
        self.net, self.graph = net.eval(), (edge_index, *(() if edge_weight is None else (edge_weight,)))
        self.inferences: list[Inference] = []

    def __call__(self, batch: Tensor) -> Tensor:
        self.inferences, outputs = [], []
        for x in batch:
            with torch.no_grad(), count(self.net) as ops, _Values(self.net) as values:
                output = self.net(x, *self.graph)
                outputs.append(output if isinstance(output, Tensor) else output[0])  # and a state, say
            neurons, spikes = ops.total("dense")["state_update"], ops.total("dense")["spike"]
            silent = values.entries - values.found + neurons - spikes
            self.inferences.append(Inference(ops, silent, values.entries + neurons))
        return torch.stack(outputs)

    def __net__(self) -> nn.Module:
        return self.net


class _Values:
    """Watches activations that are no spikes: those that NeuroBench knows, and ours in the place of neurons."""

    def __init__(self, net: nn.Module):
        self.net, self.found, self.entries, self.handles = net, 0, 0, []

    def __enter__(self) -> "_Values":
        for module in self.net.modules():
            if isinstance(module, SpikingStack):
                self.handles.append(module.register_forward_hook(self._stack))
            elif isinstance(module, SUPPORTED_ACTIVATIONS):
                self.handles.append(module.register_forward_hook(self._activation))
        return self

    def __exit__(self, *raised: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _stack(self, stack: SpikingStack, args: tuple, activity: Any) -> None:
        for layer, values in zip(stack.layers, activity.rates):
            if isinstance(layer.neuron, Activation):
                self._add(values)

    def _activation(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        self._add(output)

    def _add(self, values: Tensor) -> None:
        self.found, self.entries = self.found + nonzeros(values), self.entries + values.numel()


class ConnectionSparsity(StaticMetric):
    """Share of zeros among all weights: parameters of two dimensions or more, of every kind of layer, and directions of
    a classifier that are not learned.
    """

    def __call__(self, model: GraphModel) -> float:
        net = model.__net__()
        weights = [p.detach() for p in net.parameters() if p.dim() > 1]
        weights += [module.directions for module in net.modules() if isinstance(module, FixedLinear)]
        entries = sum(weight.numel() for weight in weights)
        return 1 - sum(nonzeros(weight) for weight in weights) / entries if entries else 0.0


class _Mean(AccumulatedMetric):
    """A figure of an inference, averaged over the samples."""

    def __init__(self):
        super().__init__(requires_hooks=False)
        self.reset()

    def reset(self) -> None:
        self.found: list[dict[str, float]] = []

    def __call__(self, model: GraphModel, preds: Tensor, data: tuple[Tensor, Tensor]) -> Any:
        self.found += [self.measure(inference) for inference in model.inferences]
        return self.compute()

    def measure(self, inference: Inference) -> dict[str, float]:
        """The figures of one inference by name."""
        raise NotImplementedError

    def compute(self) -> Any:
        names = self.found[0] if self.found else {}
        means = {name: sum(one[name] for one in self.found) / len(self.found) for name in names}
        return means if len(means) != 1 else next(iter(means.values()))


class SynapticOperations(_Mean):
    """Operations of synapses in one inference: products with weights, and sums along edges. Effective ones are counted
    by events, product for product (NeuroBench asks it of all inputs of a layer at once). Dense ones are those of every
    real-valued input, zero or not, and of the spikes that were fired: a silent neuron counts for nothing here, where
    NeuroBench counts every synapse in every step. Biases, neurons and manifolds are no synapses.
    """

    def measure(self, inference: Inference) -> dict[str, float]:
        """``Effective_MACs``, ``Effective_ACs`` and ``Dense``."""
        events, dense = inference.ops.total("events"), inference.ops.total("dense")
        return {
            "Effective_MACs": events["synaptic_mac"],
            "Effective_ACs": events["synaptic_ac"],
            "Dense": dense["synaptic_mac"] + dense["synaptic_ac"],
        }


class MembraneUpdates(_Mean):
    """Updates of membrane potentials in one inference, of neurons that have any input."""

    def measure(self, inference: Inference) -> dict[str, float]:
        """One number."""
        return {"updates": inference.ops.total()["state_update"]}


class ActivationSparsity(_Mean):
    """Share of activations that are zero: neurons that do not fire, over all steps, and zeros behind activations that
    are modules.
    """

    def measure(self, inference: Inference) -> dict[str, float]:
        """One number."""
        return {"sparsity": inference.silent / inference.activations if inference.activations else 0.0}


STATIC = (Footprint, ParameterCount, ConnectionSparsity)
"""Metrics of the model alone; the first two are NeuroBench's."""

WORKLOAD = (ActivationSparsity, SynapticOperations, MembraneUpdates)
"""Metrics of an inference."""


def run(
    model: nn.Module,
    x: Tensor,
    edge_index: Tensor,
    edge_weight: Tensor | None = None,
    workload: tuple[type, ...] = WORKLOAD,
) -> dict[str, Any]:
    """NeuroBench's metrics of one inference over a graph, by its harness.

    Args:
        model: any; set to evaluation mode.
        x: node features ``[N, F]``; a sparse tensor is made dense, which the counts do not see.
        edge_index: ``[2, E]``.
        edge_weight: ``[E]``.
        workload: classes of metrics.

    Returns:
        ``Footprint`` in bytes, ``ParameterCount``, ``ConnectionSparsity``, ``ActivationSparsity``, ``MembraneUpdates``,
        and ``SynapticOperations`` with ``Effective_MACs``, ``Effective_ACs`` and ``Dense``.
    """
    features = x if x.layout == torch.strided else x.to_dense()
    samples = DataLoader(TensorDataset(features[None], torch.zeros(1)))
    wrapped = GraphModel(model, edge_index, edge_weight)
    return Benchmark(wrapped, samples, [], [], [list(STATIC), list(workload)]).run(quiet=True)
