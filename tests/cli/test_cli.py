import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from msg import __version__
from msg.cli.compare import compare
from msg.cli.train import train
from msg.datasets import load_graph
from msg.experiments import Experiment, RecipeStudy, RunConfig
from msg.experiments.options import fields_of
from msg.kernels import status
from msg.names import NEURONS

FAST = ["train", "--dataset", "karate", "--epochs", "4", "--timesteps", "3", "--layers", "2", "--manifold", "H4"]
COMPARE = ["compare", *FAST[1:5], "--timesteps", "3,5", "--layers", "3", "--manifold", "H4", "--no-memory"]


def refused(result, message, status=2):
    assert result.exit_code == status
    assert re.search(message, result.stderr), result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


def test_train_and_resume(cli, tmp_path):
    result = cli(*FAST, "--seeds", "0,2", "--out", "here")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    for expected in ("MSG validation", "GCN test", "mean ± std", "energy of one inference, mJ", "kept in here"):
        assert expected in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 110
    assert "\x1b" not in result.stdout
    assert json.loads((tmp_path / "here" / "results.json").read_text())["seeds"] == [0, 2]
    again = cli("train", "--resume", "here")
    assert again.exit_code == 0
    assert "mean ± std" in again.stdout


def test_a_run_goes_on_where_its_graph_is(cli, tmp_path, monkeypatch):
    graph = load_graph("karate")
    arrays = {"node_features": graph.x, "node_labels": graph.y, "edges": graph.edge_index.t()}
    np.savez(tmp_path / "own.npz", **{name: value.numpy() for name, value in arrays.items()})
    assert (
        cli(*FAST[:1], *FAST[3:], "--dataset", "own.npz", "--split", "random:30/30/40", "--out", "here").exit_code == 0
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for command in (("train", "--resume", "../here"), ("predict", "../here", "--out", "p.csv")):
        refused(cli(*command), "found its graph in 'own.npz', seen from .*go to that folder first, or bring it back")
    assert not list((tmp_path / "elsewhere").iterdir())
    monkeypatch.chdir(tmp_path)
    assert cli("train", "--resume", "here").exit_code == 0


def test_no_baseline_and_default_folder(cli, tmp_path):
    result = cli(*FAST, "--no-baseline")
    assert result.exit_code == 0
    assert "GCN" not in result.stdout
    assert (tmp_path / "runs" / "karate-node-classification" / "results.json").exists()


OPEN = ["train", "--dataset", "karate", "--epochs", "3", "--seeds", "0"]


def test_without_settings_validation_chooses_a_recipe(cli, tmp_path):
    result = cli(*OPEN, "--json", "--out", "o")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert f"going on with {found['recipes']['chosen']}\n" in result.stderr
    assert cli("train", "--resume", "o", "--epochs", "5").exit_code == 0
    assert json.loads((tmp_path / "o" / "results.json").read_text())["epochs"] == [5]
    assert cli("predict", "o", "--out", "p.csv").exit_code == 0
    assert cli("energy", "o").exit_code == 0
    assert cli(*OPEN, "--model", "msg", "--out", "by-hand").exit_code == 0
    assert "recipes" not in json.loads((tmp_path / "by-hand" / "results.json").read_text())


def test_a_choice_that_was_interrupted_goes_on(cli, monkeypatch):
    def interrupted(self, *arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RecipeStudy, "watched", interrupted)
        result = cli(*OPEN, "--out", "o")
    assert result.exit_code == 130
    assert result.stderr.rstrip().endswith("msg train --resume o")
    refused(cli(*OPEN, "--model", "gcn", "--out", "o"), r"already holds a run .* --resume o")
    result = cli("train", "--resume", "o")
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith("kept in o")


def test_every_option_reaches_the_configuration(cli, tmp_path):
    options = {
        "dataset": "karate", "task": "link-prediction", "split": "link:60/20/20", "features": "dense", "model": "msg",
        "manifold": "S3", "layers": 2, "timesteps": 2, "conv": "sage", "neuron": "lif", "threshold": 0.5,
        "reset": "zero", "tau": 3.0, "step_size": 0.2, "max_step": 2.0, "dropout": 0.1, "gradient": "bptt",
        "surrogate": "triangle", "epochs": 2, "lr": 0.02, "weight_decay": 1e-4, "patience": 1, "device": "cpu",
        "checkpoint_every": 1, "root": "data", "batch_size": 64, "fan_out": "5,-1", "decoder": "plain",
        "similarity": "tangent",
        "norm": "layer", "input_dropout": 0.1,
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in ("--" + name.replace("_", "-"), value)]
    result = cli("train", *arguments, "--seeds", "4-5", "--no-baseline", "--no-bias", "--no-detach-reset", "--out", "o")
    assert result.exit_code == 0, result.output
    kept = json.loads((tmp_path / "o" / "config.json").read_text())["options"]
    given = {"seeds": [4, 5], "baseline": "none", "bias": False, "detach_reset": False, "classifier": None}
    left = ("top_features", "sparsity", "hidden", "hops", "normalize_features", "heads", "residual", "jumping")
    left += ("learn_curvature", "drop_edge", "half_hop", "label_smoothing", "propagate", "teleport", "bits")
    left += ("learn_step_size", "pooling", "generations", "consistency", "signed", "graph_weight", "warm_up")
    left += ("input_rate", "clip_grad", "encoder_epochs", "decoder_channels", "margin", "graph_dropout", "blocks")
    assert kept == {**options, **given, **{name: getattr(RunConfig(), name) for name in left}}


def test_options_of_node_classification_reach_the_configuration(cli, tmp_path):
    assert cli(*FAST, "--no-baseline", "--top-features", "9", "--sparsity", "0.5", "--out", "o").exit_code == 0
    kept = json.loads((tmp_path / "o" / "config.json").read_text())["options"]
    assert (kept["top_features"], kept["sparsity"]) == (9, 0.5)


def test_help_knows_all_options_and_their_defaults(cli):
    shown = " ".join(cli("train", "--help").stdout.replace("│", " ").split())
    for field in fields_of(RunConfig).values():
        assert f"{field.flag} " in shown
        if field.option.shown_default != "None":
            assert f"{field.option.help.replace('`', '')} [default: {field.option.shown_default}]" in shown
    own = {"out", "resume", "workers", "partition", "config", "json", "quiet", "log"}
    assert set(train.__annotations__) == {*fields_of(RunConfig), *own}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--manifold", "Q3"], "unknown manifold 'Q3'.*'H16xS16'"),
        (["--neuron", "squid"], "unknown neuron 'squid': use 'if', 'lif', 'plif'"),
        (["--model", "spikinggcn", "--task", "link-prediction"], "contradicts model='spikinggcn'"),
        (["--seeds", "4-0"], "write 3, 0-4 or 0,2,5"),
        (["--dataset", "atlantis"], "unknown graph 'atlantis': choose one of digits"),
        (["--dataset", "none.npz"], "none.npz: no such file"),
        (["--dataset", "karate", "--split", "fixed:3"], "split 'fixed:3' is not given"),
        (["--lr", "0"], "lr must be a positive number"),
        (["--resume", "nowhere"], "nowhere holds no run: it has no config.json"),
        (["--resume", "nowhere", "--lr", "1", "--out", "x"], "--lr, --out cannot be given too"),
        (["--workers", "0"], "workers must be a whole number of at least 1, not 0"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--baseline", "mlp"], "unknown baseline 'mlp'"),
        (["--learning-rate", "1"], "Unknown option"),
        (["--epochs", "many"], "'many' is no whole number"),
        (["--epochs", "2.5"], "'2.5' is no whole number"),
        (["--workers", "1.4"], "'1.4' is no whole number"),
        (["--model", "gin"], "model='gin', which classifies whole graphs alone"),
        (["--teleport", "0.3"], "teleport is of predictions that are propagated: give propagate too"),
        (["--dataset", "motifs"], "use load_graphs, or --task graph-classification"),
        (["--dataset", "karate", "--log", "nonsense"], "nonsense"),
        (["--dataset", "karate", "--baseline", "common-neighbors"], "common-neighbors"),
    ],
)
def test_mistakes_are_one_line(cli, tmp_path, arguments, message):
    refused(cli("train", *arguments), message)
    assert not list(tmp_path.iterdir())


