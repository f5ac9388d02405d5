import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from msg.cli.display import report
from msg.datasets import load_graph
from msg.experiments import Experiment, Progress, Store, TrainStudy, load_model, predict, resume, run
from msg.experiments.files import read_json, sealed_json
from msg.nn import MSG, SpikingGNN

KEYS = {
    "dataset", "content_hash", "task", "split", "metric", "manifold", "gradient", "neuron", "timesteps", "num_layers",
    "seeds", "model", "parameters", "test", "val", "epochs", "best_epoch", "seconds_per_epoch", "firing_rate",
    "max_radius", "energy", "baseline", "config", "versions", "metrics",
}  # fmt: skip
OF_A_MODEL = {
    "model", "parameters", "test", "val", "epochs", "best_epoch", "seconds_per_epoch", "firing_rate", "max_radius",
    "energy", "metrics",
}  # fmt: skip
FILES = ["best.pt", "config.json", "curves.png", "history.csv", "jobs", "results.json"]


def begin(config, out):
    return Experiment.begin(TrainStudy(config), out)


def timeless(results):
    """Results without what no clock gives twice."""
    if isinstance(results, dict):
        return {key: timeless(value) for key, value in results.items() if key != "seconds_per_epoch"}
    return results


def history(folder):
    with (folder / "history.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def test_what_a_run_leaves(tmp_path, small):
    config = small(seeds=(0, 2))
    results = run(config, tmp_path / "a" / "b")
    folder = tmp_path / "a" / "b"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert read_json(folder / "results.json") == results
    assert TrainStudy.from_dict(json.loads((folder / "config.json").read_text())["options"]) == TrainStudy(config)
    assert set(results) == KEYS
    assert set(results["baseline"]) == OF_A_MODEL
    assert (results["dataset"], results["split"], results["metric"]) == ("karate", "public", "accuracy")
    for model in (results, results["baseline"]):
        for part in ("test", "val"):
            values = model[part]["per_seed"]
            assert len(values) == 2
            assert model[part]["mean"] == pytest.approx(np.mean(values))
            assert model[part]["std"] == pytest.approx(np.std(values, ddof=1))
        assert len(model["epochs"]) == len(model["best_epoch"]) == len(model["energy"]["per_seed"]) == 2
        assert model["energy"]["energy_mj"] > 0
        assert model["seconds_per_epoch"] > 0
    assert len(results["firing_rate"]) == 1
    assert results["max_radius"] > 0
    assert results["baseline"]["firing_rate"] == []
    assert results["baseline"]["max_radius"] is None
    assert set(results["versions"]) == {"msg", "python", "torch", "torch_geometric", "geoopt", "numpy", "kernels"}


def test_baseline_has_the_same_width_and_depth(tmp_path, small):
    results = run(small(layers=3, manifold="H3xS2", epochs=2), tmp_path)
    features, width, classes = 34, 5, 4
    expected = (features + 1) * width + (width + 1) * width + (width + 1) * classes
    assert results["baseline"]["parameters"] == expected


def test_history_has_a_row_for_every_epoch(tmp_path, small):
    results = run(small(seeds=(0, 1)), tmp_path)
    rows = history(tmp_path)
    counts = {("MSG", s): n for s, n in enumerate(results["epochs"])}
    counts |= {("GCN", s): n for s, n in enumerate(results["baseline"]["epochs"])}
    for (model, seed), count in counts.items():
        epochs = [int(row["epoch"]) for row in rows if row["model"] == model and int(row["seed"]) == seed]
        assert epochs == list(range(1, count + 1))
    best = max(float(row["val"]) for row in rows if row["model"] == "MSG" and row["seed"] == "1")
    assert best == results["val"]["per_seed"][1]
    assert all(row["radius"] == row["rate_0"] == "" for row in rows if row["model"] == "GCN")


def test_best_weights_can_be_used(tmp_path, small):
    results = run(small(seeds=(0, 1, 2), epochs=20), tmp_path)
    state = torch.load(tmp_path / "best.pt", weights_only=True)
    position = results["seeds"].index(state["seed"])
    assert state["val"] == max(results["val"]["per_seed"]) == results["val"]["per_seed"][position]
    model = load_model(tmp_path / "best.pt")
    assert isinstance(model, MSG)
    assert not model.training
    data = load_graph("karate")
    hits = (model(data.x, data.edge_index).argmax(-1) == data.y)[data.test_mask]
    assert float(hits.double().mean()) == pytest.approx(results["test"]["per_seed"][position])


def test_seeds_reproduce_and_do_not_depend_on_each_other(tmp_path, small):
    options = {"dropout": 0.4, "split": "random:30/30/40"}
    state = torch.get_rng_state()
    both = run(small(seeds=(0, 1), **options), tmp_path / "both")
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(5)
    again = run(small(seeds=(0, 1), **options), tmp_path / "again")
    alone = run(small(seeds=(1,), baseline="none", **options), tmp_path / "alone")
    assert timeless(both) == timeless(again)
    assert history(tmp_path / "both") == history(tmp_path / "again")
    assert alone["test"]["per_seed"] == both["test"]["per_seed"][1:]
    assert alone["baseline"] is None
    assert alone["test"]["std"] == 0


VARIANTS = {
    "nodes": {"dropout": 0.3, "split": "random:30/30/40"},
    "links": {"task": "link-prediction", "manifold": "S4", "split": "link:60/20/20", "dropout": 0.2},
    "spiking-gnn": {"model": "spiking-gnn", "neuron": "plif", "hidden": 5},
    "spikinggcn": {"model": "spikinggcn", "dropout": 0.2},
    "gcn": {"model": "gcn", "timesteps": None, "baseline": "sage"},
    "batches": {"batch_size": 4, "fan_out": "3,2", "dropout": 0.3, "split": "random:30/30/40"},
    "batches of links": {"task": "link-prediction", "manifold": "S4", "split": "link:60/20/20", "batch_size": 16},
    "structural decoder": {"task": "link-prediction", "split": "link:60/20/20", "decoder": "structural"},
    "product": {"manifold": "E1xH2xU2", "gradient": "bptt", "conv": "gin", "max_step": 0.0},
}


# seconds each, and on the same ways as the others
SLOW = ("links", "spiking-gnn", "spikinggcn", "gcn", "batches", "structural decoder", "product")


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in VARIANTS]
)
def test_interrupted_and_resumed_is_as_unbroken(tmp_path, small, variant, interrupt, rendered):
    config = small(seeds=(0, 1), checkpoint_every=3, **VARIANTS[variant])
    whole = run(config, tmp_path / "whole")
    for after in (7, 14, 2):
        begun = (tmp_path / "broken").exists()
        ready = Experiment.resume(tmp_path / "broken") if begun else begin(config, tmp_path / "broken")
        with pytest.raises(KeyboardInterrupt):
            ready.execute(interrupt(after))
        assert not (tmp_path / "broken" / "results.json").exists()
    assert timeless(resume(tmp_path / "broken")) == timeless(whole)
    assert history(tmp_path / "broken") == history(tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == FILES
    assert (tmp_path / "whole" / "curves.png").stat().st_size > 20_000


LONGER = {
    "patience ends one": {"dropout": 0.3, "patience": 6, "lr": 0.05, "baseline": "sgc"},
    "batches": {"batch_size": 4, "fan_out": "3,2", "split": "random:30/30/40"},
    "links": {"task": "link-prediction", "dropout": 0.3, "baseline": "adamic-adar"},
}


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=() if name.startswith("patience") else pytest.mark.slow) for name in LONGER]
)
def test_more_epochs_are_as_if_from_the_start(tmp_path, small, variant, interrupt):
    options = {"seeds": (0, 1), "checkpoint_every": 3, **LONGER[variant]}
    whole = run(small(epochs=14, **options), tmp_path / "whole")
    run(small(epochs=5, **options), tmp_path / "short")
    with pytest.raises(KeyboardInterrupt):
        Experiment.resume(tmp_path / "short", epochs=14).execute(interrupt(epochs=4))
    assert not (tmp_path / "short" / "results.json").exists()
    assert timeless(resume(tmp_path / "short")) == timeless(whole)
    assert history(tmp_path / "short") == history(tmp_path / "whole")
    assert load_model(tmp_path / "short" / "best.pt").state_dict().keys()
    # one that is not finished as well
    with pytest.raises(KeyboardInterrupt):
        run(small(epochs=8, **options), tmp_path / "broken", interrupt(epochs=10))
    assert timeless(resume(tmp_path / "broken", epochs=14)) == timeless(whole)


