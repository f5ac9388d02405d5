"""Runs on sets of graphs: a seed is a fold, GIN beside it, killed and resumed, counted and loaded again."""

from functools import partial

import pytest

from msg.datasets import Card, register, remove
from msg.datasets.generators import motifs
from msg.energy import report
from msg.experiments import Experiment, RunConfig, TrainStudy, load_model, load_trained, resume, run
from msg.nn import GraphClassifier


@pytest.fixture
def few():
    """Options of a run on 24 graphs that takes a second."""
    register(Card(key="few", title="Few motifs", graphs=24, split="folds:3"), partial(motifs, 24))
    options = {"dataset": "few", "task": "graph-classification", "manifold": "H4", "timesteps": 2, "epochs": 8}
    yield lambda **more: RunConfig(**{**options, "seeds": (0, 1, 2), "batch_size": 8, **more})
    remove("few")


def timeless(results):
    kept = {name: value for name, value in results.items() if name not in ("seconds_per_epoch", "baseline")}
    return kept, results["baseline"] and timeless({**results["baseline"], "baseline": None})


def test_what_a_run_leaves(tmp_path, few):
    results = run(few(), tmp_path)
    assert (results["task"], results["split"], results["metric"]) == ("graph-classification", "folds:3", "accuracy")
    assert (results["model"], results["baseline"]["model"]) == ("MSG", "GIN")
    assert len(results["test"]["per_seed"]) == 3
    assert results["firing_rate"]
    assert results["max_radius"] > 0
    model = load_model(tmp_path / "best.pt")
    assert isinstance(model, GraphClassifier)
    assert model.readout.pooling.mode == "mean"
    trained = load_trained(tmp_path)
    assert trained.ops.inference["readout.pooling"].nonzero["accumulate"] > 0
    assert report(trained.ops).energy_mj() > 0


def test_interrupted_and_resumed_is_as_unbroken(tmp_path, few, interrupt):
    config = few(seeds=(0, 4), checkpoint_every=3, dropout=0.3, pooling="sum", drop_edge=0.2, jumping="cat")
    whole = run(config, tmp_path / "whole")
    for after in (5, 13):
        begun = (tmp_path / "broken").exists()
        broken = tmp_path / "broken"
        ready = Experiment.resume(broken) if begun else Experiment.begin(TrainStudy(config), broken)
        with pytest.raises(KeyboardInterrupt):
            ready.execute(interrupt(after))
    assert timeless(resume(tmp_path / "broken")) == timeless(whole)


@pytest.mark.parametrize("model", ["gin", "gcn", "cached-gcn", "sage", "gat"])
def test_every_model_that_embeds_nodes(tmp_path, few, model):
    baseline = "none" if model == "gin" else None
    results = run(few(model=model, manifold=None, timesteps=None, epochs=2, seeds=(0,), baseline=baseline), tmp_path)
    assert results["config"]["pooling"] == ("sum" if model == "gin" else "mean")


def test_defaults_of_graphs():
    config = RunConfig(dataset="motifs", task="graph-classification")
    assert (config.seeds, config.batch_size, config.baseline) == (tuple(range(10)), 32, "gin")
    assert (config.pooling, config.conv, config.gradient) == ("mean", "gin", "rate")
    assert RunConfig.from_dict(config.as_dict()) == config
    assert config.given() == {"dataset": "motifs", "task": "graph-classification"}
    assert config.for_model("gin").pooling == "sum"
    assert RunConfig().seeds == tuple(range(5))
    assert RunConfig().pooling is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"fan_out": "3,2,1"},
            "fan_out contradicts task='graph-classification': it belongs to 'node-classification', ",
        ),
        ({"top_features": 2}, "top_features contradicts task='graph-classification'"),
        (
            {"model": "sgc", "manifold": None, "timesteps": None},
            "which gives no points to pool: use model 'msg', 'gcn'",
        ),
        ({"split": "link:85/5/10"}, "use folds:10 or random:80/10/10"),
        ({"pooling": "max"}, "unknown pooling 'max': use 'mean', 'frechet', 'sum'"),
        ({"task": "node-classification"}, "'few' is a set of 24 graphs: use load_graphs"),
        ({"dataset": "karate"}, "'karate' is a single graph: use load_graph"),
        ({"dataset": "own.npz"}, "own.npz holds one graph, but a set of them is needed: .*motifs, mutag"),
        ({"split": "folds:20"}, "class 0 has only 12 members, choose fewer folds"),
    ],
)
def test_contradictions_are_said(tmp_path, few, options, message):
    with pytest.raises(ValueError, match=message):
        run(few(**({"batch_size": None} if "task" in options else {}), **options), tmp_path)


def test_pooling_is_an_option_of_graphs():
    with pytest.raises(ValueError, match="pooling contradicts task='node-classification': it belongs to 'graph-"):
        RunConfig(pooling="mean")
