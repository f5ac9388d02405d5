"""The recipes are those that ``benchmarks/bench_defaults.py`` chose."""

import importlib.util
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from msg.experiments import RunConfig
from msg.experiments.recipes import RECIPES

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def chosen():
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("bench_defaults", FOLDER / "bench_defaults.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("kept", None)
    return module.SETTINGS


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_the_setting_that_was_searched(name, chosen):
    ours, searched = (asdict(RunConfig().with_options(**options)) for options in (RECIPES[name], chosen[name]))
    assert ours == searched