def test_unknown_flags_and_words_for_numbers(cli):
    refused(cli("train", "--learning-rate", "1"), "Unknown option")
    refused(cli("train", "--epochs", "many"), "many")
    refused(cli("sing"), "sing")


def test_a_run_is_not_overwritten(cli):
    assert cli(*FAST, "--out", "o").exit_code == 0
    refused(cli(*FAST, "--out", "o"), r"o already holds a run .* --resume o, or choose another --out")


def test_damaged_graph(cli, tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not really")
    refused(cli("train", "--dataset", "bad.npz"), "bad.npz cannot be read as a graph")


def test_interrupt_says_how_to_go_on(cli, monkeypatch):
    def interrupted(self, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Experiment, "execute", interrupted)
    result = cli(*FAST, "--out", "o")
    assert result.exit_code == 130
    assert "msg train --resume o" in result.stderr


def test_divergence_is_one_line(cli, monkeypatch):
    def diverged(self, *arguments):
        raise FloatingPointError("the loss is nan in epoch 3")

    monkeypatch.setattr(Experiment, "execute", diverged)
    refused(cli(*FAST, "--out", "o"), "the loss is nan in epoch 3", status=1)


def test_compare_and_resume(cli, tmp_path):
    result = cli(*COMPARE, "--rules", "dvm, bptt", "--seeds", "0,2", "--threshold", "0.05")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    folder = tmp_path / "runs" / "compare-karate"
    assert sorted(path.name for path in folder.iterdir()) == [
        "comparison.json", "comparison.md", "comparison.png", "config.json", "jobs",
    ]  # fmt: skip
    for rule in ("dvm", "bptt"):
        for timesteps in (3, 5):
            assert re.search(rf"^ ?{rule} +{timesteps} +\d+\.\d\d ± \d", result.stdout, re.MULTILINE)
            assert re.search(r" 0\.\d\d\d *$", result.stdout, re.MULTILINE)  # the last column is not cut off
            assert f"{rule}, T={timesteps}, seed 2: 4 epochs" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 110
    assert "…" not in result.stdout
    kept = (folder / "comparison.json").read_bytes()
    again = cli("compare", "--resume", "runs/compare-karate")
    assert again.exit_code == 0
    assert "seed 2" not in again.stdout
    assert (folder / "comparison.json").read_bytes() == kept
    refused(cli(*COMPARE, "--out", "runs/compare-karate"), "already holds a comparison .*--resume")


def test_compare_hands_on_every_option(cli, monkeypatch):
    seen = {}

    def begin(config, out):
        seen.update(config=config, out=out)
        raise ValueError("enough")

    monkeypatch.setattr(Experiment, "begin", begin)
    options = {
        "dataset": "karate", "task": "link-prediction", "split": "link:60/20/20", "features": "dense", "model": "msg",
        "manifold": "S3", "layers": 2, "conv": "sage", "neuron": "plif", "threshold": 0.5, "reset": "zero", "tau": 3.0,
        "step_size": 0.2, "max_step": 2.0, "dropout": 0.1, "epochs": 2, "lr": 0.02, "weight_decay": 1e-4,
        "patience": 1, "device": "cpu", "root": "data",
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in ("--" + name.replace("_", "-"), value)]
    arguments += ["--rules", "bptt", "--timesteps", "4", "--surrogate", "triangle", "--seeds", "4-5", "--no-bias"]
    refused(cli("compare", *arguments, "--no-memory", "--out", "o"), "enough")
    study = seen["config"]
    assert (study.rules, study.timesteps, study.surrogate, study.memory) == (("bptt",), (4,), "triangle", False)
    assert study.base.seeds == (4, 5)
    assert not study.base.bias
    assert {name: getattr(study.base, name) for name in options} == options
    assert str(seen["out"]) == "o"
    own = {"gradient", "baseline", "partition", "log"}, {"rules", "memory"}
    assert set(compare.__annotations__) == set(train.__annotations__) - own[0] | own[1]


def test_energy_of_a_run(cli, tmp_path, rendered):
    assert cli(*FAST, "--seeds", "0", "--no-baseline", "--out", "o").exit_code == 0
    result = cli("energy", "o", "--measure", "0.01")
    assert result.exit_code == 0, result.output
    for expected in (
        "45 nm, FP32",
        "as-published MSG",
        "stack.layers.0.synapse",
        "tangent shortcut",
        "measured, ",
        "kept in o",
    ):
        assert expected in result.stdout
    kept = json.loads((tmp_path / "o" / "energy.json").read_text())
    assert kept["energy_mj"] == kept["tables"]["45 nm, FP32"] > 0
    assert kept["events_energy_mj"] == kept["events_tables"]["45 nm, FP32"] > 0
    assert "Events: zeros are skipped" in result.stdout
    assert kept["accuracy"] == json.loads((tmp_path / "o" / "results.json").read_text())["test"]
    assert (tmp_path / "o" / "energy.md").read_text().startswith("## Energy")
    assert (tmp_path / "o" / "energy.png").read_bytes().startswith(b"\x89PNG")
    assert kept["break_even_map"]["layers"]["stack.layers.0.neuron"][0] == 3
    assert (tmp_path / "o" / "break-even.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "o" / "energy-parts.png").exists()  # there is no baseline beside it
    events = cli("energy", "o", "--inputs", "events", "--out", "elsewhere")
    assert "inputs: events" in events.stdout
    assert (tmp_path / "elsewhere" / "energy.json").exists()


def test_energy_of_a_run_beside_its_baseline(cli, tmp_path, rendered):
    assert cli(*FAST, "--seeds", "0", "--out", "o").exit_code == 0
    assert cli("energy", "o").exit_code == 0
    assert (tmp_path / "o" / "energy-parts.png").read_bytes().startswith(b"\x89PNG")


def test_energy_of_a_run_that_reads_all_points_has_no_shortcut(cli, tmp_path):
    assert cli(*FAST, "--jumping", "cat", "--seeds", "0", "--no-baseline", "--out", "o").exit_code == 0
    assert cli("energy", "o").exit_code == 0
    assert "tangent_shortcut" not in json.loads((tmp_path / "o" / "energy.json").read_text())


def test_energy_of_several_models(cli, tmp_path):
    options = ["--dataset", "karate", "--epochs", "2", "--timesteps", "3", "--manifold", "H4", "--seeds", "0-1"]
    result = cli("energy", "--models", "gcn,sgc,sage,spikinggcn,msg", *options, "--out", "o")
    assert result.exit_code == 0, result.output
    for expected in ("spikinggcn", "±", "Dense inputs", "break-even rate"):
        assert expected in result.stdout
    assert re.search(r"gcn, seed 0: 2 epochs, best \d, validation 0\.", result.stderr)
    kept = json.loads((tmp_path / "o" / "energy.json").read_text())
    assert len(kept["models"]["sage"]["accuracy"]) == 2
    assert kept["config"]["timesteps"] == 3


def test_energy_of_a_search(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # headers stay in one line
    options = ["--dataset", "karate", "--epochs", "2", "--layers", "2", "--seeds", "0", "--out", "o"]
    search = [
        "--vary",
        "manifold=H2,H4",
        "--vary",
        "--top-features=5,none",
        "--vary",
        "bias=true,false",
        "--trials",
        "3",
    ]
    result = cli("energy", "--models", "gcn,msg", *options, *search)
    assert result.exit_code == 0, result.output
    assert "× below gcn" in result.stdout
    trials = json.loads((tmp_path / "o" / "energy.json").read_text())["trials"]
    settings = [trial["settings"] for trial in trials]
    assert len(settings) == 6
    assert {value for setting in settings for value in setting.values()} == {"H2", "H4", 5, None, True, False}
    assert (tmp_path / "o" / "energy.md").read_text().count("## ") == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rules", "dvm,magic"], "unknown gradient 'magic': use 'dvm', .*'bptt'"),
        (["--rules", "magic"], "unknown gradient 'magic'"),
        (["--rules", "dvm,dvm"], "rules must be different values"),
        (["--timesteps", "5-9"], "cannot read timesteps '5-9': write 15 or 5,15,64"),
        (["--model", "spiking-gnn", "--rules", "bptt,dvm"], "it does not differentiate through spikes, use .*'bptt'"),
        (["--dataset", "karate", "--split", "random:99/1/0"], "leaves no node"),
        (["--resume", "nowhere"], "nowhere holds no comparison: it has no config.json"),
        (["--resume", "nowhere", "--rules", "dvm"], "--rules cannot be given too"),
    ],
)
def test_mistakes_in_a_comparison_are_one_line(cli, tmp_path, arguments, message):
    refused(cli("compare", *arguments), message)
    assert not list(tmp_path.iterdir())


def _in_the_wake_of(first):
    # as torch does when what it interrupts has not yet entered what it leaves
    error = RuntimeError("trying to pop from empty mode stack")
    error.__context__ = first
    return error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; go on with: msg compare --resume o"),
        (_in_the_wake_of(KeyboardInterrupt()), 130, "interrupted; go on with: msg compare --resume o"),
        (FloatingPointError("dvm: the loss is nan"), 1, "error: dvm: the loss is nan"),
        (MemoryError("was killed"), 1, "error: was killed"),
    ],
)
def test_a_comparison_that_stops(cli, monkeypatch, error, status, message):
    def stop(self, *arguments):
        raise error

    monkeypatch.setattr(Experiment, "execute", stop)
    result = cli(*COMPARE, "--out", "o")
    assert result.exit_code == status
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere holds no run"),
        (["nowhere", "--epochs", "3"], "a run has its own options, so --epochs cannot be given with it"),
        (["nowhere", "--models", "gcn"], "give the folder of a run, or --models to train"),
        (["--epochs", "3"], "give the folder of a run, or --models to train"),
        (["--models", "gcn", "--measure", "1"], "--measure needs the folder of a run"),
        (["--models", "mlp", "--dataset", "karate"], "unknown model 'mlp'"),
        (["nowhere", "--vary", "lr=1"], "--vary and --trials need --models"),
        (["nowhere", "--trials", "1"], "--vary and --trials need --models"),
        (["--models", "gcn", "--vary", "lr"], "cannot read --vary 'lr': write an option and its values"),
        (
            ["--models", "gcn", "--vary", "lr=1", "--vary", "lr=2"],
            "--vary lr is given twice: write all its values in one",
        ),
        (["--models", "gcn", "--vary", "rate=0.1"], "rate cannot be varied: use batch_size, bias"),
        (["--models", "gcn", "--dataset", "karate", "--vary", "lr=fast"], "lr must be a positive number, not 'fast'"),
        (["--models", "gcn", "--neuron", "squid"], "unknown neuron 'squid'"),
    ],
)
def test_mistakes_about_energy_are_one_line(cli, arguments, message):
    refused(cli("energy", *arguments), message)


