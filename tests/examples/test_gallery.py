"""The gallery's scripts run as they stand, here with fewer epochs and steps, and end with a figure."""

import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

SCRIPTS = sorted((Path(__file__).parents[2] / "examples" / "gallery").glob("plot_*.py"))


def cases():
    for path in SCRIPTS:
        marks = [pytest.mark.slow] if path.stem == "plot_gradient_rules" else []  # as long as all others
        yield pytest.param(path, marks=marks, id=path.stem)


@pytest.mark.parametrize("script", list(cases()))
def test_script(script):
    source = script.read_text(encoding="utf-8")
    briefly = re.sub(r"^(EPOCHS|STEPS) = \d+$", r"\1 = 2", source, flags=re.MULTILINE)
    found = {"__name__": "__main__"}
    exec(compile(briefly, str(script), "exec"), found)
    figure = found["figure"]
    assert isinstance(figure, Figure)
    assert all(axes.has_data() for axes in figure.axes)
