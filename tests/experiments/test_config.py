import json
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import pytest
from torch_geometric.nn import GCN

from msg.experiments.config import RunConfig, make_part, options_table
from msg.experiments.options import fields_of, parse_seeds
from msg.gradients import RateBackprop, SurrogateBPTT
from msg.models import ModelSpec
from msg.names import GRADIENTS, MODELS, NEURONS
from msg.neurons import LIF, Triangle


def test_defaults_are_settled_by_model_task_and_rule():
    plain = RunConfig()
    assert (plain.manifold, plain.step_size, plain.max_step, plain.gradient) == ("H32", 0.1, 1.0, "rate")
    assert (plain.layers, plain.timesteps, plain.conv, plain.threshold) == (2, 5, "sage", "auto")
    assert (plain.dropout, plain.weight_decay) == (0.5, 5e-4)
    assert (plain.hidden, plain.surrogate, plain.tau, plain.split) == (None, "atan", None, None)
    flat = RunConfig(model="spiking-gnn")
    assert (flat.hidden, flat.gradient, flat.surrogate, flat.manifold, flat.step_size) == (
        32,
        "bptt",
        "atan",
        None,
        None,
    )
    links = RunConfig(task="link-prediction")
    assert (links.split, links.gradient, links.conv, links.threshold) == ("link:85/5/10", "dvm", "gcn", "auto")
    assert (links.layers, links.timesteps, links.dropout, links.weight_decay) == (3, 15, 0.0, 0.0)
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
        {"gradient": "bptt", "surrogate": "triangle", "patience": 0, "baseline": "none"},
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
        ({"model": "spikinggcn", "task": "link-prediction"}, "contradicts model='spikinggcn'.*E32"),
        (
            {"model": "adamic-adar"},
            "contradicts model='adamic-adar', which scores pairs of nodes alone: use model 'msg'",
        ),
        ({"decoder": "structural"}, "decoder contradicts task='node-classification'.*'link-prediction', leave it out"),
        ({"task": "link-prediction", "generations": 2}, "generations contradicts task='link-prediction'"),
        ({"generations": 2, "batch_size": 8, "fan_out": "5,5"}, "generations=2 contradicts batch_size=8"),
        ({"task": "link-prediction", "consistency": 1.0}, "consistency contradicts task='link-prediction'"),
        ({"consistency": 1.0, "batch_size": 8, "fan_out": "5,5"}, "consistency=1.0 contradicts batch_size=8"),
        (
            {"task": "link-prediction", "decoder": "structural", "batch_size": 8},
            "batch_size=8 contradicts decoder='structural'",
        ),
        (
            {"task": "link-prediction", "decoder": "structural", "model": "l3"},
            "decoder='structural' contradicts model='l3', which does not read it",
        ),
        ({"model": "spiking-gnn", "manifold": "H8"}, "manifold='H8' contradicts model='spiking-gnn'"),
        ({"model": "spiking-gnn", "step_size": 0.2}, "step_size=0.2 contradicts"),
        ({"model": "spiking-gnn", "max_step": 2.0}, "max_step=2.0 contradicts"),
        ({"model": "spiking-gnn", "gradient": "dvm"}, "gradient='dvm' contradicts .* use 'rate', 'ottt', 'bptt'"),
        ({"hidden": 8}, "hidden=8 contradicts manifold='H32'"),
        ({"gradient": "dvm", "surrogate": "atan"}, "surrogate='atan' contradicts gradient='dvm'"),
        ({"tau": 3.0}, "tau=3.0 contradicts neuron='if'"),
        ({"gradient": "dvm", "neuron": "plif"}, "neuron='plif' contradicts gradient='dvm'"),
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
    assert all(f"\n    {field.name}: " in RunConfig.__doc__ for field in fields(RunConfig))


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", (3,)), ("0-4", (0, 1, 2, 3, 4)), ("0,2,5", (0, 2, 5)), ("7-7, 1-2", (7, 1, 2)), (" 0 - 1 ,12 ", (0, 1, 12))],
)
def test_parse_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,,2", "-1", "0-4-8", "1.5", "0 1 2", "1 0-1 2"])
def test_parse_seeds_refuses(text):
    with pytest.raises(ValueError, match="write 3, 0-4 or 0,2,5"):
        parse_seeds(text)


