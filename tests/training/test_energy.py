import json

import pytest

from msg.training import MODELS, RunConfig, compare_models, load_trained, run

SMALL = {"dataset": "karate", "epochs": 3, "timesteps": 3, "layers": 1, "manifold": "H4", "seeds": (0, 1)}


def test_all_models_under_one_budget():
    told = []
    comparison = compare_models(MODELS, RunConfig(**SMALL), lambda *seen: told.append(seen))
    assert [one.name for one in comparison.candidates] == list(MODELS)
    assert len(told) == 2 * len(MODELS)
    for one in comparison.candidates:
        assert len(one.runs) == len(one.metric) == 2
        assert all(not ops.unknown and ops.forwards == 1 for ops in one.runs)
        assert all(ops.total()["message"] > 0 for ops in one.runs)
    assert "karate" in str(comparison)


def test_it_can_be_repeated():
    twice = [compare_models(["msg", "spikinggcn"], RunConfig(**SMALL)).as_dict() for _ in range(2)]
    assert twice[0] == twice[1]


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (["gcn", "mlp"], {}, "unknown model 'mlp': use gcn, sgc, sage, gat, spikinggcn, msg"),
        (["gcn", "gcn"], {}, "must be different names, not gcn, gcn"),
        ([], {}, "must be different names, not none"),
        (["gcn"], {"task": "link-prediction"}, "compared in node classification"),
        (["gcn"], {"model": "spiking-gnn", "manifold": None}, "with model='msg'"),
    ],
)
def test_refusals(models, options, message):
    with pytest.raises(ValueError, match=message):
        compare_models(models, RunConfig(**{**SMALL, **options}))


def test_the_model_of_a_run(tmp_path):
    results = run(RunConfig(**SMALL), tmp_path / "r")
    trained = load_trained(tmp_path / "r")
    assert trained.results == json.loads((tmp_path / "r" / "results.json").read_text())
    best = max(range(2), key=lambda seed: results["val"]["per_seed"][seed])
    kept = results["energy"]["per_seed"][best]["counts"]
    total = trained.ops.total()
    assert {kind: total[kind] for kind in kept} == kept
    assert not trained.model.training


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
