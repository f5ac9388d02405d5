"""Training: one model on one task (:func:`fit`), or a whole comparison kept in a folder (:func:`run`)."""

from msg.training.build import build_baseline, build_model, build_task, load_data
from msg.training.config import RunConfig, parse_seeds
from msg.training.energy import MODELS, Trained, compare_models, count_inference, load_trained
from msg.training.loop import Budget, Epoch, Fit, Training, fit
from msg.training.observation import Observation, observe
from msg.training.results import Outcome
from msg.training.runs import Observer, Run, load_model, resume, run
from msg.training.tasks import Evaluation, LinkPrediction, NodeClassification, Task, inner_product

__all__ = [
    "MODELS",
    "Budget",
    "Epoch",
    "Evaluation",
    "Fit",
    "LinkPrediction",
    "NodeClassification",
    "Observation",
    "Observer",
    "Outcome",
    "Run",
    "RunConfig",
    "Task",
    "Trained",
    "Training",
    "build_baseline",
    "build_model",
    "build_task",
    "compare_models",
    "count_inference",
    "fit",
    "inner_product",
    "load_data",
    "load_model",
    "load_trained",
    "observe",
    "parse_seeds",
    "resume",
    "run",
]
