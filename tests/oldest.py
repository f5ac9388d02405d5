"""Prints the oldest releases that ``pyproject.toml`` allows, as constraints for pip; for ``make test-oldest``.

Of packages that only tests need, the newest will do.
"""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
needed = [*project["dependencies"], *project["optional-dependencies"]["fast"]]
print(*(one.replace(">=", "==") for one in needed), sep="\n")