def test_diverging_comparison_is_one_line(cli, monkeypatch):
    def diverged(*arguments):
        raise FloatingPointError("the loss is nan in epoch 3")

    monkeypatch.setattr(Experiment, "execute", diverged)
    result = cli("energy", "--models", "gcn", "--dataset", "karate")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, "error: the loss is nan in epoch 3")


def test_a_search_is_resumed(cli, monkeypatch):
    options = ["--models", "gcn,sgc", "--dataset", "karate", "--epochs", "2", "--seeds", "0-1", "--vary", "lr=0.01,0.1"]

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("msg.experiments.studies.energy.EnergyStudy.summarise", interrupted)
        stopped = cli("energy", *options)
    assert stopped.exit_code == 130
    assert "interrupted; go on with: msg energy --resume runs/energy-karate" in stopped.stderr
    done = cli("energy", "--resume", "runs/energy-karate")
    assert done.exit_code == 0
    assert "the best of 2" in done.stdout
    assert "seed 0" not in done.stderr
    refused(cli("energy", *options, "--out", "runs/energy-karate"), "already holds a search")
    refused(cli("train", "--resume", "runs/energy-karate"), "holds a search: go on with msg energy --resume")


def test_options_come_from_a_file(cli, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'dataset = "karate"\nepochs = 3\nmax-step = 2\nseeds = [4, 5]\nbaseline = false\nlayers = 2\n'
        'manifold = "H4"\nworkers = 1\n'
    )
    assert cli("train", "--config", "mine.toml", "--epochs", "2", "--out", "o").exit_code == 0
    kept = json.loads((tmp_path / "o" / "config.json").read_text())["options"]
    wanted = {"dataset": "karate", "epochs": 2, "max_step": 2.0, "seeds": [4, 5], "baseline": "none"}
    assert {name: kept[name] for name in wanted} == wanted
    (tmp_path / "wrong.toml").write_text("learning_rate = 1")
    refused(cli("train", "--config", "wrong.toml"), "wrong.toml has unknown options learning_rate: known are dataset")
    (tmp_path / "wrong.toml").write_text('lr = "fast"')
    refused(cli("train", "--config", "wrong.toml"), "lr must be a positive number, not 'fast'")
    (tmp_path / "wrong.toml").write_text("lr 1")
    refused(cli("train", "--config", "wrong.toml"), "wrong.toml cannot be read as TOML")
    for text, message in (
        ('json = "false"', "json = 'false', which must be true or false"),
        ('quiet = "no"', "quiet = 'no', which must be true or false"),
        ('workers = "2"', "workers = '2', which must be a whole number"),
        ("top-features = 5\ntop_features = 6", "has an option twice"),
        ("[model]\nlayers = 3", "wrong.toml has a table 'model': write options without one"),
        ('neuron = {name = "lif"}', "wrong.toml has a table 'neuron'"),
        ('model = ["msg", "gcn"]', "unknown model"),
        ('gradient = ["dvm"]', "unknown gradient"),
    ):
        (tmp_path / "wrong.toml").write_text(text)
        refused(cli("train", "--config", "wrong.toml"), message)


