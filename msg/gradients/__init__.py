"""Gradient rules: each a value that owns the loop over layers and time. One file a rule."""

from msg.gradients.checkpointed_bptt import CheckpointedBPTT
from msg.gradients.dvm import DvM
from msg.gradients.equilibrium_propagation import (
    EquilibriumPropagation,
    Updates,
    equilibrium_updates,
    relative_rmse,
)
from msg.gradients.ottt import OTTT
from msg.gradients.rate_backprop import RateBackprop
from msg.gradients.rule import Activity, GradientRule
from msg.gradients.schedule import Schedule
from msg.gradients.settling import Equilibrium, SettlingRule, SettlingSystem
from msg.gradients.settling_bptt import SettlingBPTT
from msg.gradients.sparse_attentive_backtracking import Recall, SparseAttentiveBacktracking
from msg.gradients.surrogate_bptt import SurrogateBPTT

__all__ = [
    "OTTT",
    "Activity",
    "CheckpointedBPTT",
    "DvM",
    "Equilibrium",
    "EquilibriumPropagation",
    "GradientRule",
    "RateBackprop",
    "Recall",
    "Schedule",
    "SettlingBPTT",
    "SettlingRule",
    "SettlingSystem",
    "SparseAttentiveBacktracking",
    "SurrogateBPTT",
    "Updates",
    "equilibrium_updates",
    "relative_rmse",
]
