"""Energy of a model on its graph: of any, or of the one that a run kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from msg.energy import Operations, count
from msg.training.build import load_data, own_random_state, prepare
from msg.training.config import RunConfig
from msg.training.folder import RunFolder
from msg.training.tasks import Task


def count_inference(model: nn.Module, task: Task) -> Operations:
    """Count one inference over the graph of a task, in evaluation mode and without gradient."""
    model.eval()
    with torch.no_grad(), count(model) as ops:
        model(task.x, task.edge_index)
    return ops


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
