import json

import pytest

from msg.experiments import RECIPES, Experiment, Progress, RecipeStudy, RunConfig, Store, TrainStudy, load_run
from msg.experiments.files import sealed_json, torch_bytes
from msg.experiments.jobs import fit as module
from msg.experiments.recipes import leaves_open
from msg.training import Training

SMALL = {"dataset": "karate", "epochs": 3, "seeds": (4, 7)}


def test_open_is_what_says_nothing_of_model_or_training():
    for given in ({}, SMALL, {"split": "public", "patience": 3, "baseline": "none", "task": "node-classification"}):
        assert leaves_open(given | {"out": "o", "workers": 2})
    by_hand = ({"model": "msg"}, {"lr": 0.1}, {"conv": "gcn"}, {"normalize_features": True}, {"batch_size": 8})
    for given in (*by_hand, {"task": "link-prediction"}):
        assert not leaves_open(given)


def test_each_recipe_is_trained_once_with_a_seed_that_is_not_reported(tmp_path, lines):
    found = Experiment.begin(RecipeStudy(RunConfig(**SMALL)), tmp_path / "o").execute(lines)
    tried, run = lines.jobs[: len(RECIPES)], lines.jobs[len(RECIPES) :]
    assert [(job.name, job.seed) for job in tried] == [(f"recipe-{name}", 0) for name in RECIPES]
    recipes = found["recipes"]
    assert (list(recipes["val"]), recipes["seed"]) == (list(RECIPES), 0)
    assert recipes["val"][recipes["chosen"]] == max(recipes["val"].values())
    assert [job.seed for job in run] == [4, 4, 7, 7]
    assert RunConfig.from_dict(found["config"]) == RunConfig(**SMALL, **RECIPES[recipes["chosen"]])
    alone = Experiment.begin(TrainStudy(RunConfig.from_dict(found["config"])), tmp_path / "alone").execute()
    assert (alone["test"], alone["val"]) == (found["test"], found["val"])
    assert repr(load_run(tmp_path / "o")) == repr(load_run(tmp_path / "alone"))
    again = Experiment.resume(tmp_path / "o", "train").execute()
    assert {**again, "seconds_per_epoch": 0} == {**found, "seconds_per_epoch": 0}


@pytest.mark.slow
def test_more_epochs_are_given_to_the_recipes_too(tmp_path):
    begun = RunConfig(**SMALL | {"seeds": (4,), "patience": 0})
    Experiment.begin(RecipeStudy(begun), tmp_path / "o").execute()
    longer = Experiment.resume(tmp_path / "o", "train", epochs=40).execute()
    whole = Experiment.begin(RecipeStudy(begun.with_options(epochs=40)), tmp_path / "w").execute()
    for name in ("recipes", "config", "test", "val", "epochs"):
        assert longer[name] == whole[name]
    with pytest.raises(ValueError, match="begun with 40 epochs: give more, not 3"):
        Experiment.resume(tmp_path / "o", "train", epochs=3)


def test_a_killed_choice_goes_on(tmp_path):
    class Killed(Exception):
        pass

    class Killing(Progress):
        def finished(self, job, record):
            if job.name == "recipe-propagated":
                raise Killed

    study = RecipeStudy(RunConfig(**SMALL | {"seeds": (4,)}))
    with pytest.raises(Killed):
        Experiment.begin(study, tmp_path / "o").execute(Killing())
    whole = Experiment.begin(study, tmp_path / "w").execute()
    after = Experiment.resume(tmp_path / "o", "train").execute()
    assert (after["recipes"], after["test"]) == (whole["recipes"], whole["test"])


def test_a_run_of_no_recipe_is_refused(tmp_path):
    Experiment.begin(RecipeStudy(RunConfig(**SMALL | {"seeds": (4,)})), tmp_path / "o").execute()
    content = json.loads((tmp_path / "o" / "config.json").read_text())
    content.pop("sha256")
    changed = (
        ({"other": {"lr": 0.5}}, "best.pt was not made with the config.json"),
        ({"other": 3}, "config.json cannot be read: recipes must be"),
        ([], "config.json cannot be read: recipes must be"),
        ({"../o": {}}, "config.json cannot be read: a recipe is called by letters"),
        ({"other": {"seeds": [1]}}, "config.json cannot be read: recipe other gives 'seeds'"),
    )
    for recipes, message in changed:
        content["options"]["recipes"] = recipes
        (tmp_path / "o" / "config.json").write_bytes(sealed_json(content))
        with pytest.raises(ValueError, match=message):
            load_run(tmp_path / "o")


