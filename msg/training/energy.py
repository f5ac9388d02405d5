"""Energy of trained models: of a run's, or of several trained under one budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch_geometric.nn import GAT

from msg.energy import Candidate, Comparison, Operations, compare, count
from msg.manifolds import resolve
from msg.nn import SpikingGCN
from msg.training.baselines import SAGE, SGC
from msg.training.build import (
    build_baseline,
    build_model,
    build_neuron,
    load_data,
    own_random_state,
    prepare,
)
from msg.training.config import MSG_MODEL, NODES, RunConfig
from msg.training.folder import RunFolder
from msg.training.loop import Budget, fit
from msg.training.tasks import Task

MODELS = ("gcn", "sgc", "sage", "gat", "spikinggcn", "msg")
"""Models that :func:`compare_models` knows."""


def count_inference(model: nn.Module, task: Task) -> Operations:
    """Count one inference over the graph of a task, in evaluation mode and without gradient."""
    model.eval()
    with torch.no_grad(), count(model) as ops:
        model(task.x, task.edge_index)
    return ops


def build_named(name: str, config: RunConfig, in_channels: int, num_classes: int) -> nn.Module:
    """A model by name, of the same width and depth as the ``msg`` of a configuration.

    GCN, SAGE and GAT have ``layers + 1`` convolutions, SGC and SpikingGCN propagate ``layers`` hops.

    Raises:
        ValueError: for an unknown name.
    """
    width, hops = resolve(str(config.manifold))[1], config.layers
    if name == "msg":
        return build_model(config, in_channels, num_classes)
    if name == "gcn":
        return build_baseline(config, in_channels, num_classes)
    if name == "sgc":
        return SGC(in_channels, num_classes, hops)
    if name == "sage":
        return SAGE([in_channels, *[width] * hops, num_classes], config.dropout)
    if name == "gat":
        return GAT(in_channels, width, hops + 1, num_classes, dropout=config.dropout)
    if name == "spikinggcn":
        neuron = build_neuron(config)
        return SpikingGCN(in_channels, num_classes, hops, config.timesteps, neuron, dropout=config.dropout)
    raise ValueError(f"unknown model {name!r}: use {', '.join(MODELS)}")


def compare_models(
    models: Sequence[str], config: RunConfig, trained: Callable[[str, int, float], None] | None = None
) -> Comparison:
    """Train several models under the budget of a configuration, and count one inference of each.

    Args:
        models: names out of :data:`MODELS`.
        config: node classification with ``msg``; its seeds decide splits and initialisations.
        trained: told the name, seed and test metric of each model that is trained.

    Raises:
        ValueError: for unknown or repeated names, or a configuration of something else.
        FloatingPointError: if a training diverges.
    """
    if config.task != NODES or config.model != MSG_MODEL:
        raise ValueError("models are compared in node classification, with model='msg' for the spiking one")
    if len(set(models)) < len(models) or not models:
        raise ValueError(f"models must be different names, not {', '.join(models) or 'none'}")
    for name in models:
        if name not in MODELS:
            raise ValueError(f"unknown model {name!r}: use {', '.join(MODELS)}")
    data = load_data(config)
    counted: dict[str, list[Operations]] = {name: [] for name in models}
    metrics: dict[str, list[float]] = {name: [] for name in models}
    metric = "accuracy"
    budget = Budget(config.epochs, config.lr, config.weight_decay, config.patience)
    with own_random_state(config):
        for seed in config.seeds:
            for name in models:
                model, task = prepare(config, data, seed, partial(build_named, name))
                metrics[name].append(fit(model, task, budget).test.metric)
                counted[name].append(count_inference(model, task))
                metric = task.metric
                if trained is not None:
                    trained(name, seed, metrics[name][-1])
    found = [Candidate(name, counted[name], metrics[name]) for name in models]
    return compare(found, title=f"Energy of one inference on {data.name}, mJ", metric=metric)


@dataclass(frozen=True)
class Trained:
    """The model of a run, with what it needs to be run again.

    Attributes:
        model: with the best seed's weights, in evaluation mode.
        task: with the graph it reads.
        ops: what one inference does.
        results: the run's ``results.json``.
    """

    model: nn.Module
    task: Task
    ops: Operations
    results: dict[str, Any]


def load_trained(path: str | Path) -> Trained:
    """The model that a finished run kept, counted on the graph it was trained on, on the CPU.

    Raises:
        FileNotFoundError: if the folder holds no finished run.
        ValueError: if a file in it is damaged.
        DatasetError: for missing or damaged files of the graph.
    """
    folder = RunFolder(path)
    folder.load_config()
    best, results = folder.load_best(), folder.load_results()
    config = RunConfig.from_dict({**best["config"], "device": "cpu"})
    with own_random_state(config):
        model, task = prepare(config, load_data(config), best["seed"])
    model.load_state_dict(best["state_dict"])
    return Trained(model, task, count_inference(model, task), results)
