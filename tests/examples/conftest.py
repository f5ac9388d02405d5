"""Examples are scripts, not a package: load one by its file."""

import importlib.util
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[2] / "examples"


def load(name: str):
    """The module of ``examples/<name>.py``, without running its ``main``."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", _FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example(request):
    """The example whose test module asks for it."""
    return load(request.module.__name__.removeprefix("test_"))
