import json
import re

import pytest

from msg.experiments import Comparison, Row, RulesStudy, RunConfig
from msg.report.figures import to_png


def row(rule, timesteps, memory=None, seconds=0.5):
    value = {"per_seed": [0.5, 0.7], "mean": 0.6, "std": 0.1414}
    return Row(rule, timesteps, value, value, [3, 2], [0.1], [None, 1.0], [0.25, 1.0], memory, seconds)


def comparison(rows, **options):
    study = RulesStudy(RunConfig("karate", layers=2, seeds=(0, 1)), **options)
    of_the_graph = "karate", "abc", "public", "accuracy"
    return Comparison(study.as_dict(), study.command_line(), *of_the_graph, tuple(rows), {"torch": "2.6", "msg": "1"})


def test_one_run_for_every_rule_and_timesteps():
    config = RulesStudy(RunConfig("karate", lr=0.3), ("dvm", "bptt"), (4, 8), surrogate="triangle")
    runs = config.runs()
    assert [(run.gradient, run.timesteps, run.surrogate) for run in runs] == [
        ("dvm", 4, None), ("dvm", 8, None), ("bptt", 4, "triangle"), ("bptt", 8, "triangle"),
    ]  # fmt: skip
    rule = {"gradient", "timesteps", "surrogate", "detach_reset"}
    shared = [{name: value for name, value in run.as_dict().items() if name not in rule} for run in runs]
    assert all(options == shared[0] for options in shared)
    assert RulesStudy.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_the_bases_own_rule_does_not_matter():
    one = RulesStudy(RunConfig("karate", gradient="bptt", timesteps=3))
    assert one == RulesStudy(RunConfig("karate", gradient="dvm", timesteps=7, baseline="none"))


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        ({}, {"rules": ("dvm", "magic")}, "unknown gradient 'magic': use 'dvm', .*'bptt'"),
        ({}, {"rules": ()}, "rules must be different values, at least one"),
        ({}, {"timesteps": (4, 4)}, "timesteps must be different values"),
        ({}, {"timesteps": (4, 0)}, "timesteps must be a whole number of at least 1"),
        ({}, {"surrogate": "step", "rules": ("dvm",)}, "unknown surrogate 'step': use 'atan'"),
        ({"model": "spiking-gnn"}, {"rules": ("bptt", "dvm")}, "'dvm' contradicts model='spiking-gnn'"),
        ({"neuron": "plif", "gradient": "bptt"}, {"rules": ("bptt", "dvm")}, "contradicts gradient='dvm'"),
    ],
)
def test_contradictions_are_refused(base, options, message):
    with pytest.raises(ValueError, match=message):
        RulesStudy(RunConfig("karate", **base), **options)


def test_command_says_all_that_is_not_a_default():
    base = RunConfig("my graph.npz", root="data", bias=False, conv="gin", seeds=(1, 3), max_step=0.0)
    words = RulesStudy(base, ("dvm",), (4,), memory=False).command_line()
    for expected in ("--dataset 'my graph.npz'", "--root data", "--no-bias", "--conv gin", "--seeds 1,3"):
        assert expected in words
    for expected in ("--rules dvm", "--timesteps 4", "--max-step 0.0", "--surrogate atan", "--no-memory"):
        assert expected in words
    for default in ("--epochs", "--lr", "--gradient", "--baseline", "--split", "--manifold"):
        assert default not in words


def test_table_and_markdown():
    rows = [row("dvm", 8, 30.0, 0.25), row("dvm", 4, 20.0, 0.125), row("bptt", 8), row("bptt", 4)]
    found = comparison(rows, timesteps=(8, 4))
    cells = [list(line.values()) for line in found.table()]
    assert all(line.keys() == found.table()[0].keys() for line in found.table())
    assert cells[0] == [
        "dvm", "8", "60.00 ± 14.14", "60.00 ± 14.14", "0.2500", "30.0", "1.50", "– 1.00", "0.25 1.00", "0.100",
    ]  # fmt: skip
    assert cells[2][5:7] == ["–", "–"]
    assert [found.memory_ratio(one) for one in found.rows] == [1.5, 1.0, None, None]
    text = found.markdown()
    assert found.command in text
    assert (
        len(re.findall(r"^\| dvm +\|", text, re.MULTILINE)) == len(re.findall(r"^\| bptt +\|", text, re.MULTILINE)) == 2
    )
    assert "over 2 seeds" in text
    assert max(map(len, str(found).splitlines())) <= 100


def test_content_can_be_json():
    content = json.loads(json.dumps(comparison([row("dvm", 5, 20.0)]).as_dict(), allow_nan=False))
    assert content["rows"][0]["memory_ratio"] == 1.0
    assert content["versions"] == {"torch": "2.6", "msg": "1"}
    assert RulesStudy.from_dict(content["config"]).rules == ("dvm", "bptt")


def colours(figure):
    return {container.get_label(): container[0].get_color() for container in figure.axes[0].containers}


def panel(figure, title):
    return next(axes for axes in figure.axes if axes.get_title() == title)


def drawn(rules, memory, cosine=0.5):
    value = {"per_seed": [0.6], "mean": 0.6, "std": 0.0}
    rows = [
        Row(rule, t, value, value, [1], [0.1], [None, 1.0], [cosine, 1.0], memory, 0.01 * t)
        for rule in rules
        for t in (8, 4)
    ]
    return comparison(rows, rules=rules, timesteps=(8, 4)).figure()


def test_panels_and_lines(rendered):
    figure = drawn(("dvm", "bptt"), 100.0, cosine=-0.5)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["test accuracy, mean ± std", "time", "memory", "layer 0", "layer 1"]
    assert panel(figure, "time").containers[0][0].get_ydata() == pytest.approx([0.04, 0.08])
    assert panel(figure, "memory").get_visible()
    assert panel(figure, "layer 0").get_ylim()[0] < -0.5
    assert to_png(figure).startswith(b"\x89PNG")


def test_what_was_not_measured_is_left_out(rendered):
    figure = drawn(("dvm",), None)
    assert not panel(figure, "memory").get_visible()
    dotted = panel(figure, "layer 0").containers[0][0]
    assert len(dotted.get_xdata()) == 0
    assert len(to_png(figure)) > 10_000


def test_a_rule_keeps_its_colour():
    both = colours(drawn(("bptt", "dvm"), 1.0))
    assert colours(drawn(("dvm",), 1.0)).items() <= both.items()
    assert len(set(both.values())) == 2
