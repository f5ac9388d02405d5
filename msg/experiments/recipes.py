"""Recipes: settings that ``msg train`` chooses from where none is given, since no single one is best on every graph.

Imports no torch.
"""

from collections.abc import Mapping
from typing import Any

from msg.experiments.config import NODES, RunConfig
from msg.experiments.options import DATA, MODEL, TRAINING, fields_of

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "sage": {},
    "propagated": {
        "conv": "gcn",
        "timesteps": 15,
        "threshold": 1.0,
        "step_size": 1.0,
        "dropout": 0.0,
        "propagate": 10,
        "input_dropout": 0.5,
        "normalize_features": True,
    },
    "plain": {
        "model": "spiking-gnn-conv",
        "conv": "gcn",
        "gradient": "rate",
        "timesteps": 15,
        "threshold": 1.0,
        "normalize_features": True,
    },
    "deep": {"layers": 3, "timesteps": 15, "threshold": 1.0, "dropout": 0.0, "weight_decay": 0.0},
}
"""Options of :class:`RunConfig` by name, all others with their defaults.

``sage`` is MSG with the defaults alone; ``propagated`` MSG with two GCN synapses on normalised features, predictions
propagated over ten hops; ``plain`` a GCN with neurons in place of its ReLU, on normalised features, without a manifold;
``deep`` MSG with three SAGE synapses, more steps, and nothing that regularises. ``benchmarks/bench_defaults.py`` chose
them.
"""

_FREE = ("epochs", "patience", "baseline")
"""Options of a training that say nothing of what is trained."""


def leaves_open(given: Mapping[str, Any]) -> bool:
    """Whether options leave the choice of model and training open: of classes of nodes, with none of theirs.

    Args:
        given: options of :class:`RunConfig` that are given, and others, which do not matter.
    """
    panels = {name: field.option.panel for name, field in fields_of(RunConfig).items()}
    chosen = [name for name in given if panels.get(name) in (MODEL, TRAINING) and name not in _FREE]
    data = [name for name in given if panels.get(name) == DATA]
    return not chosen and "normalize_features" not in data and given.get("task", NODES) == NODES
