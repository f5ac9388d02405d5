"""What commands print, for programs and for narrow screens."""

import io
import json
import re
import time

import pytest
from rich.console import Console

from msg.cli.display import Display
from msg.datasets import available, load_graph
from msg.experiments import Job, RunConfig, resume
from msg.geometry import choose_signature
from msg.training import Epoch

FAST = ["train", "--dataset", "karate", "--epochs", "2", "--model", "sgc", "--baseline", "gcn", "--seeds", "0-1"]


def read(result):
    """The JSON on standard output, which is all of it."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_train(cli, tmp_path):
    result = cli(*FAST, "--json", "--out", "o")
    found = read(result)
    assert found.pop("out") == "o"
    kept = json.loads((tmp_path / "o" / "results.json").read_text())
    del kept["sha256"]
    assert found == kept
    assert "sgc" in result.stderr.lower()
    assert read(cli("train", "--resume", "o", "--json"))["test"] == found["test"]


def test_quiet(cli):
    result = cli(*FAST, "--quiet", "--out", "o")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "seed 0:" not in result.stdout
    assert "mean ± std" in result.stdout
    silent = cli("train", "--resume", "o", "--quiet", "--json")
    assert silent.stderr == ""
    assert read(silent)["seeds"] == [0, 1]


def test_energy(cli, tmp_path):
    assert cli(*FAST, "--out", "o").exit_code == 0
    found = read(cli("energy", "o", "--json"))
    assert found["energy_mj"] > 0
    assert found["out"] == "o"
    options = ["--dataset", "karate", "--epochs", "1", "--seeds", "0", "--out", "e", "--json", "--quiet"]
    searched = cli("energy", "--models", "gcn,sgc", *options)
    assert searched.stderr == ""
    found = read(searched)
    assert [trial["model"] for trial in found["trials"]] == ["gcn", "sgc"]


@pytest.mark.slow
def test_compare(cli):
    options = ["--layers", "2", "--manifold", "H4", "--rules", "dvm", "--timesteps", "2", "--seeds", "0", "--no-memory"]
    found = read(cli("compare", "--dataset", "karate", "--epochs", "1", *options, "--json", "--out", "c"))
    assert [row["rule"] for row in found["rows"]] == ["dvm"]
    assert resume("c").as_dict()["rows"][0]["rule"] == "dvm"


@pytest.mark.slow
def test_geometry(cli):
    options = ["--signatures", "E2,H2", "--nodes", "12", "--repeats", "2"]
    found = read(cli("geometry", "--dataset", "karate", *options, "--json"))
    want = choose_signature(load_graph("karate"), ("E2", "H2"), num_nodes=12, repeats=2)
    assert (found["dataset"], found["signature"], found["reason"]) == ("karate", want.signature, want.reason)
    assert found["scores"][0]["distortion"]["mean"] == pytest.approx(want.scores[0].distortion.mean)
    assert found["forman"]["error"] == pytest.approx(want.forman.error)


def test_datasets(cli):
    found = read(cli("datasets", "list", "--json"))
    assert {card["key"] for card in found} == {card.key for card in available()}


def test_mistakes_leave_nothing_for_a_program_to_read(cli):
    result = cli(*FAST, "--lr", "0", "--json")
    assert (result.exit_code, result.stdout) == (2, "")


def test_live_logs(cli, tmp_path):
    assert cli(*FAST, "--log", "csv", "--out", "o").exit_code == 0
    assert (tmp_path / "o" / "log.csv").read_text().count("\n") == 9
    refused = cli(*FAST, "--log", "paper", "--out", "p")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "unknown log 'paper'" in refused.stderr


@pytest.mark.parametrize("columns", [None, pytest.param("60", marks=pytest.mark.slow)])
def test_tables_fit_the_screen(cli, monkeypatch, columns):
    if columns is None:
        monkeypatch.delenv("COLUMNS")
    else:
        monkeypatch.setenv("COLUMNS", columns)
    assert cli(*FAST, "--out", "o").exit_code == 0
    for command in (["train", "--resume", "o"], ["energy", "o"], ["datasets", "list"]):
        text = cli(*command).stdout
        tables = [part for part in text.split("\n\n") if re.search(r"^-+(  +-+)+ *$", part, re.MULTILINE)]
        assert tables
        for table in tables:
            assert max(map(len, table.splitlines())) <= int(columns or 80), table


def test_a_bar_says_how_long_it_will_take():
    screen, job = io.StringIO(), Job("fit", "msg-0", RunConfig(epochs=1000), 0)
    with Display(Console(file=screen, force_terminal=True, width=120)) as display:
        display.started(job, "MSG", [])
        for number in range(1, 6):
            time.sleep(0.01)
            display.epoch(job, Epoch(number, 0.5, 0.4, 0.9, (0.1,), 1.0, 0.01))
        display.bars.refresh()
    shown = screen.getvalue()
    assert "5/1000" in shown
    assert re.search(r"\d\d:\d\d", shown)
