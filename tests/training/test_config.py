import json
from dataclasses import FrozenInstanceError, fields

import pytest

from msg.training import RunConfig, parse_seeds


def test_defaults_are_settled_by_model_task_and_rule():
    plain = RunConfig()
    assert (plain.manifold, plain.step_size, plain.max_step, plain.gradient) == ("H32", 0.1, 1.0, "dvm")
    assert (plain.hidden, plain.surrogate, plain.tau, plain.split) == (None, None, None, None)
    flat = RunConfig(model="spiking-gnn")
    assert (flat.hidden, flat.gradient, flat.surrogate, flat.manifold, flat.step_size) == (
        32,
        "bptt",
        "atan",
        None,
        None,
    )
    assert RunConfig(task="link-prediction").split == "link:85/5/10"
    assert RunConfig(neuron="lif").tau == 2.0


def test_is_a_frozen_value():
    with pytest.raises(FrozenInstanceError):
        RunConfig().lr = 1.0  # pyright: ignore
    assert RunConfig() == RunConfig()
    assert RunConfig(lr=0.1) != RunConfig()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": "spiking-gnn", "neuron": "plif", "seeds": (3, 1)},
        {"task": "link-prediction", "manifold": "H2xS2", "max_step": 0},
        {"gradient": "bptt", "surrogate": "triangle", "patience": 0, "baseline": False},
    ],
)
def test_survives_json(options):
    config = RunConfig(**options)
    assert RunConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_unknown_options_are_named():
    with pytest.raises(ValueError, match=r"unknown options learning_rate: known are dataset, .*lr"):
        RunConfig.from_dict({"learning_rate": 0.1})


@pytest.mark.parametrize(
    ("name", "possible"),
    [
        ("task", "node-classification"),
        ("features", "sparse"),
        ("model", "spiking-gnn"),
        ("conv", "sage"),
        ("neuron", "plif"),
        ("reset", "zero"),
        ("gradient", "bptt"),
        ("surrogate", "atan"),
    ],
)
def test_unknown_names_list_what_is_possible(name, possible):
    with pytest.raises(ValueError, match=f"unknown {name} 'nonsense': use .*'{possible}'"):
        RunConfig(**{name: "nonsense"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers must be a whole number of at least 1, not 0"),
        ({"timesteps": 2.5}, "timesteps must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"patience": -1}, "patience .* at least 0"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"top_features": 0}, "top_features must be a whole number of at least 1"),
        ({"sparsity": -1.0}, "sparsity must be a number of at least 0"),
        ({"lr": float("nan")}, "lr must be a positive number, not nan"),
        ({"lr": "0.1"}, "lr must be a positive number"),
        ({"threshold": 0}, "threshold must be a positive number"),
        ({"step_size": float("inf")}, "step_size must be a positive number"),
        ({"weight_decay": -1e-4}, "weight_decay must be a number of at least 0"),
        ({"max_step": -1.0}, "max_step must be a number of at least 0"),
        ({"dropout": 1.0}, "dropout must be below 1"),
        ({"neuron": "lif", "tau": 1.0}, "tau must be above 1 step"),
        ({"seeds": ()}, "seeds must be a tuple of whole numbers"),
        ({"seeds": (1, 1)}, "seeds must be different numbers"),
        ({"seeds": (-1,)}, "seeds must be different numbers"),
        ({"manifold": "Q3"}, "unknown manifold 'Q3'.*H16xS16"),
        ({"device": "abacus"}, "unknown device 'abacus': use 'cpu'"),
    ],
)
def test_impossible_values(options, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "spiking-gnn", "task": "link-prediction"}, "contradicts model='spiking-gnn'.*E32"),
        ({"model": "spiking-gnn", "manifold": "H8"}, "manifold='H8' contradicts model='spiking-gnn'"),
        ({"model": "spiking-gnn", "step_size": 0.2}, "step_size=0.2 contradicts"),
        ({"model": "spiking-gnn", "max_step": 2.0}, "max_step=2.0 contradicts"),
        ({"model": "spiking-gnn", "gradient": "dvm"}, "gradient='dvm' contradicts .* use 'rate', 'ottt', 'bptt'"),
        ({"hidden": 8}, "hidden=8 contradicts manifold='H32'"),
        ({"surrogate": "atan"}, "surrogate='atan' contradicts gradient='dvm'"),
        ({"tau": 3.0}, "tau=3.0 contradicts neuron='if'"),
        ({"neuron": "plif"}, "neuron='plif' contradicts gradient='dvm'"),
        ({"split": "link:85/5/10"}, "contradicts task='node-classification': use public"),
        ({"task": "link-prediction", "sparsity": 1.0}, "sparsity contradicts task='link-prediction'"),
        ({"task": "link-prediction", "top_features": 3}, "it belongs to 'node-classification', leave it out"),
        ({"task": "link-prediction", "split": "public"}, "contradicts task='link-prediction': use link:"),
    ],
)
def test_contradictions(options, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**options)


def test_every_option_is_documented():
    assert RunConfig.__doc__ is not None
    assert all(f"\n        {field.name}: " in RunConfig.__doc__ for field in fields(RunConfig))


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", (3,)), ("0-4", (0, 1, 2, 3, 4)), ("0,2,5", (0, 2, 5)), ("7-7, 1-2", (7, 1, 2))],
)
def test_parse_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,,2", "-1", "0-4-8", "1.5"])
def test_parse_seeds_refuses(text):
    with pytest.raises(ValueError, match="write 3, 0-4 or 0,2,5"):
        parse_seeds(text)
