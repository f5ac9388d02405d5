"""Training of one model on one task: :func:`fit`, what it minimises and measures, and what it sees."""

from msg.training.alignment import gradient_alignment
from msg.training.augmentation import Augmentation
from msg.training.batches import Batch, MiniBatches
from msg.training.build import draw_split, link_prediction, own_random_state
from msg.training.energy import count_inference
from msg.training.loop import Budget, Epoch, Fit, Training, fit, load_weights
from msg.training.memory import peak_memory
from msg.training.observation import Observation, Seen, manifold_of, observe, observe_by_layers, watching
from msg.training.partitioned import PartitionedNodes
from msg.training.tasks import (
    Evaluation,
    LinkPrediction,
    NodeClassification,
    Task,
    firing,
    inner_product,
)

__all__ = [
    "Augmentation",
    "Batch",
    "Budget",
    "Epoch",
    "Evaluation",
    "Fit",
    "LinkPrediction",
    "MiniBatches",
    "NodeClassification",
    "Observation",
    "PartitionedNodes",
    "Seen",
    "Task",
    "Training",
    "count_inference",
    "draw_split",
    "firing",
    "fit",
    "gradient_alignment",
    "inner_product",
    "link_prediction",
    "load_weights",
    "manifold_of",
    "observe",
    "observe_by_layers",
    "own_random_state",
    "peak_memory",
    "watching",
]
