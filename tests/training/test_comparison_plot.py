import pytest

from msg.training import Comparison, ComparisonConfig, Row, RunConfig
from msg.training.comparison_plot import draw_comparison
from msg.training.plots import to_png


def comparison(rules, memory, cosine=0.5):
    value = {"per_seed": [0.6], "mean": 0.6, "std": 0.0}
    rows = [
        Row(rule, t, value, value, [1], [0.1], [None, 1.0], [cosine, 1.0], memory, 0.01 * t)
        for rule in rules
        for t in (8, 4)
    ]
    config = ComparisonConfig(RunConfig("karate", layers=1), rules, (8, 4))
    return Comparison(config, "karate", "abc", "public", "accuracy", tuple(rows))


def colours(figure):
    return {container.get_label(): container[0].get_color() for container in figure.axes[0].containers}


def panel(figure, title):
    return next(axes for axes in figure.axes if axes.get_title() == title)


def test_panels_and_lines():
    figure = draw_comparison(comparison(("dvm", "bptt"), 100.0, cosine=-0.5))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["test accuracy, mean ± std", "time", "memory", "layer 0", "layer 1"]
    assert panel(figure, "time").containers[0][0].get_ydata() == pytest.approx([0.04, 0.08])
    assert panel(figure, "memory").get_visible()
    assert panel(figure, "layer 0").get_ylim()[0] < -0.5
    assert to_png(figure).startswith(b"\x89PNG")


def test_what_was_not_measured_is_left_out():
    figure = draw_comparison(comparison(("dvm",), None))
    assert not panel(figure, "memory").get_visible()
    dotted = panel(figure, "layer 0").containers[0][0]
    assert len(dotted.get_xdata()) == 0
    assert len(to_png(figure)) > 10_000


def test_a_rule_keeps_its_colour():
    both = colours(draw_comparison(comparison(("bptt", "dvm"), 1.0)))
    assert colours(draw_comparison(comparison(("dvm",), 1.0))).items() <= both.items()
    assert len(set(both.values())) == 2
