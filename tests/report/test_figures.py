import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from msg.energy import OPERATIONS, TRAFFIC
from msg.report.figures import (
    Curve,
    Line,
    Panel,
    Point,
    boundaries,
    embedding,
    front,
    panels,
    principal_plane,
    stacked_bars,
    to_png,
    training,
)

RANDOM = np.random.default_rng(0)


def curve(label):
    epochs = [1, 2, 3]
    return Curve(label, epochs, [1 / n for n in epochs], [1.1 / n for n in epochs], [0.1, 0.6, 0.5], (2, 0.6))


@pytest.mark.parametrize(("chart", "title"), [("disk", "Poincaré"), ("sphere", "sphere"), ("plane", "principal")])
def test_training(chart, title):
    plane, labels = RANDOM.normal(size=(40, 2)), np.arange(40) % 3
    figure = training([curve("MSG"), curve("GCN"), curve("MSG")], "accuracy", plane, labels, chart)
    assert title in figure.axes[-1].get_title()
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["MSG", "GCN"]
    lines = figure.axes[1].lines
    assert lines[0].get_color() == lines[4].get_color() != lines[2].get_color()
    png = to_png(figure)
    assert png.startswith(b"\x89PNG")
    assert len(png) > 20_000


def test_points_stay_in_the_disk_at_their_radius():
    axes = Figure().add_subplot()
    embedding(axes, np.array([[0.0, 0], [2.0, 0], [0, 9.5]]), np.zeros(3, dtype=int), "disk")
    shown = np.asarray(axes.collections[0].get_offsets())
    assert np.linalg.norm(shown, axis=1).tolist() == pytest.approx([0.0, math.tanh(1.0), math.tanh(4.75)])


def test_many_points_are_thinned():
    axes = Figure().add_subplot()
    embedding(axes, RANDOM.normal(size=(12_001, 2)), np.zeros(12_001, dtype=int))
    assert 2_500 < len(axes.collections[0].get_offsets()) <= 5_000


def test_unknown_chart():
    with pytest.raises(ValueError, match="unknown chart 'torus': use 'plane', 'disk' or 'sphere'"):
        embedding(Figure().add_subplot(), np.zeros((2, 2)), np.zeros(2), "torus")  # pyright: ignore


def test_principal_plane():
    base = RANDOM.normal(size=(50, 2)) * [3.0, 1.0]
    for wide in (5, 600):
        frame = np.linalg.qr(RANDOM.normal(size=(wide, wide)))[0][:, :2]
        plane = principal_plane(base @ frame.T)
        assert np.allclose(plane @ plane.T, base @ base.T)
        assert (plane[:, 0] ** 2).sum() > (plane[:, 1] ** 2).sum()
    assert principal_plane(np.ones((4, 1))).shape == (4, 2)


def test_panels():
    both = [Line("a", [1, 2], [0.5, 0.4], [0.1, 0.1], 0), Line("b", [1, 2], [0.3, -0.5], None, 1, faint=True)]
    empty = Panel("nothing", [Line("a", [], [])])
    figure = panels([Panel("one", both, "y"), empty], [Panel("two", both, top=2.0, zero=True)], "T", "note")
    one, nothing, two = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["one", "nothing", "two"]
    assert one.containers[0][0].get_ydata() == pytest.approx([0.5, 0.4])
    assert one.containers[0][0].get_color() != one.containers[1][0].get_color()
    assert not nothing.get_visible()
    assert two.get_ylim()[0] < -0.5
    assert two.get_ylim()[1] == 2.0
    assert to_png(figure).startswith(b"\x89PNG")


def test_nothing_to_draw_is_an_empty_panel():
    figure = stacked_bars({"none": {"model": {}}})
    assert figure.axes[0].get_title() == "none"
    assert not figure.axes[0].patches


def test_bars_are_stacked():
    axes = stacked_bars({"p": {"a": {"multiply": 1.0, "state": 2.0}, "b": {"multiply": 3.0}}}).axes[0]
    tops = {round(bar.get_y() + bar.get_height(), 6) for bar in axes.patches}
    assert {1.0, 3.0} <= tops
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 3.0


def test_bars_of_panels_compare():
    figure = stacked_bars({"a": {"x": {"multiply": 1.0}}, "b": {"y": {"multiply": 9.0}}}, shared=True)
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert figure.axes[0].get_ylim()[1] > 9


def test_boundaries_are_lines_and_what_is_measured_are_dots():
    axes = boundaries(
        {"a": [(1, 0.5), (2, 0.25)], "a + memory": [(1, 0.0), (2, 0.1)]}, {"layer": (2, 0.3)}, "T", "r"
    ).axes[0]
    line, dashed, dot = axes.lines
    assert (line.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert [list(one.get_ydata()) for one in (line, dashed, dot)] == [[0.5, 0.25], [0.0, 0.1], [0.3]]
    assert [text.get_text() for text in axes.texts] == ["layer"]
    assert axes.get_ylim()[0] == 0


def test_front_ends_ten_below_the_best():
    series = {"a": [Point(1.0, [90.0, 92.0], "narrow"), Point(2.0, [95.0])], "b": [Point(0.1, [20.0], "lost")]}
    axes = front(series, "mJ", "%").axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_ylim()[0] == pytest.approx(85.0)
    assert [label.get_text() for label in axes.get_legend().get_texts()] == ["a", "b"]
    assert [(text.get_text(), text.xy) for text in axes.texts] == [("narrow", (1.0, 91.0))]  # the other is not shown


def test_every_kind_is_drawn():
    """Those that a table or rule of a user's own has as well."""
    kinds = [*OPERATIONS, *TRAFFIC, "mine", "published"]
    axes = stacked_bars({"p": {"a": {kind: 1.0 + number for number, kind in enumerate(kinds)}}}).axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(sum(range(1, len(kinds) + 1)))
