"""Graphs in every layout, written by what the tests of msg.datasets share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "datasets"))
