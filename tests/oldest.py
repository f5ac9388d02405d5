"""Prints the oldest releases that ``pyproject.toml`` allows, as constraints for pip; for ``make test-oldest``.

    python tests/oldest.py fast,onnx

Those of the extras that are named too. Of packages that only tests need, the newest will do.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = [package for name in sys.argv[1].split(",") for package in project["optional-dependencies"][name]]
print(*(one.replace(">=", "==") for one in [*project["dependencies"], *extras]), sep="\n")
