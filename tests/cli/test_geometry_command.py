import pytest

from msg.datasets import load_graph
from msg.geometry import choose_signature

QUICK = ["geometry", "--dataset", "karate", "--nodes", "12", "--repeats", "2"]


def test_it_prints_the_verdict(cli):
    result = cli(*QUICK, "--signatures", "E2,H2,H1xS1")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    found = choose_signature(load_graph("karate"), ("E2", "H2", "H1xS1"), num_nodes=12, repeats=2)
    assert result.stdout == f"karate: {found}\n"
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_help_says_what_the_defaults_are(cli):
    shown = " ".join(cli("geometry", "--help").stdout.replace("│", " ").split())
    assert "Say which manifold fits a graph" in shown
    for default in ("--dim", "[default: 8]", "--repeats", "[default: 5]"):
        assert default in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--signatures", "H2,S2"], "signatures must have a flat one"),
        (["--signatures", "E2,Q7"], "unknown manifold 'Q7'"),
        (["--repeats", "1"], "repeats must be at least 2"),
        (["--dim", "5"], "dim must be even"),
        (["--dim", "0"], "dim must be even and at least 2"),
        (["--signatures", "E8,H8", "--dim", "4"], "--dim is of spaces that are not given"),
        (["--dim", "4.5"], "'4.5' is no whole number"),
        (["--repeats", "2.5"], "'2.5' is no whole number"),
        (["--split", "public"], "--split is of trainings: give --epochs too"),
        (["--dataset", "nothing"], "nothing"),
    ],
)
def test_mistakes_are_one_line(cli, options, message):
    result = cli(*QUICK[:1], *([] if "--dataset" in options else QUICK[1:3]), *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
