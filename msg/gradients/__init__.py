"""Gradient rules: each a value that owns the loop over layers and time. One file a rule."""

from torch.serialization import add_safe_globals

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
from msg.gradients.rule import (
    Activity,
    FeedForwardRule,
    GradientRule,
    Online,
    Recall,
    RecurrentRule,
    RuleLike,
    resolve_rule,
)
from msg.gradients.schedule import Schedule
from msg.gradients.settling import Equilibrium, SettlingRule, SettlingSystem, settle
from msg.gradients.settling_bptt import SettlingBPTT
from msg.gradients.sparse_attentive_backtracking import SparseAttentiveBacktracking
from msg.gradients.surrogate_bptt import SurrogateBPTT, SurrogateRule, resolve_step_rule

__all__ = [
    "OTTT",
    "Activity",
    "CheckpointedBPTT",
    "DvM",
    "Equilibrium",
    "EquilibriumPropagation",
    "FeedForwardRule",
    "GradientRule",
    "Online",
    "RateBackprop",
    "Recall",
    "RecurrentRule",
    "RuleLike",
    "Schedule",
    "SettlingBPTT",
    "SettlingRule",
    "SettlingSystem",
    "SparseAttentiveBacktracking",
    "SurrogateBPTT",
    "SurrogateRule",
    "Updates",
    "equilibrium_updates",
    "relative_rmse",
    "resolve_rule",
    "resolve_step_rule",
    "settle",
]

# as neurons, see msg.neurons
add_safe_globals(
    [
        *(CheckpointedBPTT, DvM, EquilibriumPropagation, OTTT, RateBackprop, SettlingBPTT, SurrogateBPTT),
        SparseAttentiveBacktracking,
    ]
)
