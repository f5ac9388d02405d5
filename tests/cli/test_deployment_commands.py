import re

import numpy as np
import pytest
import torch

from msg.experiments import RunConfig, predict, run

SMALL = {"dataset": "karate", "epochs": 1, "layers": 2, "baseline": "none", "seeds": (0,)}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    run(RunConfig(**SMALL, model="sgc"), folder)
    return folder


@pytest.fixture(scope="module")
def links(tmp_path_factory):
    folder = tmp_path_factory.mktemp("links")
    run(RunConfig(**SMALL, task="link-prediction", manifold="H4"), folder)
    return folder


def refused(result, message):
    assert result.exit_code == 2
    assert re.search(message, result.stderr), result.stderr
    assert result.stderr.count("\n") == 1


def test_predictions_are_printed_or_kept(cli, nodes, tmp_path):
    found, result = predict(nodes), cli("predict", nodes)
    assert result.exit_code == 0, result.output
    assert result.stdout == found.csv().decode()
    assert cli("predict", nodes, "--dataset", "karate", "--out", "p.npz").stdout == "34 rows kept in p.npz\n"
    with np.load(tmp_path / "p.npz") as kept:
        assert (kept["class"] == found.columns["class"]).all()


def test_pairs_come_from_a_file(cli, links, tmp_path):
    (tmp_path / "pairs.csv").write_text("source,target\n0,1\n33, 5\n")
    result = cli("predict", links, "--pairs", "pairs.csv")
    assert result.exit_code == 0, result.output
    assert [line.rsplit(",", 1)[0] for line in result.stdout.splitlines()] == ["source,target", "0,1", "33,5"]


@pytest.mark.slow
def test_a_program_is_kept(cli, nodes, tmp_path):
    result = cli("export", nodes, "--out", "p.pt2")
    assert (result.exit_code, result.stdout) == (0, "kept in p.pt2, checked on another graph\n")
    assert "x" in str(torch.export.load(tmp_path / "p.pt2").graph_signature)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "nowhere"], "nowhere holds no run"),
        (["predict", "NODES", "--out", "p.txt"], r"p\.txt must end in \.csv or \.npz"),
        (["predict", "NODES", "--pairs", "pairs.csv"], r"pairs\.csv cannot be read"),
        (["predict", "NODES", "--dataset", "disease"], "disease has .* features, but the run"),
        (["predict", "LINKS"], "say which, with --pairs FILE.csv"),
        (["predict", "NODES", "--out", "no/p.csv"], "cannot be written .*bring its folder back"),
        (["export", "NODES", "--out", "p", "--format", "h5"], "pt2"),
        (["export", "nowhere", "--out", "p"], "nowhere holds no run"),
        (["export", "NODES"], "out"),
    ],
)
def test_mistakes_are_one_line(cli, nodes, links, tmp_path, arguments, message):
    places = {"NODES": nodes, "LINKS": links}
    refused(cli(*[places.get(word, word) for word in arguments]), message)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_finished_run_is_given_more_epochs(cli, tmp_path):
    options = ["train", "--dataset", "karate", "--model", "sgc", "--no-baseline", "--seeds", "0"]
    assert cli(*options, "--epochs", "2", "--out", "o").exit_code == 0
    longer = cli("train", "--resume", "o", "--epochs", "4")
    assert longer.exit_code == 0, longer.output
    whole = cli(*options, "--epochs", "4", "--out", "w")
    kept = [re.search(r"^mean ± std .*$", result.stdout, re.MULTILINE)[0] for result in (longer, whole)]
    assert kept[0] == kept[1]
    refused(cli("train", "--resume", "o", "--epochs", "3"), "was begun with 4 epochs: give more, not 3")
    refused(cli("train", "--resume", "o", "--lr", "1"), "--lr cannot be given too")
