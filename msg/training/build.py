"""From a configuration to the objects it names."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN

from msg.datasets import apply_split, link_split, load_graph, top_features
from msg.gradients import GradientRule
from msg.manifolds import resolve
from msg.neurons import Neuron
from msg.nn import MSG, FermiDirac, SpikingGNN
from msg.training.config import GRADIENTS, NEURONS, NODES, SURROGATES, RunConfig
from msg.training.loop import Budget
from msg.training.tasks import LinkPrediction, NodeClassification, Task, inner_product

Build = Callable[[RunConfig, int, int], nn.Module]
"""From a configuration, the number of features and that of classes to a freshly initialised model."""


def build_model(config: RunConfig, in_channels: int, num_classes: int) -> MSG | SpikingGNN:
    """The spiking network of a configuration, freshly initialised; without classes for link prediction.

    Args:
        config: of the run.
        in_channels: number of features.
        num_classes: number of classes.
    """
    shared = {
        "num_layers": config.layers,
        "timesteps": config.timesteps,
        "neuron": build_neuron(config),
        "gradient": build_gradient(config),
        "dropout": config.dropout,
        "conv": config.conv,
        "bias": config.bias,
    }
    if config.manifold is None:
        return SpikingGNN(in_channels, num_classes, hidden_channels=config.hidden or 0, **shared)
    assert config.step_size is not None
    return MSG(
        in_channels,
        num_classes if config.task == NODES else None,
        manifold=config.manifold,
        step_size=config.step_size,
        max_step=config.max_step or None,
        **shared,
    )


def build_gradient(config: RunConfig) -> GradientRule:
    """The gradient rule of a configuration."""
    rule = GRADIENTS[str(config.gradient)]
    options: dict[str, Any] = {} if config.surrogate is None else {"surrogate": SURROGATES[config.surrogate]()}
    if config.detach_reset is not None:
        options["detach_reset"] = config.detach_reset
    return rule(**options)


def build_baseline(config: RunConfig, in_channels: int, num_classes: int) -> GCN:
    """A GCN of the same width and depth: ``layers + 1`` convolutions, hidden width the manifold's dimension."""
    width = config.hidden if config.manifold is None else resolve(config.manifold)[1]
    assert width is not None
    out_channels = num_classes if config.task == NODES else width
    # cached, as the spiking network's adjacency is, so that times compare the models
    return GCN(in_channels, width, config.layers + 1, out_channels, dropout=config.dropout, cached=True)


def load_data(config: RunConfig) -> Data:
    """The graph of a run, with the first seed's node split.

    Raises:
        ValueError: for a graph or split that does not exist.
        DatasetError: for missing or damaged files.
    """
    split = config.split if config.task == NODES else None
    data = load_graph(config.dataset, config.root, split, config.seeds[0], config.features)
    return data.to(config.device)


def split_data(data: Data, seed: int) -> Data:
    """The same graph with another seed's node split; a given split is the same for all seeds."""
    drawn = data.split.startswith(("random:", "per-class:"))
    return apply_split(data, data.split, seed).to(data["edge_index"].device) if drawn else data


def build_task(config: RunConfig, data: Data, model: nn.Module, seed: int) -> Task:
    """The task of a run for one model; links are decoded by distance on a manifold, else by inner product.

    Args:
        config: of the run.
        data: from :func:`load_data`.
        model: whose output the task decodes.
        seed: of the link split and training negatives.

    Raises:
        ValueError: if the data do not allow it.
    """
    if config.task == NODES:
        return NodeClassification(data, config.sparsity)
    decoder = FermiDirac(model.manifold) if isinstance(model, MSG) else inner_product
    split = link_split(data, config.split or "", seed)
    return LinkPrediction(type(split)(*(part.to(config.device) for part in split)), decoder, seed)


def prepare(config: RunConfig, data: Data, seed: int, build: Build = build_model) -> tuple[nn.Module, Task]:
    """A seed's model, freshly initialised, and its task; seeds torch's generators, so that all that follows is its own.

    Args:
        config: of the run.
        data: from :func:`load_data`.
        seed: of split and initialisation.
        build: makes the model.

    Raises:
        ValueError: if configuration and data do not fit together.
    """
    drawn = split_data(data, seed)
    if config.top_features is not None:
        drawn = top_features(drawn, config.top_features)
    torch.manual_seed(seed)
    model = build(config, drawn["x"].size(1), data.num_classes).to(config.device)
    return model, build_task(config, drawn, model, seed)


def own_random_state(config: RunConfig):
    """A context that leaves torch's generators as it found them."""
    device = torch.device(config.device)
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def build_budget(config: RunConfig) -> Budget:
    """What a training of a configuration may spend."""
    return Budget(config.epochs, config.lr, config.weight_decay, config.patience)


def build_neuron(config: RunConfig) -> Neuron:
    """The neuron of a configuration."""
    leak = {} if config.tau is None else {"tau": config.tau}
    return NEURONS[config.neuron](threshold=config.threshold, reset=config.reset, **leak)  # pyright: ignore