def test_a_file_has_what_the_command_takes(cli, tmp_path):
    for line in ('gradient = "rate"', 'baseline = "gat"'):
        (tmp_path / "rules.toml").write_text(line)
        refused(cli("compare", "--config", "rules.toml"), "has unknown options")


def test_one_seed_in_a_file(cli, tmp_path):
    (tmp_path / "one.toml").write_text("seeds = 3\n")
    assert cli("train", "--dataset", "karate", "--model", "sgc", "--epochs", "1", "--config", "one.toml", "--out", "o")
    assert json.loads((tmp_path / "o" / "config.json").read_text())["options"]["seeds"] == [3]


def test_all_neighbours_at_each_hop(cli, tmp_path):
    options = ["train", "--dataset", "karate", "--model", "sage", "--epochs", "1", "--seeds", "0", "--no-baseline"]
    result = cli(*options, "--layers", "2", "--batch-size", "8", "--fan-out", "-1,-1", "--out", "o")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "o" / "config.json").read_text())["options"]["fan_out"] == "-1,-1"


def test_commands_that_are_said_can_be_copied(cli):
    assert cli(*FAST, "--out", "a b").exit_code == 0
    refused(cli(*FAST, "--out", "a b"), "--resume 'a b', or choose another --out")


def test_all_commands_read_files(cli, tmp_path):
    shared = 'dataset = "karate"\nepochs = 1\nseeds = "0"\nlayers = 2\nmanifold = "H4"\n'
    (tmp_path / "rules.toml").write_text(shared + 'rules = ["dvm"]\ntimesteps = [2, 3]\nmemory = false\nout = "c"\n')
    assert cli("compare", "--config", "rules.toml").exit_code == 0
    assert json.loads((tmp_path / "c" / "config.json").read_text())["options"]["timesteps"] == [2, 3]
    (tmp_path / "search.toml").write_text(shared + 'models = ["gcn"]\n[vary]\nlr = [0.01, 0.1]\n')
    assert cli("energy", "--config", "search.toml", "--out", "e").exit_code == 0
    assert json.loads((tmp_path / "e" / "config.json").read_text())["options"]["vary"] == {"lr": [0.01, 0.1]}


