"""Gradient rules: each a value that owns the loop over layers and time. One file a rule."""

from msg.gradients.checkpointed_bptt import CheckpointedBPTT
from msg.gradients.dvm import DvM
from msg.gradients.ottt import OTTT
from msg.gradients.rate_backprop import RateBackprop
from msg.gradients.rule import Activity, GradientRule
from msg.gradients.schedule import Schedule
from msg.gradients.surrogate_bptt import SurrogateBPTT

__all__ = [
    "OTTT",
    "Activity",
    "CheckpointedBPTT",
    "DvM",
    "GradientRule",
    "RateBackprop",
    "Schedule",
    "SurrogateBPTT",
]
