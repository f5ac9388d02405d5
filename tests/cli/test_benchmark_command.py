import json
import re

import pytest

from msg.experiments import Benchmark, Table, TableColumn, TableRow
from msg.names import TABLES

TABLE = Table(
    "club",
    "A club",
    (TableRow("gcn", "GCN", "Euclidean", "cached-gcn"), TableRow("sgc", "SGC", "Euclidean", "sgc", shown=False)),
    (TableColumn("karate", "public"), TableColumn("digits", "random:10/10/80")),
    seeds=(100, 101),
    trials=2,
    epochs=2,
)
CLUB = ("benchmark", "club", "--datasets", "karate", "--out", "o")


@pytest.fixture(autouse=True)
def _club():
    TABLES.register("club", TABLE)
    yield
    TABLES.remove("club")


def test_a_table_is_made_and_goes_on(cli, tmp_path):
    result = cli(*CLUB)
    assert result.exit_code == 0, result.output
    assert re.search(r"^GCN +Euclidean +\d+\.\d\d ± \d+\.\d\d \* +6 +0\.00$", result.stdout, re.MULTILINE)
    assert result.stdout.endswith("kept in o\n")
    assert "karate, GCN: its settings are searched (2 settings, the best with 2 seeds)" in result.stderr
    assert "karate, gcn, trial 1 of 2, seed 0: validation" in result.stderr
    kept = (tmp_path / "o/table.md").read_text()
    for again in (cli(*CLUB), cli("benchmark", "--resume", "o")):
        assert again.exit_code == 0
        assert "trial" not in again.stderr
    assert (tmp_path / "o/table.md").read_text() == kept
    assert cli(*CLUB, "--models", "sgc", "--seeds", "102").exit_code == 0
    cells = json.loads((tmp_path / "o/table.json").read_text())["cells"]
    assert [(cell["model"], cell["seeds"]) for cell in cells] == [
        ("gcn", [100, 101, 102]),
        ("sgc", [100, 101, 102]),
    ]


def test_the_status_says_whether_any_cell_was_made(cli):
    none = cli(*CLUB, "--stored")
    assert none.exit_code == 1
    assert "no settings are stored for it" in none.stdout
    assert none.stdout.endswith("kept in o\n")
    some = cli(*CLUB[:-1], "p", "--models", "gcn,adamic-adar")
    assert some.exit_code == 0
    assert "1. adamic-adar: task=" in some.stdout


def test_every_option_reaches_the_table(cli, monkeypatch, tmp_path):
    seen = {}

    def begin(*arguments, **options):
        seen.update(options)
        raise ValueError("enough")

    monkeypatch.setattr(Benchmark, "begin", begin)
    (tmp_path / "o.toml").write_text('models = ["gcn", "sgc"]\nbudget = 3\n')
    cli(*CLUB, "--seeds", "100-102", "--search", "--quick", "--root", "r", "--device", "cpu", "--config", "o.toml",
        "--settings-of", "s")  # fmt: skip
    assert {name: str(value) if name in ("out", "settings_of") else value for name, value in seen.items()} == {
        "table": "club", "models": ("gcn", "sgc"), "datasets": ("karate",), "seeds": (100, 101, 102), "trials": 3,
        "settings": "search", "quick": True, "root": "r", "device": "cpu", "out": "o",
        "settings_of": "s",
    }  # fmt: skip


def test_an_interrupt_says_how_to_go_on(cli, monkeypatch):
    def interrupted(self, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Benchmark, "execute", interrupted)
    result = cli(*CLUB)
    assert result.exit_code == 130
    assert "msg benchmark --resume o" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say which table: table1, sgnnbench, planetoid, links"),
        (["poems"], "unknown table 'poems': use 'table1'"),
        (["club", "--models", "mlp"], "unknown row 'mlp': use gcn, sgc, or any model"),
        (["club", "--datasets", "cora"], "club has no column 'cora'"),
        (["club", "--seeds", "1-100"], "reported cannot be searched with: 1"),
        (["club", "--seeds", "few"], "cannot read seeds"),
        (["club", "--budget", "0"], "at least 1 trial"),
        (["club", "--search", "--stored"], "--search contradicts --stored"),
        (["club", "--stored", "--budget", "3"], "--budget is of searches, and --stored makes none: leave it out"),
        (["club", "--quick", "--store-settings"], "settings of a quick look are not worth keeping"),
        (["club", "--settings-of", "nowhere"], "nowhere holds no benchmark"),
        (["club", "--search", "--settings-of", "s"], "a search takes no settings of another table"),
        (["club", "--resume", "o", "--budget", "3"], "TABLE, --budget cannot be given too"),
        (["--resume", "nowhere"], "nowhere holds no benchmark"),
        (["club", "--lr", "1"], "Unknown option"),
        (["club", "--config", "o.toml"], "unknown options lr: known are table"),
        (["club", "--workers", "0"], "workers must be a whole number of at least 1"),
    ],
)
def test_mistakes_are_one_line(cli, tmp_path, arguments, message):
    (tmp_path / "o.toml").write_text("lr = 0.1\n")
    result = cli("benchmark", *arguments)
    assert result.exit_code == 2
    assert re.search(message, result.stderr), result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["o.toml"]


def test_help_says_which_tables_there_are(cli):
    assert "--vary" in cli("energy", "--help").stdout
    shown = " ".join(cli("benchmark", "--help").stdout.replace("│", " ").split())
    assert "Which table: table1, sgnnbench, planetoid, links" in shown
    for option in (
        "--models",
        "--datasets",
        "--seeds",
        "--budget",
        "--quick",
        "--search",
        "--stored",
        "--settings-of",
        "--resume",
    ):
        assert f"{option} " in shown


def test_seeds_in_a_file_may_be_a_list(cli, tmp_path):
    (tmp_path / "t.toml").write_text('table = "table1"\nseeds = [100, 100]\n')
    result = cli("benchmark", "--config", "t.toml")
    assert result.exit_code == 2
    assert "seeds must be different numbers" in result.stderr
