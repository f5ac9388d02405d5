import math

import pytest
import torch

from msg.energy import HOROWITZ_45NM_FP32, report
from msg.experiments import EnergyStudy, Experiment, Processes, RunConfig, Search, Trial, search
from msg.experiments.config import NODES
from msg.experiments.jobs import fit as module
from msg.names import MODELS as KNOWN

MODELS = tuple(name for name in KNOWN if NODES in KNOWN[name].tasks)
FEW = ("gcn", "cached-gcn", "sgc", "sage", "gat", "spikinggcn", "msg", "spiking-gnn")
SMALL = {"dataset": "karate", "epochs": 3, "timesteps": 3, "layers": 2, "manifold": "H4", "seeds": (0, 1)}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Where searches that name no folder are kept."""
    monkeypatch.chdir(tmp_path)


def test_all_models_under_one_budget(lines):
    study = search(MODELS, RunConfig(**SMALL), progress=lines)
    assert [(job.title, job.seed) for job in lines.jobs] == [(name, seed) for seed in (0, 1) for name in MODELS]
    comparison = study.comparison()
    assert [one.name for one in comparison.candidates] == list(MODELS)
    for one in comparison.candidates:
        assert len(one.runs) == len(one.metric) == 2
        assert all(not ops.unknown and ops.forwards == 1 for ops in one.runs)
        alone = one.name == "classic-mlp"  # no node hears another
        assert all((ops.total()["message"] > 0) != alone for ops in one.runs)
    assert str(study).startswith(str(comparison))
    assert "At equal accuracy" in str(study)
    assert "karate" in study.markdown()
    assert len(study.figure().axes[0].patches) > len(MODELS)


def test_it_can_be_repeated_and_leaves_the_random_state():
    state = torch.get_rng_state()
    vary = {"threshold": [0.5, 1.0]}
    twice = [search(["msg", "spikinggcn"], RunConfig(**SMALL), vary).as_dict() for _ in range(2)]
    assert twice[0] == twice[1]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_takes_what_it_reads_and_no_more_than_trials():
    vary = {"manifold": ["H2", "H3"], "timesteps": [2, 3], "lr": [0.01, 0.02], "sparsity": [0.0, 1.0]}
    study = search(FEW, RunConfig(**{**SMALL, "seeds": (0,)}), vary, trials=5)
    tried = {name: [trial.settings for trial in study.trials if trial.model == name] for name in FEW}
    assert {name: len(settings) for name, settings in tried.items()} == {
        "gcn": 4, "cached-gcn": 4, "sgc": 2, "sage": 4, "gat": 4, "spikinggcn": 4, "msg": 5, "spiking-gnn": 5,
    }  # fmt: skip
    assert tried["sgc"] == [{"lr": 0.01}, {"lr": 0.02}]
    assert set(tried["gcn"][0]) == {"manifold", "lr"}
    assert set(tried["spikinggcn"][0]) == {"timesteps", "lr"}
    assert set(tried["msg"][0]) == set(vary)
    assert len({tuple(settings.values()) for settings in tried["msg"]}) == 5


def test_a_setting_is_what_a_configuration_of_its_own_would_be():
    searched = search(["msg"], RunConfig(**SMALL), {"manifold": ["H2", "H3"], "top_features": [5, 9]})
    for trial in searched.finalists:
        alone = search(["msg"], RunConfig(**{**SMALL, **trial.settings})).finalists[0]
        assert (alone.val, alone.test) == (trial.val, trial.test)
        assert [_energy(ops) for ops in alone.runs] == [_energy(ops) for ops in trial.runs]
        assert (trial.chosen_on, trial.reported_val, trial.selection) == (1, trial.val[1:], trial.val[1])
        assert trial.energy_mj() == _energy(trial.runs[1])
        assert (alone.chosen_on, alone.reported_test) == (0, alone.test)


def study_of(*points, models=("gcn", "msg"), seeds=1):
    """A study whose trials have these models, validation metrics and energies."""
    trials = []
    for model, val, energy in points:
        trial = Made(model, {"lr": len(trials)}, RunConfig(), [val] * seeds, [val - 0.1] * seeds, [])
        trial.energy = energy
        trials.append(trial)
    return Search(models, trials, trials, "made", "accuracy")


class Made(Trial):
    def energy_mj(self, convention="nonzero", memory=False):
        return self.energy


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


def test_forms_have_what_they_fix_and_take_all_else():
    forms = ("gcn-if", "gcn-2bit", "sage-relu", "msg-lif", "msg-twin", "spiking-gnn-1bit")
    vary = {"timesteps": [2, 3], "tau": [2.0, 3.0], "threshold": [0.5, 1.0], "manifold": ["H2", "H3"], "conv": ["gcn"]}
    found = EnergyStudy(forms, RunConfig(**SMALL), vary)._trials()
    settings = {name: [trial.settings for trial in found if trial.model == name] for name in forms}
    assert {name: set(tried[0]) for name, tried in settings.items()} == {
        "gcn-if": {"timesteps", "threshold", "manifold"},
        "gcn-2bit": {"threshold", "manifold"},
        "sage-relu": {"threshold", "manifold"},
        "msg-lif": {"timesteps", "tau", "threshold", "manifold", "conv"},
        "msg-twin": {"threshold", "manifold", "conv"},
        "spiking-gnn-1bit": {"threshold", "manifold", "conv"},
    }
    configs = {trial.model: trial.config for trial in found}
    assert {config.model for config in configs.values()} == {"spiking-gnn-conv", "msg", "spiking-gnn"}
    assert (configs["gcn-2bit"].bits, configs["gcn-2bit"].conv, configs["gcn-2bit"].hidden) == (2, "gcn", 3)
    assert (configs["sage-relu"].neuron, configs["sage-relu"].conv) == ("relu", "sage")
    assert (configs["msg-twin"].neuron, configs["msg-twin"].timesteps) == ("clipped-relu", 1)


def test_forms_are_searched_beside_models():
    names = ("gcn", "gcn-if", "gcn-2bit", "msg-1bit")
    study = search(names, RunConfig(**SMALL), {"manifold": ["E2", "E4"]}, inputs="events")
    assert all(study.front(name) for name in names)
    kept = study.as_dict()
    assert kept["inputs"] == "events"
    assert [trial.partition(" ")[0] for trial in kept["best"].values()] == list(names)
    front = study.front("gcn")
    assert [trial.energy_mj("events") for trial in front] == sorted(trial.energy_mj("events") for trial in front)
    for trial in study.of("gcn-2bit"):
        assert all(ops.total()["multiplier_bit"] and not ops.firing and not ops.unknown for ops in trial.runs)
    assert all(ops.firing for trial in study.of("gcn-if") for ops in trial.runs)


def test_only_the_fronts_are_trained_on_all_seeds():
    study = search(["gcn", "msg"], RunConfig(**SMALL), {"manifold": ["H2", "H3", "H4"], "lr": [0.01, 0.1]})
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
    return sum(HOROWITZ_45NM_FP32.inference_mj(ops).values())


def test_energy_of_a_trial_is_that_of_the_report():
    (trial,) = search(["gcn"], RunConfig(**SMALL)).trials
    for options in ({}, {"convention": "events"}, {"memory": True}):
        assert trial.energy_mj(**options) == pytest.approx(
            sum(report(ops).energy_mj(**options) for ops in trial.runs) / 2
        )
    assert trial.energy_mj("events") < trial.energy_mj()


def test_text_and_picture_of_a_search():
    vary = {"manifold": ["H2", "H4"], "dropout": [0.0, 0.5]}
    study = search(["gcn", "msg"], RunConfig(**SMALL), vary)
    text = str(study)
    assert "the best of 4" in text
    assert "× below gcn" in text
    for name in study.models:
        assert all(trial.name in text for trial in study.front(name))
    assert "| front of each model" in study.markdown()
    axes = study.figure().axes[0]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_legend().get_texts()] == ["gcn", "msg"]
    kept = study.as_dict()
    assert len(kept["trials"]) == 8
    assert set(kept["front"]) <= set(kept["fronts"]["gcn"]) | set(kept["fronts"]["msg"])


class Diverging(module.Training):
    """A training that diverges under some configurations."""

    def __init__(self, model, task, budget):
        super().__init__(model, task, budget)
        if self.lost(budget):
            raise FloatingPointError("the loss is nan")


def test_a_setting_that_diverges_has_lost(monkeypatch):
    monkeypatch.setattr(Diverging, "lost", lambda self, budget: budget.lr == 0.5, raising=False)
    monkeypatch.setattr(module, "Training", Diverging)
    study = search(["gcn"], RunConfig(**SMALL), {"lr": [0.5, 0.01]})
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
        search(["gcn"], RunConfig(**SMALL), {"lr": [0.5]})
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        search(["gcn"], RunConfig(**{**SMALL, "lr": 0.5}))


def test_a_setting_whose_last_update_diverges_has_lost():
    study = search(["gcn"], RunConfig(**{**SMALL, "epochs": 1}), {"lr": [1e30, 0.01]})
    assert [trial.settings for trial in study.finalists] == [{"lr": 0.01}]


def test_what_is_varied_is_trained_though_it_is_the_default_of_msg():
    vary = {"timesteps": [5], "neuron": ["if"], "threshold": ["auto"], "gradient": ["rate", "bptt"], "lr": [0.01]}
    trials = EnergyStudy(("gc-snn", "spiking-gnn"), RunConfig(**SMALL), vary)._trials()
    assert [trial.model for trial in trials] == ["gc-snn", "spiking-gnn", "spiking-gnn"]
    for trial in trials:
        assert {name: getattr(trial.config, name) for name in trial.settings} == trial.settings
    (trial,) = EnergyStudy(("hgcn",), RunConfig(**SMALL), {"manifold": ["H32"]})._trials()
    assert trial.config.manifold == "H32"


def test_a_finalist_that_diverges_later_is_left_out(monkeypatch):
    calls = []

    def second_time(self, budget):
        calls.append(budget.lr)
        return budget.lr == 0.01 and calls.count(0.01) == 2

    monkeypatch.setattr(Diverging, "lost", second_time, raising=False)
    monkeypatch.setattr(module, "Training", Diverging)
    monkeypatch.setattr(Search, "front", lambda self, model=None: self.finalists)
    study = search(["gcn"], RunConfig(**SMALL), {"lr": [0.01, 0.02]})
    assert [trial.settings for trial in study.finalists] == [{"lr": 0.02}]


def test_rules_and_neurons_bring_their_own_defaults():
    config = RunConfig(**{**SMALL, "gradient": "bptt", "neuron": "lif", "tau": 3.0, "seeds": (0,)})
    study = search(["msg"], config, {"gradient": ["bptt", "dvm"], "neuron": ["if", "lif"]})
    found = [(trial.config.surrogate, trial.config.tau) for trial in study.trials]
    assert found == [("atan", None), ("atan", 2.0), (None, None), (None, 2.0)]


def test_models_without_a_manifold_try_each_width_once():
    study = EnergyStudy(("gcn", "msg"), RunConfig(**SMALL), {"manifold": ["E4", "S4", "H8", "E8"], "lr": [0.1]})
    widths = {name: [one.settings["manifold"] for one in study._trials() if one.model == name] for name in study.models}
    assert widths == {"gcn": ["E4", "H8"], "msg": ["E4", "S4", "H8", "E8"]}


def test_values_are_tried_once():
    assert len(search(["gcn"], RunConfig(**SMALL), {"lr": [0.01, 0.01]}).trials) == 1


def test_nothing_is_trained_before_everything_has_been_checked(tmp_path, lines):
    with pytest.raises(ValueError, match=r"top_features must be in 1\.\.34, the number of features, not 99"):
        search(["gcn"], RunConfig(**SMALL), {"top_features": [5, 99]}, progress=lines)
    assert not lines.jobs
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("models", "options", "plan", "message"),
    [
        (
            ["gcn", "mlp"],
            {},
            {},
            "unknown model 'mlp': use 'msg', .*'gcn', .*'gat', 'gin', 'sgc'.* or a form of 'gcn'",
        ),
        (["gcn", "sgc-2bit"], {}, {}, "unknown model 'sgc-2bit'"),
        (["msg-17bit"], {}, {}, "bits must be at most 16, not 17"),
        (["gcn-2bit"], {}, {"vary": {"timesteps": [1, 2]}}, "timesteps is varied, but none of gcn-2bit reads it"),
        (["gcn"], {}, {"inputs": "sparse"}, "unknown convention 'sparse'"),
        (["gcn", "gcn"], {}, {}, "must be different names, not gcn, gcn"),
        ([], {}, {}, "must be different names, not none"),
        (["gcn"], {"task": "link-prediction"}, {}, "compared in node classification"),
        (["gcn"], {"model": "spiking-gnn", "manifold": None}, {}, "with model='msg'"),
        (["gcn"], {}, {"vary": {"seeds": [(0,)]}}, "seeds cannot be varied: use batch_size, bias, bits, blocks, "),
        (["gcn", "sgc"], {}, {"vary": {"threshold": [1.0]}}, "threshold is varied, but none of gcn, sgc reads it"),
        (["gcn"], {}, {"vary": {"lr": []}}, "no value of lr to try"),
        (["gcn"], {}, {"vary": {"lr": [0.01, -1.0]}}, "lr must be a positive number, not -1.0"),
        (["gcn"], {}, {"trials": 0}, "trials must be a whole number of at least 1, not 0"),
        (["gcn"], {}, {"vary": {"top_features": [99]}}, "top_features must be in 1..34"),
        (["gat"], {}, {"vary": {"heads": [3, 1]}}, "heads"),
    ],
)
def test_refusals(models, options, plan, message):
    with pytest.raises(ValueError, match=message):
        search(models, RunConfig(**{**SMALL, **options}), **plan)


def test_mean_of_energies():
    trial = search(["spikinggcn"], RunConfig(**SMALL)).trials[0]
    each = [_energy(ops) for ops in trial.runs]
    assert math.isclose(trial.energy_mj(), sum(each) / 2)
    assert trial.as_dict()["energy_mj"] == trial.energy_mj()


VARY = {"threshold": [0.5, 1.0], "lr": [0.01, 0.1]}


def test_a_search_is_resumed_to_what_it_would_have_found(tmp_path, interrupt, lines, rendered):
    config = RunConfig(**{**SMALL, "checkpoint_every": 1})
    whole = search(["gcn", "msg"], config, VARY, trials=3, out=tmp_path / "whole")
    ready = Experiment.begin(EnergyStudy(("gcn", "msg"), config, VARY, 3), tmp_path / "broken")
    for stop in (interrupt(jobs=2), interrupt(epochs=5), interrupt(jobs=3)):
        with pytest.raises(KeyboardInterrupt):
            ready.execute(stop)
        assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == ["config.json", "jobs"]
        ready = Experiment.resume(tmp_path / "broken", "energy")
    assert ready.execute(lines).as_dict() == whole.as_dict()
    for name in ("energy.json", "energy.md"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (tmp_path / "broken" / "energy.png").read_bytes().startswith(b"\x89PNG")


def test_options_of_other_models_can_be_varied(lines):
    study = search(["gcn", "sgc"], RunConfig(**SMALL), {"hops": [1, 2], "hidden": [3]}, progress=lines)
    assert [trial.settings for trial in study.trials] == [{"hidden": 3}, {"hops": 1}, {"hops": 2}]
    assert study.trials[0].config.hidden == 3


@pytest.mark.slow
def test_several_processes_find_the_same(tmp_path):
    both = [
        search(["gcn", "msg"], RunConfig(**SMALL), VARY, out=tmp_path / str(number), executor=executor).as_dict()
        for number, executor in enumerate((None, Processes(2)))
    ]
    assert both[0] == both[1]
