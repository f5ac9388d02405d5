"""What one inference of a model on its task does."""

import torch
from torch import nn

from msg.energy import Operations, count
from msg.training.tasks import Task, graphs_of


def count_inference(model: nn.Module, task: Task) -> Operations:
    """Count one inference over the graph, or all graphs, of a task, in evaluation mode and without gradient."""
    model.eval()
    with torch.no_grad(), count(model) as ops:
        model(task.x, task.edge_index, **graphs_of(task))
    return ops
