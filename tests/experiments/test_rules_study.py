import json

import pytest
import torch

from msg.experiments import Comparison, Experiment, Progress, RulesStudy, compare, load_data, prepare, run
from msg.experiments.files import sealed_json

FILES = ["comparison.json", "comparison.md", "comparison.png", "config.json", "jobs"]


@pytest.fixture
def config(small):
    def make(rules=("dvm", "bptt"), timesteps=(3, 6), memory=False, surrogate="atan", **options):
        # the low threshold lets all layers fire, so that every gradient is there
        defaults = {"epochs": 3, "layers": 3, "threshold": 0.05, "seeds": (0, 1), "dropout": 0.3}
        base = small(**{**defaults, **options})
        return RulesStudy(base, rules, timesteps, surrogate, memory=memory)

    return make


def timeless(comparison):
    """What was found, without what no clock gives twice."""
    content = comparison.as_dict() if isinstance(comparison, Comparison) else comparison
    rows = [{key: value for key, value in row.items() if key != "seconds_per_epoch"} for row in content["rows"]]
    return {**content, "rows": rows}


def test_what_a_comparison_finds_and_leaves(tmp_path, config, lines, rendered):
    state = torch.get_rng_state()
    found = compare(config(), tmp_path / "a" / "b", lines)
    assert torch.equal(state, torch.get_rng_state())
    folder = tmp_path / "a" / "b"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert json.loads((folder / "comparison.json").read_text()) == found.as_dict()
    assert (folder / "comparison.md").read_text() == found.markdown()
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert [(row.rule, row.timesteps) for row in found.rows] == [("dvm", 3), ("dvm", 6), ("bptt", 3), ("bptt", 6)]
    assert len(lines.lines) == 8
    assert "bptt, T=6, seed 1: 3 epochs, best" in lines.lines[-1]
    assert lines.jobs[-1].kind == "timing"
    for row in found.rows:
        assert len(row.val["per_seed"]) == len(row.test["per_seed"]) == len(row.best_epoch) == 2
        assert len(row.cosine_before) == len(row.cosine_after) == 3
        assert len(row.firing_rate) == 2
        assert all(0 < rate <= 1 for rate in row.firing_rate)
        assert row.seconds_per_epoch > 0
        assert row.memory_mb is None
        if row.rule == "bptt":
            assert row.cosine_before == pytest.approx([1.0] * 3)
            assert row.cosine_after == pytest.approx([1.0] * 3)
        else:
            assert -1 < row.cosine_before[0] < 0.999
            assert -1 < row.cosine_after[0] < 0.999
            assert row.cosine_before[-1] == pytest.approx(1.0)


def test_all_rules_start_from_the_same_weights_and_random_numbers(config):
    runs = config().runs()
    data = load_data(runs[0])
    models = []
    for one in runs:
        models.append(prepare(one, data, 1)[0].state_dict())
        models[-1]["next random numbers"] = torch.rand(3)
    for model in models[1:]:
        assert model.keys() == models[0].keys()
        assert all(torch.equal(model[name], value) for name, value in models[0].items())


@pytest.mark.parametrize("rule", ["dvm", "bptt"])
def test_every_training_is_that_of_a_run(tmp_path, config, rule):
    plan = config(rules=(rule,), timesteps=(4,), surrogate="triangle", split="random:30/30/40")
    (row,) = compare(plan, tmp_path / "compared").rows
    results = run(plan.runs()[0], tmp_path / "run")
    for part in ("val", "test"):
        assert getattr(row, part) == results[part]
    assert row.firing_rate == results["firing_rate"]
    assert row.best_epoch == results["best_epoch"]


def test_interrupted_and_resumed_is_as_unbroken(tmp_path, config, interrupt, lines):
    plan = config(timesteps=(4,), checkpoint_every=2)
    whole = compare(plan, tmp_path / "whole")
    ready = Experiment.begin(plan, tmp_path / "broken")
    for stop in (interrupt(jobs=1), interrupt(epochs=3), interrupt(jobs=2)):
        with pytest.raises(KeyboardInterrupt):
            ready.execute(stop)
        assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == ["config.json", "jobs"]
        ready = Experiment.resume(tmp_path / "broken", "rules")
    assert timeless(ready.execute(lines)) == timeless(whole)
    assert [job.name for job in lines.jobs] == ["bptt-4-1", "timing"]
    kept = (tmp_path / "broken" / "comparison.json").read_bytes()
    Experiment.resume(tmp_path / "broken").execute()
    assert (tmp_path / "broken" / "comparison.json").read_bytes() == kept


def test_memory_is_that_of_the_runs_own_training(tmp_path, config, monkeypatch):
    def pretend(begin, one, seed, device):
        epoch = begin(one, seed)()
        return 10.0 * one.timesteps + len(epoch.rates)

    monkeypatch.setattr("msg.experiments.jobs.memory.peak_memory", pretend)
    found = compare(config(memory=True), tmp_path)
    assert [row.memory_mb for row in found.rows] == [32.0, 62.0, 32.0, 62.0]
    assert found.memory_ratio(found.rows[1]) == pytest.approx(62 / 32)


@pytest.mark.parametrize(
    "options",
    [
        {"task": "link-prediction", "split": "link:60/20/20"},
        {"model": "spiking-gnn", "rules": ("bptt",), "neuron": "lif", "hidden": 5},
    ],
)
def test_other_tasks_and_models(tmp_path, config, options):
    if options.get("model") == "spiking-gnn":
        options = {**options, "gradient": "bptt"}
    found = compare(config(timesteps=(3,), **options), tmp_path)
    assert found.metric == ("roc_auc" if "task" in options else "accuracy")
    exact = found.rows[-1].cosine_after
    assert exact == pytest.approx([1.0] * len(exact))


def test_refused_before_anything_is_written(tmp_path, config):
    with pytest.raises(ValueError, match="leaves no node"):
        Experiment.begin(config(split="random:99/1/0"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "comparison.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"already holds a comparison \(comparison.md\)"):
        Experiment.begin(config(), tmp_path)
    with pytest.raises(FileExistsError, match="is a file"):
        Experiment.begin(config(), tmp_path / "comparison.md")


def test_what_cannot_be_resumed(tmp_path, config):
    with pytest.raises(FileNotFoundError, match="holds no comparison"):
        Experiment.resume(tmp_path, "rules")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json cannot be read as JSON"):
        Experiment.resume(tmp_path)
    content = {"study": "rules", "content_hash": "another", "options": config().as_dict(), "threads": 1}
    (tmp_path / "config.json").write_bytes(sealed_json(content))
    with pytest.raises(ValueError, match="no longer the graph that the comparison in"):
        Experiment.resume(tmp_path)


def test_divergence_names_the_rule_and_keeps_what_is_finished(tmp_path, config):
    ready = Experiment.begin(config(features="dense", neuron="lif"), tmp_path)

    class Poison(Progress):
        def finished(self, job, record):
            if record["line"].startswith("dvm, T=3, seed 1"):
                ready.data["x"].fill_(torch.finfo(torch.float32).max)

    with pytest.raises(FloatingPointError, match="dvm, T=6, seed 0: the loss is nan"):
        ready.execute(Poison())
    assert sorted(Experiment.resume(tmp_path).store.results()) == ["dvm-3-0", "dvm-3-1"]