def test_a_kill_while_more_epochs_are_prepared(tmp_path, small, monkeypatch):
    options = {"epochs": 4, "baseline": "none", "seeds": (0, 1), "dropout": 0.3}
    before = run(small(**options), tmp_path)
    ready = Experiment.resume(tmp_path, epochs=7)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "begin", killed)  # results are states again, but the configuration is the old one
        with pytest.raises(KeyboardInterrupt):
            ready.execute()
    assert timeless(resume(tmp_path)) == timeless(before)
    assert timeless(resume(tmp_path, epochs=7)) == timeless(run(small(**{**options, "epochs": 7}), tmp_path / "whole"))


def test_runs_that_kept_no_state_begin_anew(tmp_path, small, monkeypatch):
    options = {"baseline": "none", "seeds": (0,)}
    jobs = TrainStudy.jobs
    with monkeypatch.context() as patch:
        patch.setattr(TrainStudy, "jobs", lambda self: [replace(j, extras={"keep": True}) for j in jobs(self)])
        run(small(epochs=3, **options), tmp_path / "short")
    told = []

    class Told(Progress):
        def note(self, line):
            told.append(line)

    found = resume(tmp_path / "short", Told(), epochs=5)
    assert told == ["msg-0 kept no state, so it begins anew"]
    assert timeless(found) == timeless(run(small(epochs=5, **options), tmp_path / "whole"))


