"""Training of one model on one task: :func:`~msg.training.fit`, what it minimises and measures, and what it sees."""

from msg.training.alignment import gradient_alignment
from msg.training.augmentation import Augmentation
from msg.training.batches import Batch, MiniBatches
from msg.training.build import (
    add_structural_decoder,
    add_tangent_decoder,
    decoder_of,
    draw_split,
    link_prediction,
    own_random_state,
)
from msg.training.classification import GraphClassification, NodeClassification
from msg.training.consistency import Consistency
from msg.training.distortion import Distortion, distortion
from msg.training.energy import count_inference
from msg.training.loop import Budget, Epoch, Fit, Training, fit, load_weights
from msg.training.memory import peak_memory
from msg.training.observation import Observation, Seen, manifold_of, observe, observe_by_layers, watching
from msg.training.partitioned import PartitionedNodes
from msg.training.tasks import (
    Evaluation,
    LinkPrediction,
    Task,
    firing,
    graphs_of,
    inner_product,
    mean_reciprocal_rank,
    measure_fully,
)

__all__ = [
    "Augmentation",
    "Batch",
    "Budget",
    "Consistency",
    "Distortion",
    "Epoch",
    "Evaluation",
    "Fit",
    "GraphClassification",
    "LinkPrediction",
    "MiniBatches",
    "NodeClassification",
    "Observation",
    "PartitionedNodes",
    "Seen",
    "Task",
    "Training",
    "add_structural_decoder",
    "add_tangent_decoder",
    "count_inference",
    "decoder_of",
    "distortion",
    "draw_split",
    "firing",
    "fit",
    "gradient_alignment",
    "graphs_of",
    "inner_product",
    "link_prediction",
    "load_weights",
    "manifold_of",
    "mean_reciprocal_rank",
    "measure_fully",
    "observe",
    "observe_by_layers",
    "own_random_state",
    "peak_memory",
    "watching",
]
