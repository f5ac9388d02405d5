"""Experiments: what is run, who does it, where it is kept, and what is said of it.

:func:`run` trains a model with every seed, :func:`compare` compares gradient rules, :func:`search` models and their
energy; :func:`resume` goes on with any of them. A :class:`Benchmark` makes a whole table of models and graphs.
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "api": ("compare", "resume", "run", "search"),
    "benchmark": ("Benchmark",),
    "build": ("build_budget", "build_model", "load_data", "prepare"),
    "cells": ("Cell", "Outcome", "Tried"),
    "comparison": ("Comparison", "Row"),
    "config": ("RunConfig", "make_part", "options_table"),
    "executor": ("Executor", "Processes", "Serial"),
    "job": ("Job", "Result", "Slot"),
    "options": ("parse_seeds",),
    "progress": ("Progress",),
    "recipes": ("RECIPES",),
    "scores": ("Scores",),
    "trials": ("Search", "Trial"),
    "store": ("Store",),
    "studies.cell": ("CellStudy",),
    "studies.energy": ("EnergyStudy",),
    "studies.recipes": ("RecipeStudy",),
    "studies.rules": ("RulesStudy",),
    "studies.train": ("TrainStudy",),
    "study": ("Experiment", "Study", "Summary"),
    "tables.table": ("Published", "Table", "TableColumn", "TableRow"),
    "exporting": ("export",),
    "predictions": ("Predictions", "predict"),
    "trained": ("Trained", "load_model", "load_run", "load_trained"),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    # only when it is asked for: the configuration imports no torch, and help must come at once
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