def test_importing_it_imports_no_torch():
    code = "import sys, msg.experiments.config; assert 'torch' not in sys.modules and 'pydantic' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_of_the_registry_has_the_options_that_it_reads(model):
    config, reads = RunConfig(model=model, task=MODELS[model].tasks[0]), MODELS[model].reads
    read = {
        "manifold": "manifold", "hidden": "hidden_channels", "hops": "num_hops", "timesteps": "timesteps",
        "neuron": "neuron", "reset": "neuron", "gradient": "gradient", "conv": "conv",
        "bias": "bias", "step_size": "step_size", "max_step": "max_step", "dropout": "dropout",
    }  # fmt: skip
    for name, by in read.items():
        assert (getattr(config, name) is not None) == (by in reads), name
    assert (config.threshold is not None) == ("neuron" in reads or "threshold" in reads)
    layers = MODELS[model].defaults.get("num_layers", 2 if config.task == "node-classification" else 3)
    assert config.layers in (None, layers)
    assert config.hops in (None, MODELS[model].defaults.get("num_hops", layers))
    assert config.baseline == ("none" if model in ("gcn", "gin") else "gcn")
    assert RunConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_hops_are_as_many_as_layers():
    assert RunConfig(model="sgc", layers=5).hops == 5
    assert RunConfig(model="sgc", layers=5, hops=2).hops == 2
    assert RunConfig(model="sgc", layers=5).with_options(layers=4).hops == 4


def test_fan_out_has_a_number_for_each_convolution():
    assert (RunConfig().batch_size, RunConfig().fan_out) == (None, None)
    config = RunConfig(batch_size=64, layers=2)
    assert config.fan_out == "10,10"
    assert config.for_model("gcn").fan_out == "10,10"
    assert config.with_options(layers=3).fan_out == "10,10,10"
    assert RunConfig(batch_size=64, fan_out="15,-1").for_model("gat").fan_out == "15,-1"
    assert RunConfig(batch_size=64, model="sgc", layers=3, hops=2).fan_out == "10,10"


def test_a_model_that_takes_no_batches_is_refused_beside_others_too():
    MODELS.register("whole", ModelSpec(GCN, frozenset({"hidden_channels", "num_layers"}), "all at once"))
    try:
        with pytest.raises(ValueError, match="batch_size=64 contradicts model='whole', which does not read it"):
            RunConfig(batch_size=64, model="whole")
        with pytest.raises(ValueError, match="batch_size=64 contradicts model='whole', which does not read it"):
            RunConfig(batch_size=64).for_model("whole")
    finally:
        MODELS.remove("whole")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "gcn", "timesteps": 5}, "timesteps=5 contradicts model='gcn', which does not read it"),
        ({"model": "gcn", "tau": 2.0}, "tau=2.0 contradicts model='gcn'"),
        ({"model": "sgc", "dropout": 0.5}, "dropout=0.5 contradicts model='sgc'"),
        ({"model": "spikinggcn", "sparsity": 0.5}, "sparsity=0.5 contradicts model='spikinggcn'"),
        ({"model": "sgc", "task": "link-prediction"}, "contradicts model='sgc', which gives no points"),
        ({"baseline": "mlp"}, "unknown baseline 'mlp': use .*'gcn'.*'none'"),
        ({"baseline": "msg"}, "baseline='msg' contradicts model='msg'"),
        ({"baseline": True}, "baseline must be a text, not True"),
        ({"bias": 1}, "bias must be true or false, not 1"),
        ({"dataset": 3}, "dataset must be a text, not 3"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, not 0"),
        ({"fan_out": "15,10,5"}, "fan_out='15,10,5' is of batches: give batch_size too"),
        ({"batch_size": 8, "fan_out": "15,10,5"}, "3 hops far, but model='msg' looks 2 hops far: give one number for"),
        ({"batch_size": 8, "fan_out": "15,0,5"}, "cannot read fan_out '15,0,5': write 15,10, or -1"),
        ({"batch_size": 8, "fan_out": "15,-2,5"}, "cannot read fan_out"),
        ({"batch_size": 8, "fan_out": ""}, "cannot read fan_out ''"),
    ],
)
def test_more_contradictions(options, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**options)


def test_given_is_what_differs_from_the_defaults():
    assert RunConfig().given() == {}
    assert RunConfig(layers=2, neuron="if", threshold="auto").given() == {}
    options = {"neuron": "lif", "tau": 3.0, "seeds": (1,), "bias": False, "max_step": 0.0, "sparsity": 0.5}
    assert RunConfig(**options).given() == options