@pytest.mark.parametrize(
    ("command", "lines", "message"),
    [
        ("compare", "rules = [1]", "'1'"),
        ("compare", "timesteps = [5, 15.7, true]", "cannot read timesteps"),
        ("energy", "models = [1]", "unknown model '1'"),
        ("energy", 'models = ["gcn"]\nvary = [5]', "cannot read --vary '5'"),
        ("benchmark", "models = [1]", "'1'"),
    ],
)
def test_numbers_in_place_of_names_in_a_file_are_refused(cli, tmp_path, command, lines, message):
    (tmp_path / "o.toml").write_text(f"{lines}\n" + ("" if command == "benchmark" else 'dataset = "karate"\n'))
    words = ["links"] if command == "benchmark" else []
    refused(cli(command, *words, "--config", "o.toml"), message)


def test_any_model_and_what_is_registered_can_be_trained(cli):
    result = cli("train", "--dataset", "karate", "--epochs", "2", "--seeds", "0", "--model", "gcn", "--baseline", "sgc")
    assert result.exit_code == 0, result.output
    assert "GCN test" in result.stdout
    assert "SGC test" in result.stdout

    class Mine(NEURONS["if"]):
        pass

    NEURONS.register("mine", Mine)
    try:
        assert cli(*FAST, "--neuron", "mine", "--no-baseline", "--seeds", "0").exit_code == 0
    finally:
        NEURONS.remove("mine")


