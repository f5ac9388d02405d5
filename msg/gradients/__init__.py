"""Gradient rules: each a value that owns the loop over layers and time. One file a rule."""

from msg.gradients.dvm import DvM
from msg.gradients.rule import Activity, GradientRule
from msg.gradients.sparse_attentive_backtracking import Recall, SparseAttentiveBacktracking
from msg.gradients.surrogate_bptt import SurrogateBPTT

__all__ = ["Activity", "DvM", "GradientRule", "Recall", "SparseAttentiveBacktracking", "SurrogateBPTT"]
