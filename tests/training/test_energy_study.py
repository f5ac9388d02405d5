import math

import pytest
import torch

from msg.energy import COSTS, report
from msg.training import MODELS, RunConfig, compare_models
from msg.training import energy_study as module

SMALL = {"dataset": "karate", "epochs": 3, "timesteps": 3, "layers": 1, "manifold": "H4", "seeds": (0, 1)}


def test_all_models_under_one_budget():
    told = []
    study = compare_models(MODELS, RunConfig(**SMALL), listener=lambda trial, seed: told.append((trial.name, seed)))
    assert told == [(name, seed) for seed in (0, 1) for name in MODELS]
    comparison = study.comparison()
    assert [one.name for one in comparison.candidates] == list(MODELS)
    for one in comparison.candidates:
        assert len(one.runs) == len(one.metric) == 2
        assert all(not ops.unknown and ops.forwards == 1 for ops in one.runs)
        assert all(ops.total()["message"] > 0 for ops in one.runs)
    assert str(study) == str(comparison)
    assert "karate" in study.markdown()
    assert len(study.figure().axes[0].patches) > len(MODELS)


def test_it_can_be_repeated_and_leaves_the_random_state():
    state = torch.get_rng_state()
    vary = {"threshold": [0.5, 1.0]}
    twice = [compare_models(["msg", "spikinggcn"], RunConfig(**SMALL), vary).as_dict() for _ in range(2)]
    assert twice[0] == twice[1]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_takes_what_it_reads_and_no_more_than_trials():
    vary = {"manifold": ["H2", "H3"], "timesteps": [2, 3], "lr": [0.01, 0.02], "sparsity": [0.0, 1.0]}
    study = compare_models(MODELS, RunConfig(**{**SMALL, "seeds": (0,)}), vary, trials=5)
    tried = {name: [trial.settings for trial in study.trials if trial.model == name] for name in MODELS}
    assert {name: len(settings) for name, settings in tried.items()} == {
        "gcn": 4, "sgc": 2, "sage": 4, "gat": 4, "spikinggcn": 4, "msg": 5,
    }  # fmt: skip
    assert tried["sgc"] == [{"lr": 0.01}, {"lr": 0.02}]
    assert set(tried["gcn"][0]) == {"manifold", "lr"}
    assert set(tried["spikinggcn"][0]) == {"timesteps", "lr"}
    assert set(tried["msg"][0]) == set(vary)
    assert len({tuple(settings.values()) for settings in tried["msg"]}) == 5


def test_a_setting_is_what_a_configuration_of_its_own_would_be():
    searched = compare_models(["msg"], RunConfig(**SMALL), {"manifold": ["H2", "H3"], "top_features": [5, 9]})
    for trial in searched.finalists:
        alone = compare_models(["msg"], RunConfig(**{**SMALL, **trial.settings})).finalists[0]
        assert (alone.val, alone.test, alone.energy_mj) == (trial.val, trial.test, trial.energy_mj)


def study_of(*points, models=("gcn", "msg"), seeds=1):
    """A study whose trials have these models, validation metrics and energies."""
    trials = []
    for model, val, energy in points:
        trial = Made(model, {"lr": len(trials)}, RunConfig(), [val] * seeds, [val - 0.1] * seeds, [])
        trial.energy = energy
        trials.append(trial)
    return module.Study(models, trials, trials, "made", "accuracy")


class Made(module.Trial):
    energy_mj = property(lambda self: self.energy)


def test_fronts_and_best_are_of_validation():
    study = study_of(("gcn", 0.8, 4.0), ("gcn", 0.9, 8.0), ("gcn", 0.7, 5.0), ("msg", 0.85, 2.0), ("msg", 0.895, 16.0))
    gcn, better, _, cheap, dear = study.trials
    assert study.best == {"gcn": better, "msg": dear}
    assert study.front("gcn") == [gcn, better]
    assert study.front("msg") == [cheap, dear]
    assert study.front() == [cheap, better]


def test_savings_against_the_best_and_the_cheapest_of_the_same_accuracy():
    study = study_of(
        ("gcn", 0.8, 4.0), ("gcn", 0.9, 8.0), ("msg", 0.8049, 2.0), ("msg", 0.806, 2.0), ("msg", 0.95, 1.0)
    )
    _, _, close, above, best = study.trials
    assert study.savings(close) == (4.0, 2.0)
    assert study.savings(above) == (4.0, 4.0)
    assert study.savings(best) == (8.0, None)


def test_only_the_fronts_are_trained_on_all_seeds():
    study = compare_models(["gcn", "msg"], RunConfig(**SMALL), {"manifold": ["H2", "H3", "H4"], "lr": [0.01, 0.1]})
    assert len(study.trials) == 12
    for trial in study.trials:
        assert len(trial.val) == len(trial.test) == len(trial.runs) == (2 if trial in study.finalists else 1)
    first = {id(trial): (trial.val[0], _energy(trial.runs[0])) for trial in study.trials}
    for trial in study.trials:
        rivals = [first[id(other)] for other in study.trials if other.model == trial.model]
        val, energy = first[id(trial)]
        beaten = any(v >= val and e <= energy and (v, e) != (val, energy) for v, e in rivals)
        if trial in study.finalists:
            assert not beaten


def _energy(ops):
    return sum(COSTS[0].inference_mj(ops).values())


