"""What is known of a model that has a name: how it is built, and which options it reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

NODES_AND_LINKS = ("node-classification", "link-prediction")
"""What a model of nodes can be trained for."""


@dataclass(frozen=True)
class ModelSpec:
    """A model by name, for ``--model`` and every study.

    Attributes:
        build: ``(in_channels, out_channels, **options) -> model`` with ``model(x, edge_index)``; the options are those
            that the model reads, under these names. Without classes (``out_channels=None``) it embeds nodes, for link
            prediction, and for a :class:`~msg.models.GraphClassifier` about it.
        reads: names of the options that the model reads, out of those that :func:`msg.experiments.build_model` gives,
            such as ``manifold``, ``hidden_channels`` and ``num_layers``.
        defaults: what an option is where the model's own default differs from that of the configuration.
        tasks: what it can be trained for: ``node-classification``, ``link-prediction``, ``graph-classification``.
        about: a line for lists of models.
        batches: whether it can be trained on samples of a graph, a hop for each of ``num_layers`` or ``num_hops``.
        partitions: whether it can be trained by several processes that share a graph.
        own_decoder: whether it scores pairs in its own way, and no other.
        own_loss: whether it minimises something else than the cross-entropy, with which no labels are smoothed.
    """

    build: Callable[..., nn.Module]
    reads: frozenset[str]
    about: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ("node-classification",)
    batches: bool = False
    partitions: bool = False
    own_decoder: bool = False
    own_loss: bool = False

    @property
    def options(self) -> frozenset[str]:
        """What it reads, ``batch_size`` where it can be trained on samples or graphs, ``decoder`` where links can have
        one, ``similarity`` where its points can, ``pooling`` where graphs can have classes, ``label_smoothing`` where
        its loss does.
        """
        graphs = "graph-classification" in self.tasks
        links = "link-prediction" in self.tasks and not self.own_decoder
        further = {
            "batch_size": self.batches or graphs,
            "decoder": links,
            "similarity": links and "manifold" in self.reads,
            "pooling": graphs,
            "label_smoothing": not self.own_loss,
        }
        return self.reads | {name for name, there in further.items() if there}


def embedder(kind: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A builder of a network whose output without classes, an embedding of nodes, is as wide as its hidden layers.

    Args:
        kind: makes the network from ``in_channels``, ``out_channels`` and ``hidden_channels``, all by name.
    """

    def build(in_channels: int, out_channels: int | None, hidden_channels: int, **options: Any) -> nn.Module:
        width = hidden_channels if out_channels is None else out_channels
        return kind(in_channels=in_channels, out_channels=width, hidden_channels=hidden_channels, **options)

    return build
