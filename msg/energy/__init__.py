"""Energy of an inference: operations counted alike for all models, priced by named tables."""

from msg.energy.costs import HOROWITZ_45NM_FP32, CostTable
from msg.energy.estimate import estimate
from msg.energy.operations import EnergyEstimate

__all__ = ["HOROWITZ_45NM_FP32", "CostTable", "EnergyEstimate", "estimate"]