def test_several_workers(cli, monkeypatch):
    seen = []

    def look(self, progress, executor):
        seen.append(executor)
        raise FloatingPointError("enough")

    monkeypatch.setattr(Experiment, "execute", look)
    for command in (["train"], ["energy", "--models", "gcn"], ["compare"]):
        assert cli(*command, "--dataset", "karate", "--workers", "2", "--out", "o").exit_code == 1
    assert cli("train", "--dataset", "karate", "--out", "o").exit_code == 1
    assert [getattr(executor, "workers", 0) for executor in seen] == [2, 2, 2, 0]


def test_train_on_whole_graphs(cli):
    options = ("--dataset", "motifs", "--manifold", "H4", "--timesteps", "1", "--epochs", "1", "--batch-size", "300")
    result = cli("train", "--task", "graph-classification", *options, "--seeds", "14", "--out", "o")
    assert result.exit_code == 0, result.output
    assert "motifs · graph-classification · folds:10 · accuracy, %" in result.stdout
    assert "GIN test" in result.stdout
    counted = cli("energy", "o")
    assert counted.exit_code == 0, counted.output
    assert "readout.pooling" in counted.stdout
    refused(cli("train", *options), "'motifs' is a set of 300 graphs")


def test_datasets_list(cli):
    result = cli("datasets", "list")
    assert result.exit_code == 0
    assert "ogbn-products" in result.stdout
    assert "2,449,029" in result.stdout
    assert result.stdout.index("Sets, for --task graph-classification") < result.stdout.index("mutag")
    assert "…" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 110


