import json

import pytest

from msg.training import Comparison, ComparisonConfig, Row, RunConfig


def row(rule, timesteps, memory=None, seconds=None):
    value = {"per_seed": [0.5, 0.7], "mean": 0.6, "std": 0.1414}
    return Row(rule, timesteps, value, value, [3, 2], [0.1], [None, 1.0], [0.25, 1.0], memory, seconds)


def comparison(rows, **options):
    config = ComparisonConfig(RunConfig("karate", layers=1, seeds=(0, 1)), **options)
    return Comparison(config, "karate", "abc", "public", "accuracy", tuple(rows))


def test_one_run_for_every_rule_and_timesteps():
    config = ComparisonConfig(RunConfig("karate", lr=0.3), ("dvm", "bptt"), (4, 8), surrogate="triangle")
    runs = config.runs()
    assert [(run.gradient, run.timesteps, run.surrogate) for run in runs] == [
        ("dvm", 4, None), ("dvm", 8, None), ("bptt", 4, "triangle"), ("bptt", 8, "triangle"),
    ]  # fmt: skip
    rule = {"gradient", "timesteps", "surrogate", "detach_reset"}
    shared = [{name: value for name, value in run.as_dict().items() if name not in rule} for run in runs]
    assert all(options == shared[0] for options in shared)
    assert ComparisonConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_the_bases_own_rule_does_not_matter():
    one = ComparisonConfig(RunConfig("karate", gradient="bptt", timesteps=3))
    assert one == ComparisonConfig(RunConfig("karate", gradient="dvm", timesteps=7, baseline=False))


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
        ComparisonConfig(RunConfig("karate", **base), **options)


def test_command_says_all_that_is_not_a_default():
    base = RunConfig("my graph.npz", root="data", bias=False, conv="sage", seeds=(1, 3), max_step=0.0)
    words = ComparisonConfig(base, ("dvm",), (4,), memory=False).command()
    for expected in ("--dataset 'my graph.npz'", "--root data", "--no-bias", "--conv sage", "--seeds 1,3"):
        assert expected in words
    for expected in ("--rules dvm", "--timesteps 4", "--max-step 0.0", "--surrogate atan", "--no-memory"):
        assert expected in words
    for default in ("--epochs", "--lr", "--gradient", "--baseline", "--split", "--manifold"):
        assert default not in words


def test_table_and_markdown():
    rows = [row("dvm", 8, 30.0, 0.25), row("dvm", 4, 20.0, 0.125), row("bptt", 8), row("bptt", 4)]
    found = comparison(rows, timesteps=(8, 4))
    header, cells = found.table()
    assert [len(line) for line in cells] == [len(header)] * 4
    assert cells[0] == [
        "dvm", "8", "60.00 ± 14.14", "60.00 ± 14.14", "0.2500", "30.0", "1.50", "– 1.00", "0.25 1.00", "0.100",
    ]  # fmt: skip
    assert cells[2][4:7] == ["–", "–", "–"]
    assert [found.memory_ratio(one) for one in found.rows] == [1.5, 1.0, None, None]
    text = found.to_markdown()
    assert found.config.command() in text
    assert text.count("\n| dvm |") == text.count("\n| bptt |") == 2
    assert "over 2 seeds" in text
    assert not found.finished
    assert comparison([row("dvm", 8, None, 0.1)], rules=("dvm",), timesteps=(8,)).finished


def test_round_trip_through_json():
    found = comparison([row("dvm", 5, 20.0)])
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert Comparison.from_dict(content) == found
    assert {"torch", "msg"} <= set(content["versions"])
    for damaged in ({}, [], {**content, "rows": [{}]}, {**content, "config": None}):
        with pytest.raises(ValueError, match="no comparison"):
            Comparison.from_dict(damaged)