def test_versions_are_those_that_results_were_made_with(tmp_path, small, interrupt, monkeypatch):
    """Not those of whoever looks at a finished run, and each of several that worked on it."""
    told = []

    class Told(Progress):
        def note(self, line):
            told.append(line)

    def made_with(**now):
        monkeypatch.setattr("msg.experiments.study.versions", lambda: {"msg": "1", "torch": "2.6", **now})

    def kept():
        return [read_json(tmp_path / name)["versions"] for name in ("config.json", "results.json")]

    made_with()
    with pytest.raises(KeyboardInterrupt):
        begin(small(epochs=4, baseline="none"), tmp_path).execute(interrupt(epochs=2))
    made_with(torch="2.9")
    resume(tmp_path, Told())
    assert told == ["begun with torch 2.6, going on with 2.9: the results may differ in rounding"]
    assert kept() == [{"msg": "1", "torch": "2.6, then 2.9"}] * 2
    made_with(torch="3.0")
    resume(tmp_path, Told())
    assert len(told) == 1
    assert kept() == [{"msg": "1", "torch": "2.6, then 2.9"}] * 2
    resume(tmp_path, Told(), epochs=6)
    assert told[1:] == ["begun with torch 2.6, then 2.9, going on with 3.0: the results may differ in rounding"]
    assert kept() == [{"msg": "1", "torch": "2.6, then 2.9, then 3.0"}] * 2


def test_epochs_that_cannot_be_given(tmp_path, small):
    run(small(epochs=3, baseline="none", seeds=(0,)), tmp_path / "r")
    with pytest.raises(ValueError, match="was begun with 3 epochs: give more, not 2"):
        resume(tmp_path / "r", epochs=2)
    assert resume(tmp_path / "r", epochs=3)["epochs"] == [3]
    run(small(epochs=3, baseline="none", seeds=(0,), generations=2), tmp_path / "taught")
    with pytest.raises(ValueError, match="what the first generation taught the next"):
        resume(tmp_path / "taught", epochs=5)