def test_another_version_and_device_can_load_it(tmp_path):
    Experiment.begin(RecipeStudy(RunConfig(**SMALL | {"seeds": (4,)})), tmp_path / "o").execute()
    store = Store(tmp_path / "o")
    begun, results, best = store.read_config(), store.read_json("results.json"), store.read_tensors("best.pt")
    for options in (begun["options"], results["config"], best["config"]):
        options.pop("half_hop")  # as a version that did not know it
        options["device"] = "cuda"
    for name, content in (("config.json", begun), ("results.json", results)):
        content.pop("sha256", None)
        (tmp_path / "o" / name).write_bytes(sealed_json(content))
    (tmp_path / "o" / "best.pt").write_bytes(torch_bytes(best))
    assert load_run(tmp_path / "o").state_dict()


def test_what_is_done_is_not_done_again_after_a_recipe_is(tmp_path, lines):
    study = RecipeStudy(RunConfig(**SMALL | {"seeds": (4,)}))
    whole = Experiment.begin(study, tmp_path / "o").execute()
    (tmp_path / "o" / "jobs" / "recipe-deep.json").unlink()
    again = Experiment.resume(tmp_path / "o", "train").execute(lines)
    assert [job.name for job in lines.jobs] == ["recipe-deep"]
    assert (again["recipes"], again["test"]) == (whole["recipes"], whole["test"])


def test_recipes_that_cannot_be_are_refused():
    base = RunConfig(**SMALL)
    for recipes, message in (
        ({}, "no recipe is left beside baseline='gcn'"),
        ({"a": {"model": "gcn"}}, "no recipe is left"),
        ({"a/b": {}}, "called by letters"),
        ({"a": {"epochs": 9}}, "recipe a gives 'epochs'"),
        ({"a": {"dataset": "digits"}}, "recipe a gives 'dataset'"),
        ({"a": {"lr": 0.0}}, "lr must be"),
    ):
        with pytest.raises(ValueError, match=message):
            RecipeStudy(base, recipes)
    with pytest.raises(ValueError, match="more epochs would change what the first generation taught"):
        RecipeStudy(base, {"a": {"generations": 2}}).extended(9)


def test_seed_and_baseline_are_left_to_the_run():
    assert RecipeStudy(RunConfig(dataset="karate", seeds=(2**32 - 1, 0))).seed == 1
    recipes = {"sage": {}, "plain": {"model": "spiking-gnn-conv"}}
    assert list(RecipeStudy(RunConfig(dataset="karate", baseline="spiking-gnn-conv"), recipes).runs) == ["sage"]


class Diverging(Training):
    lost = staticmethod(lambda model: True)

    def step(self):
        if self.lost(self.model):
            raise FloatingPointError("the loss is nan")
        return super().step()


def test_a_recipe_that_diverges_has_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "Training", Diverging)
    monkeypatch.setattr(Diverging, "lost", staticmethod(lambda model: getattr(model, "num_layers", 2) != 3))
    found = Experiment.begin(RecipeStudy(RunConfig(**SMALL, baseline="none")), tmp_path / "some").execute()
    assert (found["recipes"]["chosen"], list(found["recipes"]["val"])) == ("deep", ["deep"])
    monkeypatch.setattr(Diverging, "lost", staticmethod(lambda model: True))
    with pytest.raises(FloatingPointError, match="recipe deep, seed 0: the loss is nan; recipe sage"):
        Experiment.begin(RecipeStudy(RunConfig(**SMALL)), tmp_path / "all").execute()


def test_settings_by_hand_are_refused():
    with pytest.raises(ValueError, match="leave the options of both out"):
        RecipeStudy(RunConfig(**SMALL, lr=0.5))
