"""Energy of an inference: everything a model does is counted, alike for all models, and priced by named tables."""

from msg.energy.break_even import BreakEven, BreakEvenMap, break_even, break_even_map
from msg.energy.candidate import Candidate
from msg.energy.comparison import Comparison, compare
from msg.energy.costs import (
    HOROWITZ_45NM_FP16,
    HOROWITZ_45NM_FP32,
    HOROWITZ_45NM_INT8,
    LOIHI,
    MEMORY_MODELS,
    MSG_AS_PUBLISHED,
    SRAM_45NM,
    SRAM_45NM_LEMAIRE,
    SRAM_45NM_REGISTERS,
    CostTable,
    MemoryTable,
    PublishedMSG,
    cost_tables,
)
from msg.energy.counter import count
from msg.energy.counts import CONVENTIONS, EVENTS, OPERATIONS, TRAFFIC, Convention, Count, Firing, Operations
from msg.energy.deployment import Disagreement, disagreement, tangent_readout
from msg.energy.front import pareto_front
from msg.energy.measurement import Measurement, Meter, Nvml, Rapl, measure
from msg.energy.modules import rule
from msg.energy.report import Report, parts_mj, report
from msg.energy.sensitivity import Assumption, Conclusion, Sensitivity, assumptions, sensitivity

__all__ = [
    "CONVENTIONS",
    "EVENTS",
    "HOROWITZ_45NM_FP16",
    "HOROWITZ_45NM_FP32",
    "HOROWITZ_45NM_INT8",
    "LOIHI",
    "MEMORY_MODELS",
    "MSG_AS_PUBLISHED",
    "OPERATIONS",
    "SRAM_45NM",
    "SRAM_45NM_LEMAIRE",
    "SRAM_45NM_REGISTERS",
    "TRAFFIC",
    "Assumption",
    "BreakEven",
    "BreakEvenMap",
    "Candidate",
    "Comparison",
    "Conclusion",
    "Convention",
    "CostTable",
    "Count",
    "Disagreement",
    "Firing",
    "Measurement",
    "MemoryTable",
    "Meter",
    "Nvml",
    "Operations",
    "PublishedMSG",
    "Rapl",
    "Report",
    "Sensitivity",
    "assumptions",
    "break_even",
    "break_even_map",
    "compare",
    "cost_tables",
    "count",
    "disagreement",
    "measure",
    "pareto_front",
    "parts_mj",
    "report",
    "rule",
    "sensitivity",
    "tangent_readout",
]
