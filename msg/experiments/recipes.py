"""Recipes: settings that ``msg train`` chooses from where none is given, since no single one is best on every graph.

Imports no torch.
"""

import re
from collections.abc import Mapping
from typing import Any

from msg.experiments.config import NODES, RunConfig
from msg.experiments.options import MODEL, TRAINING, fields_of

_ON_NORMALISED: Mapping[str, Any] = {
    "conv": "gcn",
    "timesteps": 15,
    "threshold": 1.0,
    "normalize_features": True,
    "input_dropout": 0.5,
}
"""As two-layer GCNs are trained on bags of words."""

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "deep": {"layers": 3, "timesteps": 15, "threshold": 1.0, "dropout": 0.0, "weight_decay": 0.0},
    "sage": {},
    "gcn": {"conv": "gcn", "manifold": "H64"},
    "propagated": {**_ON_NORMALISED, "step_size": 1.0, "dropout": 0.0, "propagate": 10},
    "consistent": {**_ON_NORMALISED, "classifier": "fixed", "input_dropout": 0.7, "consistency": 1.0},
}
"""Options of :class:`RunConfig` by name, all others with their defaults.

``sage`` is MSG with the defaults alone, ``gcn`` with GCN synapses and twice as wide; two have GCN synapses on
normalised features, of which some are dropped: ``propagated`` has predictions propagated over ten hops, ``consistent``
classes read out along fixed directions and two views of the graph in each update, which are to agree; ``deep`` has
three SAGE synapses, more steps, and nothing that regularises. ``benchmarks/bench_defaults.py`` chose them.
"""

_FREE = ("epochs", "patience", "baseline")
"""Options of a training that say nothing of what is trained."""


def settings() -> set[str]:
    """Names of the options that a recipe may give: of model and training, and the scale of features."""
    of_both = {name for name, field in fields_of(RunConfig).items() if field.option.panel in (MODEL, TRAINING)}
    return of_both - {*_FREE} | {"normalize_features"}


def leaves_open(given: Mapping[str, Any]) -> bool:
    """Whether options leave the choice of model and training open: of classes of nodes, with none of theirs.

    Args:
        given: options of :class:`RunConfig` that are given, and others, which do not matter.
    """
    return settings().isdisjoint(given) and given.get("task", NODES) == NODES


def check_recipes(recipes: Any) -> None:
    """Refuse what is no options by name.

    Raises:
        ValueError: for names that are none of a file, and options that are not of model and training.
    """
    if not isinstance(recipes, Mapping) or not all(isinstance(one, Mapping) for one in recipes.values()):
        raise ValueError("recipes must be options by name, such as {'wide': {'manifold': 'H64'}}")
    known = settings()
    for name, options in recipes.items():
        if not isinstance(name, str) or not re.fullmatch("[A-Za-z0-9_-]{1,40}", name):
            raise ValueError(f"a recipe is called by letters, digits, - and _ (40 at most), not {name!r}")
        if other := [key for key in options if key not in known]:
            raise ValueError(f"recipe {name} gives {other[0]!r}, which is no option of model or training: leave it out")


def came_of(config: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Whether a run's configuration is one that its recipes could lead to, both as they are kept in files.

    Args:
        config: of the run.
        options: of the study that chose it: those of all recipes, and the recipes.

    Raises:
        ValueError: as :func:`check_recipes`.
    """
    recipes, open_to_recipes = options.get("recipes"), {*settings(), "recipes"}
    check_recipes(recipes)
    given = {name: value for name, value in options.items() if name not in open_to_recipes}
    wanted = [{**given, **recipe} for recipe in recipes.values()]  # pyright: ignore[reportOptionalMemberAccess]
    return any(all(name in config and config[name] == value for name, value in one.items()) for one in wanted)
