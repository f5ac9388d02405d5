import pytest
import torch

from msg.experiments import RunConfig, load_model, load_run, load_trained, run
from msg.experiments.files import read_json
from msg.names import NEURONS
from msg.neurons import LIF

SMALL = {"dataset": "karate", "epochs": 3, "timesteps": 3, "layers": 2, "manifold": "H4", "seeds": (0, 1)}


def test_the_model_of_a_run(tmp_path):
    results = run(RunConfig(**SMALL), tmp_path / "r")
    trained = load_trained(tmp_path / "r")
    assert trained.results == read_json(tmp_path / "r" / "results.json")
    best = max(range(2), key=lambda seed: results["val"]["per_seed"][seed])
    kept = results["energy"]["per_seed"][best]["counts"]
    total = trained.ops.total()
    assert {kind: total[kind] for kind in kept} == kept
    assert not trained.model.training


def test_a_model_of_few_features(tmp_path):
    run(RunConfig(**{**SMALL, "dataset": "digits", "top_features": 20, "sparsity": 0.1, "seeds": (1,)}), tmp_path / "r")
    trained = load_trained(tmp_path / "r")
    assert trained.task.x.size(1) == trained.model.in_channels == 20


def test_links_too(tmp_path):
    run(RunConfig(**{**SMALL, "task": "link-prediction", "seeds": (0,)}), tmp_path / "r")
    assert load_trained(tmp_path / "r").ops.total()["message"] > 0


def test_unfinished_runs_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        load_trained(tmp_path)
    run(RunConfig(**{**SMALL, "seeds": (0,)}), tmp_path / "r")
    (tmp_path / "r" / "results.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no results\.json"):
        load_trained(tmp_path / "r")
    (tmp_path / "r" / "best.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no best\.pt"):
        load_trained(tmp_path / "r")


def test_damaged_weights_are_named(tmp_path):
    run(RunConfig(**{**SMALL, "seeds": (0,)}), tmp_path)
    (tmp_path / "best.pt").write_bytes(b"PK nothing")
    for load in (lambda: load_trained(tmp_path), lambda: load_model(tmp_path / "best.pt")):
        with pytest.raises(ValueError, match=r"best\.pt is damaged"):
            load()
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "other.pt")


def test_a_loaded_model_reads_each_graph_anew(tmp_path):
    """PyG's convolutions keep the first graph they see, which a run trains on alone."""
    run(RunConfig("karate", model="gcn", epochs=2, layers=2, hidden=4, baseline="none", seeds=(0,)), tmp_path / "r")
    x, first = torch.randn(5, 34), torch.tensor([[0, 1, 2], [1, 2, 3]])
    for load in (lambda: load_run(tmp_path / "r"), lambda: load_model(tmp_path / "r" / "best.pt")):
        model = load()
        before = model(x, first)
        torch.testing.assert_close(model(x, first.flip(0)), load()(x, first.flip(0)))
        torch.testing.assert_close(model(x, first), before)


def test_a_run_with_a_part_of_ones_own_names_the_way_to_load_it(tmp_path):
    class Mine(LIF):
        pass

    NEURONS.register("mine", Mine)
    try:
        run(RunConfig(**{**SMALL, "seeds": (0,), "neuron": "mine"}), tmp_path)
    finally:
        NEURONS.remove("mine")
    with pytest.raises(ValueError, match=r"unknown neuron 'mine'.*run that file: python FILE\.py predict FOLDER"):
        load_model(tmp_path / "best.pt")
