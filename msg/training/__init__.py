"""Training: one model (:func:`fit`), a run kept in a folder (:func:`run`), or gradient rules (:func:`compare`)."""

from msg.training.alignment import gradient_alignment
from msg.training.build import build_baseline, build_model, build_task, load_data
from msg.training.comparison import Comparison, ComparisonConfig, Row
from msg.training.comparison_runs import ComparisonRun, compare
from msg.training.config import RunConfig, parse_seeds
from msg.training.energy import Trained, count_inference, load_trained
from msg.training.energy_study import MODELS, Study, Trial, compare_models
from msg.training.loop import Budget, Epoch, Fit, Training, fit
from msg.training.memory import peak_memory
from msg.training.observation import Observation, observe
from msg.training.results import Outcome
from msg.training.runs import Observer, Run, load_model, resume, run
from msg.training.tasks import Evaluation, LinkPrediction, NodeClassification, Task, firing, inner_product

__all__ = [
    "MODELS",
    "Budget",
    "Comparison",
    "ComparisonConfig",
    "ComparisonRun",
    "Epoch",
    "Evaluation",
    "Fit",
    "LinkPrediction",
    "NodeClassification",
    "Observation",
    "Observer",
    "Outcome",
    "Row",
    "Run",
    "RunConfig",
    "Study",
    "Task",
    "Trained",
    "Training",
    "Trial",
    "build_baseline",
    "build_model",
    "build_task",
    "compare",
    "compare_models",
    "count_inference",
    "firing",
    "fit",
    "gradient_alignment",
    "inner_product",
    "load_data",
    "load_model",
    "load_trained",
    "observe",
    "parse_seeds",
    "peak_memory",
    "resume",
    "run",
]