def test_energy_of_a_trial_is_that_of_the_report():
    (trial,) = compare_models(["gcn"], RunConfig(**SMALL)).trials
    assert trial.energy_mj == pytest.approx(sum(report(ops).energy_mj() for ops in trial.runs) / 2)
    assert trial.energy_with_memory_mj == pytest.approx(
        sum(report(ops).energy_mj(memory=True) for ops in trial.runs) / 2
    )


def test_text_and_picture_of_a_search():
    vary = {"manifold": ["H2", "H4"], "dropout": [0.0, 0.5]}
    study = compare_models(["gcn", "msg"], RunConfig(**SMALL), vary)
    text = str(study)
    assert "the best of 4" in text
    assert "× below gcn" in text
    for name in study.models:
        assert all(trial.name in text for trial in study.front(name))
    assert "| front of each model |" in study.markdown()
    axes = study.figure().axes[0]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_legend().get_texts()] == ["gcn", "msg"]
    kept = study.as_dict()
    assert len(kept["trials"]) == 8
    assert set(kept["front"]) <= set(kept["fronts"]["gcn"]) | set(kept["fronts"]["msg"])


def test_a_setting_that_diverges_has_lost(monkeypatch):
    fit = module.fit

    def sometimes(model, task, budget):
        if budget.lr == 0.5:
            raise FloatingPointError("the loss is nan")
        return fit(model, task, budget)

    monkeypatch.setattr(module, "fit", sometimes)
    study = compare_models(["gcn"], RunConfig(**SMALL), {"lr": [0.5, 0.01]})
    assert [trial.settings for trial in study.finalists] == [{"lr": 0.01}]
    assert "the best of 2" in str(study)
    lost = study.as_dict()["trials"][0]
    assert (lost["settings"], lost["val"], lost["energy_mj"], lost["energy_with_memory_mj"]) == (
        {"lr": 0.5},
        [],
        None,
        None,
    )
    with pytest.raises(FloatingPointError, match="the loss of gcn diverged in every setting: try a smaller lr"):
        compare_models(["gcn"], RunConfig(**SMALL), {"lr": [0.5]})
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        compare_models(["gcn"], RunConfig(**{**SMALL, "lr": 0.5}))


def test_a_finalist_that_diverges_later_is_left_out(monkeypatch):
    fit, calls = module.fit, []

    def second_time(model, task, budget):
        calls.append(budget.lr)
        if calls.count(0.01) == 2 and budget.lr == 0.01:
            raise FloatingPointError("the loss is nan")
        return fit(model, task, budget)

    monkeypatch.setattr(module, "fit", second_time)
    monkeypatch.setattr(module.Study, "front", lambda self, model=None: self.finalists)
    study = compare_models(["gcn"], RunConfig(**SMALL), {"lr": [0.01, 0.02]})
    assert [trial.settings for trial in study.finalists] == [{"lr": 0.02}]


def test_rules_and_neurons_bring_their_own_defaults():
    config = RunConfig(**{**SMALL, "gradient": "bptt", "neuron": "lif", "tau": 3.0, "seeds": (0,)})
    study = compare_models(["msg"], config, {"gradient": ["bptt", "dvm"], "neuron": ["if", "lif"]})
    found = [(trial.config.surrogate, trial.config.tau) for trial in study.trials]
    assert found == [("atan", None), ("atan", 2.0), (None, None), (None, 2.0)]


def test_values_are_tried_once():
    assert len(compare_models(["gcn"], RunConfig(**SMALL), {"lr": [0.01, 0.01]}).trials) == 1


def test_nothing_is_trained_before_everything_has_been_checked():
    told = []
    with pytest.raises(ValueError, match=r"top_features must be in 1\.\.34, the number of features, not 99"):
        compare_models(["gcn"], RunConfig(**SMALL), {"top_features": [5, 99]}, listener=lambda *seen: told.append(seen))
    assert not told


@pytest.mark.parametrize(
    ("models", "options", "search", "message"),
    [
        (["gcn", "mlp"], {}, {}, "unknown model 'mlp': use gcn, sgc, sage, gat, spikinggcn, msg"),
        (["gcn", "gcn"], {}, {}, "must be different names, not gcn, gcn"),
        ([], {}, {}, "must be different names, not none"),
        (["gcn"], {"task": "link-prediction"}, {}, "compared in node classification"),
        (["gcn"], {"model": "spiking-gnn", "manifold": None}, {}, "with model='msg'"),
        (["gcn"], {}, {"vary": {"seeds": [(0,)]}}, "seeds cannot be varied: use bias, conv, "),
        (["gcn", "sgc"], {}, {"vary": {"threshold": [1.0]}}, "threshold is varied, but none of gcn, sgc reads it"),
        (["gcn"], {}, {"vary": {"lr": []}}, "no value of lr to try"),
        (["gcn"], {}, {"vary": {"lr": [0.01, -1.0]}}, "lr must be a positive number, not -1.0"),
        (["gcn"], {}, {"trials": 0}, "trials must be at least 1, not 0"),
        (["gcn"], {}, {"vary": {"top_features": [99]}}, "top_features must be in 1..34"),
    ],
)
def test_refusals(models, options, search, message):
    with pytest.raises(ValueError, match=message):
        compare_models(models, RunConfig(**{**SMALL, **options}), **search)


def test_mean_of_energies():
    trial = compare_models(["spikinggcn"], RunConfig(**SMALL)).trials[0]
    each = [_energy(ops) for ops in trial.runs]
    assert math.isclose(trial.energy_mj, sum(each) / 2)
    assert trial.as_dict()["energy_mj"] == trial.energy_mj
