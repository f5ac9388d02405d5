"""From a configuration to the objects it names."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Data

from msg.datasets import get_card, load_graph, load_graphs, normalize_features, top_features
from msg.datasets.load import DEFAULT_ROOT
from msg.experiments.config import GRAPHS, LINKS, NODES, RunConfig, make_part, parse_fan_out
from msg.models import GraphClassifier, Propagated
from msg.names import MODELS
from msg.report.text import first_line
from msg.training import (
    Augmentation,
    Budget,
    Consistency,
    GraphClassification,
    MiniBatches,
    NodeClassification,
    Task,
    add_structural_decoder,
    add_tangent_decoder,
    draw_split,
    link_prediction,
)


def load_data(config: RunConfig) -> Data:
    """The graph, or the set of graphs, of a run, with the first seed's split of what has classes.

    Raises:
        ValueError: for a graph or split that does not exist.
        DatasetError: for missing or damaged files.
    """
    if config.task == GRAPHS:
        graphs: Any = load_graphs(config.dataset, config.root, config.split, config.seeds[0])
        return graphs.to(config.device)
    split = config.split if config.task == NODES else None
    data = load_graph(config.dataset, config.root, split, config.seeds[0], config.features)
    return data.to(config.device)


def graph_place(config: RunConfig) -> Path | None:
    """The file or folder that a run's graph is read from; ``None`` for one that is drawn."""
    if config.dataset.endswith(".npz"):
        return Path(config.dataset).expanduser()
    return Path(config.root or DEFAULT_ROOT).expanduser() if get_card(config.dataset).files else None


def build_model(config: RunConfig, in_channels: int, num_classes: int) -> nn.Module:
    """The model of a configuration, freshly initialised; without classes for link prediction, pooled for graphs.

    Args:
        config: of the run.
        in_channels: number of features.
        num_classes: number of classes.

    Raises:
        ValueError: for options that the model refuses.
    """
    options = {
        "manifold": config.manifold,
        "hidden_channels": config.hidden,
        "num_layers": config.layers,
        "num_hops": config.hops,
        "timesteps": config.timesteps,
        "neuron": make_part(config, "neuron"),
        "gradient": make_part(config, "gradient"),
        "threshold": config.threshold,
        "tau": config.tau,
        "conv": config.conv,
        "bias": config.bias,
        "step_size": config.step_size,
        "learn_step_size": config.learn_step_size,
        "max_step": config.max_step or None,
        "dropout": config.dropout,
        "heads": config.heads,
        "graph_weight": config.graph_weight,
        "graph_dropout": config.graph_dropout,
        "num_blocks": config.blocks,
        "warm_up": config.warm_up,
        "input_rate": config.input_rate,
        "encoder_epochs": config.encoder_epochs,
        "decoder_channels": config.decoder_channels,
        "margin": config.margin,
        "norm": config.norm,
        "residual": config.residual,
        "jumping": config.jumping,
        "classifier": config.classifier or "linear",
        "learn_curvature": config.learn_curvature,
        "signed": config.signed,
    }
    spec = MODELS[config.model]
    out_channels = num_classes if config.task == NODES else None
    try:
        model = spec.build(in_channels, out_channels, **{name: options[name] for name in spec.reads})
    except (RuntimeError, MemoryError, OverflowError) as error:  # torch's word for what is too large
        raise ValueError(
            f"the model {config.model!r} cannot be built ({first_line(error)}): give it other sizes"
        ) from error
    if config.similarity == "tangent":
        add_tangent_decoder(model)
    if config.decoder == "structural":
        add_structural_decoder(model)
    if config.task == GRAPHS:
        model = GraphClassifier(model, num_classes, str(config.pooling), config.dropout or 0.0)
    # each update has another graph
    if config.task == GRAPHS or config.batch_size is not None or config.drop_edge or config.half_hop:
        uncached(model)
    return Propagated(model, config.propagate, config.teleport) if config.propagate else model


def uncached(model: nn.Module) -> nn.Module:
    """A model whose convolutions, PyG's, would keep the first graph they see, and now read each anew."""
    for module in model.modules():
        if getattr(module, "cached", False) is True:
            module.cached = False  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return model


def build_budget(config: RunConfig) -> Budget:
    """What a training of a configuration may spend."""
    decay = config.weight_decay or 0.0
    return Budget(config.epochs, config.lr, decay, config.patience, config.generations, config.clip_grad)


def draw(config: RunConfig, data: Data, seed: int) -> Data:
    """The graph as one seed sees it: its split, and the features that are read. Arguments are as of :func:`prepare`."""
    drawn = draw_split(data, seed)
    if config.top_features is not None:
        drawn = top_features(drawn, config.top_features)
    return normalize_features(drawn) if config.normalize_features else drawn


def prepare(config: RunConfig, data: Data, seed: int) -> tuple[nn.Module, Task]:
    """A seed's model, freshly initialised, and its task; seeds torch's generators, so that all that follows is its own.

    Args:
        config: of the run.
        data: from :func:`load_data`.
        seed: of split and initialisation.

    Raises:
        ValueError: if configuration and data do not fit together.
    """
    if config.task != LINKS and data.num_classes < 2:
        labels = "all labels are the same" if data.num_classes else "there are no labels"
        raise ValueError(f"{labels} in {config.dataset}, so there is nothing to learn")
    if not data.num_features:
        raise ValueError(
            f"{config.dataset} has no features, which models read: give it some, as "
            "torch_geometric.transforms.OneHotDegree or Constant does"
        )
    drawn = draw(config, data, seed)
    torch.manual_seed(seed)
    model = build_model(config, drawn["x"].size(1), data.num_classes).to(config.device)
    augmentation = Augmentation(config.input_dropout, config.drop_edge, config.half_hop)
    if config.task == GRAPHS:
        assert config.batch_size is not None
        smoothing = config.label_smoothing
        return model, GraphClassification(drawn, config.batch_size, seed, config.sparsity, augmentation, smoothing)
    batches = None
    if config.batch_size is not None:
        batches = MiniBatches(config.batch_size, parse_fan_out(str(config.fan_out)), seed)
    if config.task == NODES:
        smoothing, consistency = config.label_smoothing, Consistency(config.consistency)
        return model, NodeClassification(drawn, config.sparsity, batches, augmentation, smoothing, consistency)
    return model, link_prediction(drawn, config.split or "", model, seed, batches, augmentation)
