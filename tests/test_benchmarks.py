"""The scripts of ``benchmarks/`` begin, and what they share keeps what is done."""

import json
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="benchmarks/ is not here")


def test_every_script_finds_what_it_imports(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    names = [path.stem for path in sorted(FOLDER.glob("*.py"))]
    assert len(names) > 20
    for name in names:
        import_module(name)


def fails_once(graph, options, seed, root, measured):
    if graph == "fails":
        raise FloatingPointError("diverged")
    return {"val": float(seed)}


def test_a_training_that_fails_loses_no_other(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from kept import Kept

    wanted = [("fails", {}, 0), ("graph", {}, 1), ("graph", {}, 2)]
    kept = Kept(tmp_path / "results.jsonl", fails_once, "nowhere", workers=1)
    with pytest.raises(FloatingPointError, match="diverged"):
        kept.make(wanted)
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["val"] for line in lines) == [1.0, 2.0]
    again = Kept(tmp_path / "results.jsonl", fails_once, "nowhere", workers=1)
    again.make(wanted[1:])
    assert again.mean("graph", {}, (1, 2), "val") == 1.5


def test_ratios_of_one_round_are_that_round(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from rounds import quartiles

    assert quartiles([2.0]) == [2.0, 2.0, 2.0]
    assert quartiles([1.0, 2.0, 3.0]) == [1.0, 2.0, 3.0]