def test_an_experiment_can_be_executed_again_after_an_interrupt(tmp_path, small, interrupt):
    whole = run(small(checkpoint_every=2), tmp_path / "whole")
    broken = begin(small(checkpoint_every=2), tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        broken.execute(interrupt(5))
    assert timeless(broken.execute()) == timeless(whole)


def test_a_finished_run_resumes_to_the_same_results(tmp_path, small):
    assert run(small(), tmp_path) == resume(tmp_path)


def test_link_prediction(tmp_path, small):
    results = run(small(task="link-prediction", epochs=6), tmp_path)
    assert results["metric"] == "roc_auc"
    assert results["split"] == "link:85/5/10"
    assert 0 <= results["test"]["mean"] <= 1
    model = load_model(tmp_path / "best.pt")
    assert isinstance(model, MSG)
    assert model.out_channels is None


def test_all_metrics_of_links_beside_a_heuristic(tmp_path, small):
    options = {"task": "link-prediction", "decoder": "structural", "seeds": (0, 1), "split": "link:60/20/20"}
    results = run(small(baseline="adamic-adar", **options), tmp_path / "r")
    other = results["baseline"]
    assert (other["model"], other["parameters"], other["epochs"]) == ("AdamicAdar", 0, [1, 1])
    for model in (results, other):
        assert list(model["metrics"]) == ["roc_auc", "average_precision", "mrr"]
        assert model["metrics"]["roc_auc"] == {"val": model["val"], "test": model["test"]}
        assert all(0 < value < 1 for value in model["metrics"]["mrr"]["test"]["per_seed"])
    model = load_model(tmp_path / "r" / "best.pt")
    assert model.link_decoder.mlp[2].weight.any()
    text = report(results)
    assert "test average precision, %" in text
    assert "test mean reciprocal rank, %" in text


def test_a_folder_from_before_there_were_several_metrics(tmp_path, small):
    results = run(small(seeds=(0,)), tmp_path / "r")
    path = next((tmp_path / "r" / "jobs").glob("msg-0*.json"))
    kept = read_json(path)
    assert kept["record"].pop("metrics") == {
        "accuracy": {"val": results["val"]["mean"], "test": results["test"]["mean"]}
    }
    path.write_bytes(sealed_json(kept))
    (tmp_path / "r" / "results.json").unlink()
    again = resume(tmp_path / "r")
    assert again["metrics"] == {}
    assert again["test"] == results["test"]


def test_spiking_gnn(tmp_path, small):
    results = run(small(model="spiking-gnn", hidden=6), tmp_path)
    assert results["model"] == "SpikingGNN"
    assert results["manifold"] is None
    assert results["max_radius"] is None
    assert len(results["firing_rate"]) == 2
    assert isinstance(load_model(tmp_path / "best.pt"), SpikingGNN)


def test_own_graph(tmp_path, small):
    generator = np.random.default_rng(0)
    edges = generator.integers(0, 60, (300, 2))
    labels = np.arange(60) % 3
    features = np.eye(3)[labels] + 0.3 * generator.normal(size=(60, 3))
    np.savez(tmp_path / "mine.npz", node_features=features, node_labels=labels, edges=edges)
    results = run(small(dataset=str(tmp_path / "mine.npz"), layers=2, epochs=6), tmp_path / "out")
    assert results["dataset"] == "mine"
    assert results["split"] == "random:60/20/20"
    np.savez(tmp_path / "mine.npz", node_features=features, node_labels=labels, edges=edges[:200])
    with pytest.raises(ValueError, match=r"no longer the graph that the run in .* began with"):
        resume(tmp_path / "out")


def test_a_graph_without_classes_is_one_for_links_and_predictions(tmp_path, small):
    features = np.random.default_rng(0).random((40, 3))
    edges = np.stack([np.arange(39), np.arange(1, 40)], axis=1)

    def graph(name, **changed):
        arrays = {"node_features": features, "edges": edges, "node_labels": np.full(40, -1)} | changed
        np.savez(tmp_path / name, **arrays)
        return str(tmp_path / name)

    unlabelled, labelled = graph("u.npz"), graph("l.npz", node_labels=np.arange(40) % 2)
    assert load_graph(unlabelled).split == "none"
    results = run(small(dataset=unlabelled, task="link-prediction", epochs=2, seeds=(0,)), tmp_path / "links")
    assert 0 <= results["test"]["per_seed"][0] <= 1
    run(small(dataset=labelled, epochs=2, seeds=(0,)), tmp_path / "nodes")
    found, same = (predict(tmp_path / "nodes", dataset=one) for one in (unlabelled, labelled))
    assert np.array_equal(found.columns["probability"], same.columns["probability"])
    for name, changed, message in (
        ("u.npz", {}, "there are no labels in .*u.npz, so there is nothing to learn"),
        ("o.npz", {"node_labels": np.zeros(40, np.int64)}, "all labels are the same in .*o.npz"),
        ("f.npz", {"node_labels": np.arange(40) % 2, "node_features": features[:, :0]}, "f.npz has no features"),
    ):
        with pytest.raises(ValueError, match=message):
            run(small(dataset=graph(name, **changed), epochs=2), tmp_path / "no")
    with pytest.raises(ValueError, match="leaves no node for the train part"):
        run(small(dataset=unlabelled, split="random:60/20/20", epochs=2), tmp_path / "no")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "random:99/1/0"}, "leaves no node"),
        ({"dataset": "atlantis"}, "unknown graph 'atlantis'"),
        ({"task": "link-prediction", "split": "link:85/5/5"}, "must sum to 100"),
    ],
)
def test_nothing_is_written_before_all_is_checked(tmp_path, small, options, message):
    with pytest.raises(ValueError, match=message):
        run(small(**options), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_is_never_overwritten(tmp_path, small):
    run(small(epochs=1), tmp_path)
    with pytest.raises(FileExistsError, match="--resume"):
        run(small(epochs=1), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds no run: it has no config.json"):
        resume(tmp_path / "elsewhere")


def test_default_folders(tmp_path, small, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        run(small(epochs=1, baseline="none"))
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [
        "karate-node-classification",
        "karate-node-classification-2",
    ]


def test_divergence_keeps_the_checkpoint(tmp_path, small):
    class Poison(Progress):
        def __init__(self, ready):
            self.ready = ready

        def epoch(self, job, row):
            if row.epoch == 7:
                self.ready.data["x"].fill_(math.inf)

    ready = begin(small(checkpoint_every=3, features="dense", neuron="lif", baseline="none"), tmp_path)
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 8"):
        ready.execute(Poison(ready))
    assert (tmp_path / "jobs" / "msg-0.checkpoint.pt").exists()
    assert len(history(tmp_path)) == 6


def test_every_firing_layer_is_in_the_history(tmp_path, small):
    for model, rates in (("spikinggcn", 1), ("spiking-gnn", 2)):
        results = run(small(model=model, epochs=2, seeds=(0,)), tmp_path / model)
        assert len(results["firing_rate"]) == rates
        rows = [row for row in history(tmp_path / model) if row["model"] != "GCN"]
        assert len(rows) == 2
        assert all(0 <= float(row[f"rate_{layer}"]) <= 1 for row in rows for layer in range(rates))


def test_another_baseline(tmp_path, small):
    results = run(small(baseline="sgc", epochs=2, seeds=(0,)), tmp_path)
    assert results["baseline"]["model"] == "SGC"
    assert results["num_layers"] == 2


def test_a_baseline_that_cannot_do_the_task_is_refused(tmp_path, small):
    with pytest.raises(ValueError, match="contradicts model='sgc', which gives no points"):
        run(small(task="link-prediction", baseline="sgc"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_baseline_of_the_same_class_has_its_own_name(tmp_path, small):
    options = {"model": "classic-gcn", "baseline": "classic-sage", "timesteps": None}
    both = run(small(**options, epochs=2, seeds=(0,)), tmp_path)
    assert (both["model"], both["baseline"]["model"]) == ("ClassicGNN (classic-gcn)", "ClassicGNN (classic-sage)")
    assert {row["model"] for row in history(tmp_path)} == {both["model"], both["baseline"]["model"]}
    shown = report(both)
    for part in (both, both["baseline"]):
        assert f"{100 * part['test']['per_seed'][0]:.2f}" in shown
    assert "classic-gcn" in shown
    assert "classic-sage" in shown
