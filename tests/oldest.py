"""Prints the oldest releases that ``pyproject.toml`` allows, as constraints for pip; for ``make test-oldest``.

Of packages that only tests need, the newest will do.
"""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
needed = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["fast"]])
print(*(f"{one.name}=={bound.version}" for one in needed for bound in one.specifier), sep="\n")