def test_with_other_options():
    config = RunConfig(gradient="bptt", surrogate="triangle", neuron="lif", tau=3.0, lr=0.5)
    assert config.with_options(lr=0.1) == RunConfig(
        gradient="bptt", surrogate="triangle", neuron="lif", tau=3.0, lr=0.1
    )
    assert config.with_options(gradient="rate", surrogate=None, neuron="if") == RunConfig(lr=0.5)
    assert config.with_options(surrogate=None).surrogate == "atan"
    with pytest.raises(ValueError, match=r"tau=3\.0 contradicts neuron='if'"):
        config.with_options(neuron="if", tau=3.0)


def test_for_another_model():
    config = RunConfig(manifold="H3xS2", timesteps=4, dropout=0.3, neuron="lif", tau=3.0, lr=0.2, seeds=(1,), layers=4)
    gcn = config.for_model("gcn")
    assert gcn == RunConfig(model="gcn", hidden=5, layers=4, dropout=0.3, lr=0.2, seeds=(1,))
    flat = config.for_model("spiking-gnn")
    assert (flat.hidden, flat.timesteps, flat.neuron, flat.tau, flat.gradient) == (5, 4, "lif", 3.0, "bptt")
    assert config.for_model("msg") == config.with_options(baseline="none")
    assert RunConfig(model="spiking-gnn", hidden=7).for_model("gcn").hidden == 7
    assert config.for_model("sgc").hops == 4
    with pytest.raises(ValueError, match="unknown model 'mlp'"):
        config.for_model("mlp")


def test_what_is_registered_works_without_an_edit():
    class Mine(LIF):
        def __init__(self, tau: float = 5.0, threshold: float = 0.25):
            super().__init__(tau, threshold)

    class Own(RateBackprop):
        pass

    NEURONS.register("mine", Mine)
    GRADIENTS.register("own", Own)
    try:
        config = RunConfig(neuron="mine", gradient="own", surrogate="triangle")
        assert (config.tau, config.threshold, config.reset, config.detach_reset) == (5.0, 0.25, None, True)
        assert isinstance(make_part(config, "neuron"), Mine)
        assert make_part(config, "gradient") == Own(Triangle(), True)
        assert config.with_options(neuron="lif").reset == "subtract"
        with pytest.raises(ValueError, match="reset='zero' contradicts neuron='mine', which has none"):
            RunConfig(neuron="mine", reset="zero")
        with pytest.raises(ValueError, match="tau must be above 1 step"):
            RunConfig(neuron="mine", tau=0.5)
    finally:
        NEURONS.remove("mine")
        GRADIENTS.remove("own")
    with pytest.raises(ValueError, match="unknown neuron 'mine'"):
        RunConfig(neuron="mine")


def test_parts_are_made_with_their_options():
    config = RunConfig(neuron="lif", tau=4.0, threshold=0.5, reset="zero", gradient="bptt", detach_reset=False)
    neuron = make_part(config, "neuron")
    assert (neuron.tau, neuron.threshold, neuron.reset) == (4.0, 0.5, "zero")
    assert make_part(config, "gradient") == SurrogateBPTT(detach_reset=False)
    assert make_part(RunConfig(model="gcn"), "neuron") is None


def test_table_of_options():
    lines = options_table().splitlines()
    assert len(lines) == len(fields_of(RunConfig)) + 2
    assert any("`--checkpoint-every`" in line and "10" in line for line in lines)


def test_defaults_as_shown_are_those_that_are_taken():
    plain, flat = RunConfig(gradient="bptt"), RunConfig(model="spiking-gnn", neuron="lif")
    links, twin = RunConfig(task="link-prediction"), RunConfig(neuron="quantized-relu", timesteps=1)
    batches, decaying = RunConfig(task="link-prediction", batch_size=8), RunConfig(neuron="decaying-lif")
    named = [RunConfig(model=name, task=MODELS[name].tasks[0]) for name in MODELS]
    named += [RunConfig(model=name, task="graph-classification") for name in ("msg", "gin")]
    for name, field in fields_of(RunConfig).items():
        values = {str(getattr(config, name)) for config in (plain, flat, links, batches, decaying, twin, *named)}
        if name not in ("root", "split", "top_features", "hops", "gradient", "seeds", "batch_size", "fan_out"):
            assert set(re.sub(r" for [a-z -]+", "", field.option.shown_default).split("; ")) <= values, name