def test_datasets_import_and_verify(cli, tmp_path):
    refused(cli("datasets", "verify", "--root", "nowhere"), "nowhere is not a folder")
    refused(cli("datasets", "import", "nowhere", "--root", "data"), "nowhere is not a folder")
    (tmp_path / "data" / "Photo" / "raw").mkdir(parents=True)
    np.savez(tmp_path / "data" / "Photo" / "raw" / "amazon_electronics_photo.npz", labels=np.arange(3))
    result = cli("datasets", "verify", "--root", "data")
    assert result.exit_code == 1
    assert "photo: data/Photo" in result.stdout
    (tmp_path / "empty").mkdir()
    assert "no known graph in empty" in cli("datasets", "verify", "--root", "empty").stdout


def test_version(cli):
    first, second = cli("--version").stdout.strip().splitlines()
    assert first == __version__
    assert second == f"kernels: {status()}"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["train", "--help"], ["compare", "-h"], ["energy", "-h"], []]
)
def test_help_comes_without_torch(arguments):
    code = f"import sys; sys.argv = ['msg', *{arguments}]\ntry:\n    from msg.cli import main; main()\nfinally:\n"
    code += "    assert not {'torch', 'pandas', 'matplotlib', 'pydantic'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: msg" in done.stdout


def test_completion_can_be_installed(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # whose .bashrc it changes
    assert cli("--install-completion", "--shell", "bash", "--output", "script").exit_code == 0
    assert "--checkpoint-every" in (tmp_path / "script").read_text()


def test_it_is_a_module_too():
    done = subprocess.run([sys.executable, "-m", "msg", "--version"], capture_output=True, text=True, check=False)
    assert done.stdout == f"{__version__}\nkernels: {status()}\n"


@pytest.mark.parametrize(
    ("words", "environ", "message"),
    [
        (["--partition", "metis"], {}, "torchrun --nproc-per-node"),
        ([], {"WORLD_SIZE": "2"}, "--partition metis or range"),
        (["--partition", "any"], {"WORLD_SIZE": "1"}, "unknown partition 'any'"),
        (["--partition", "range", "--workers", "2"], {"WORLD_SIZE": "1"}, "--workers contradicts --partition"),
    ],
)
def test_what_contradicts_a_partition(cli, tmp_path, monkeypatch, words, environ, message):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    refused(cli("train", *words), message)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is full")
def test_a_full_disk_under_the_output_is_one_line(tmp_path):
    command = [sys.executable, "-m", "msg", "train", "--dataset", "karate", "--epochs", "1", "--seeds", "0"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: what is printed cannot be written (No space left on device)")
    assert done.stderr.count("\n") == 1
