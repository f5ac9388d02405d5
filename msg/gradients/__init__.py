"""Gradient rules: each a value that owns the loop over layers and time. One file a rule."""

from msg.gradients.dvm import DvM
from msg.gradients.equilibrium_propagation import (
    EquilibriumPropagation,
    Updates,
    equilibrium_updates,
    relative_rmse,
)
from msg.gradients.rule import Activity, GradientRule
from msg.gradients.settling import Equilibrium, SettlingRule, SettlingSystem
from msg.gradients.settling_bptt import SettlingBPTT
from msg.gradients.surrogate_bptt import SurrogateBPTT

__all__ = [
    "Activity",
    "DvM",
    "Equilibrium",
    "EquilibriumPropagation",
    "GradientRule",
    "SettlingBPTT",
    "SettlingRule",
    "SettlingSystem",
    "SurrogateBPTT",
    "Updates",
    "equilibrium_updates",
    "relative_rmse",
]
