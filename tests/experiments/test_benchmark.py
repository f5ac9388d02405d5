import json
import re
import shutil
import threading
from dataclasses import replace

import pytest
import torch
from filelock import FileLock
from scipy import stats
from torch import nn

from msg.datasets import DatasetError
from msg.experiments import Benchmark, Cell, Outcome, Progress, Scores
from msg.experiments import benchmark as module
from msg.experiments.cells import Tried, winner_of
from msg.experiments.executor import executor_of
from msg.experiments.files import read_json, sealed_json
from msg.experiments.tables import settings as store
from msg.models import ModelSpec
from msg.names import MODELS, TABLES
from msg.report.width import fitting

pytestmark = pytest.mark.usefixtures("tiny_table")


def begin(out="o", datasets=("karate",), **options):
    return Benchmark.begin("small", out, datasets=datasets, **options)


def table_of(out):
    return json.loads((out / "table.json").read_text())


def test_a_table_in_all_its_forms(tmp_path, lines, rendered):
    scores = begin().execute(lines)
    assert {path.name for path in (tmp_path / "o").iterdir()} == {
        ".lock", "benchmark.json", "cells", "table.json", "table.md", "table.png", "table.tex", "table.txt",
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "o/cells/karate").iterdir()) == ["narrow", "tiny"]
    kept = table_of(tmp_path / "o")
    assert [(cell["model"], cell["dataset"], cell["metric"]) for cell in kept["cells"]] == [
        ("tiny", "karate", "accuracy"),
        ("narrow", "karate", "accuracy"),
    ]
    for cell in kept["cells"]:
        assert cell["seeds"] == [100, 101, 102]
        assert len(cell["test"]["per_seed"]) == len(cell["val"]["per_seed"]) == 3
        assert set(cell["test"]) == {"per_seed", "mean", "std"}
        assert (cell["trials"], cell["trainings"], cell["failed"]) == (5, 10, None)
        assert cell["settings_from"] == "search"
        assert cell["hours"] > 0
        assert cell["content_hash"]
        assert cell["versions"]["torch"]
    assert kept["cells"][0]["published"] == ["71.0"]
    assert kept["cells"][1]["settings"]["width"] == 32
    assert kept["protocol"]["search_seeds"] == [0, 1]
    text = (tmp_path / "o/table.txt").read_text()
    assert re.search(r"^Tiny +ours +\d+\.\d\d ± \d+\.\d\d [*≈]? +10 +\d+\.\d\d$", text, re.MULTILINE)
    assert "Somebody 2020." in text
    assert "|   kind |" in (tmp_path / "o/table.md").read_text()
    latex = (tmp_path / "o/table.tex").read_text()
    assert r"\toprule" in latex
    assert r"10 \% of it" in latex
    assert "±" not in latex
    assert (tmp_path / "o/table.png").read_bytes().startswith(b"\x89PNG")
    assert str(scores) == text[:-1]
    with fitting(30):
        assert str(scores) != text[:-1]
        assert scores.text().decode() == text
    assert len({len(done.searched) for done in (cell.outcome for cell in scores.cells)}) == 1


def test_what_is_done_is_not_done_again_and_a_table_grows(tmp_path, lines):
    begin(models=["tiny"]).execute()
    first = table_of(tmp_path / "o")["cells"][0]
    again = begin(models=["tiny"])
    again.execute(lines)
    assert not lines.jobs
    assert table_of(tmp_path / "o")["cells"] == [first]

    begin(models=["narrow"], datasets=["disease"], seeds=[103]).execute(lines)
    kept = table_of(tmp_path / "o")["cells"]
    assert [(cell["model"], cell["dataset"]) for cell in kept] == [
        (model, dataset) for dataset in ("karate", "disease") for model in ("tiny", "narrow")
    ]
    assert all(cell["seeds"] == [100, 101, 102, 103] for cell in kept)
    grown = kept[0]
    assert grown["test"]["per_seed"][:3] == first["test"]["per_seed"]
    assert grown["settings"] == first["settings"]
    assert grown["trainings"] == first["trainings"] + 1
    assert [job.seed for job in lines.jobs if job.config.model == "tiny" and job.config.dataset == "karate"] == [103]

    begin(models=["tiny"], seeds=[105, 104]).execute()
    assert table_of(tmp_path / "o")["cells"][0]["seeds"] == [100, 101, 102, 103, 104, 105]
    assert sorted(path.name for path in (tmp_path / "o/cells/karate/tiny").glob("more*")) == ["more-2", "more-3"]


def test_what_is_of_another_cell_is_not_added(tmp_path):
    begin(models=["tiny"]).execute()
    begin(models=["tiny"], seeds=[103]).execute()
    cell = tmp_path / "o/cells/karate/tiny"
    shutil.copytree(cell / "more-2", cell / "more-3")
    with pytest.raises(ValueError, match=r"more-3 has other settings than .*tiny, or seeds that are there too"):
        Benchmark.resume("o").execute()
    shutil.rmtree(cell / "more-3")
    kept = read_json(cell / "more-2/cell.json")
    (cell / "more-2/cell.json").write_bytes(sealed_json({**kept, "settings": {**kept["settings"], "lr": 0.5}}))
    with pytest.raises(ValueError, match="more-2 has other settings"):
        Benchmark.resume("o").execute()


def test_a_table_that_was_stopped_goes_on(tmp_path, interrupt, lines):
    whole = begin("whole").execute()
    ready = begin("broken")
    for stop in (interrupt(jobs=4), interrupt(jobs=8), interrupt(jobs=5)):
        with pytest.raises(KeyboardInterrupt):
            ready.execute(stop)
        ready = Benchmark.resume("broken")
    found = ready.execute(lines)
    for row in ("tiny", "narrow"):
        cells = [scores.cell(row, "karate") for scores in (whole, found)]
        assert cells[0].values("accuracy") == cells[1].values("accuracy")
        assert cells[0].settings == cells[1].settings
    assert 0 < len(lines.jobs) < 26


def test_cells_that_cannot_be_made_say_why(tmp_path, monkeypatch):
    monkeypatch.setattr(module.Experiment, "begin", _begin(module.Experiment.begin))
    scores = begin(models=["tiny", "broken", "lost", "narrow", "gcn"]).execute()
    assert scores.cell("tiny", "karate").failed is None
    assert "it has no weights" in scores.cell("broken", "karate").failed
    assert "the loss is nan" in scores.cell("lost", "karate").failed
    assert scores.cell("narrow", "karate").failed == "no such file"
    assert scores.cell("gcn", "karate").failed == "another process is at it"
    text = str(scores)
    numbers = re.findall(r"– \((\d)\)", text)
    assert sorted(numbers) == ["1", "2", "3", "4"]
    assert "1. " in text
    failed = [cell for cell in table_of(tmp_path / "o")["cells"] if cell["failed"]]
    assert len(failed) == 4
    assert all(not cell["energy"] for cell in failed)
    energies = text.split("One inference over the graph")[1].split("As published")[0].splitlines()
    assert [line.split()[-3:].count("–") for line in energies if line.lower().startswith(("tiny", "narrow"))] == [0, 3]
    assert all(cell["test"] is None and cell["val"] is None for cell in failed)


def _begin(begin):
    def replaced(study, out):
        if study.row == "narrow":
            raise ValueError("no such file")
        if study.row == "gcn":
            raise BlockingIOError("busy")
        return begin(study, out)

    return replaced


def test_settings_are_stored_and_used(tmp_path, monkeypatch, lines):
    path = tmp_path / "settings.json"
    monkeypatch.setattr(store, "settings_path", lambda: path)
    ready = begin(models=["tiny", "narrow"])
    scores = ready.execute()
    assert ready.store_settings(scores) == path
    kept = json.loads(path.read_text())["small"]["karate"]
    assert set(kept) == {"tiny", "narrow"}
    assert "width" not in kept["narrow"]["settings"]  # it is fixed
    assert (kept["tiny"]["trials"], kept["tiny"]["search_seeds"]) == (5, [0, 1])
    assert kept["tiny"]["val"] == max(one.value for one in scores.cell("tiny", "karate").outcome.searched)

    again = begin("stored", models=["tiny", "wide"], settings="stored").execute(lines)
    assert [job.kind for job in lines.jobs] == ["fit"] * 3
    assert again.cell("tiny", "karate").values("accuracy") == scores.cell("tiny", "karate").values("accuracy")
    assert "no settings are stored for it" in again.cell("wide", "karate").failed
    assert table_of(tmp_path / "stored")["cells"][0]["settings_from"] == "store"

    either = begin("either", models=["tiny", "wide"]).execute()
    assert not either.cell("tiny", "karate").outcome.searched
    assert len(either.cell("wide", "karate").outcome.searched) == 5
    assert len(begin("all", models=["tiny"], settings="search").execute().cells[0].outcome.searched) == 5


def test_a_column_takes_the_settings_of_another_graph(tmp_path, monkeypatch, lines):
    path = tmp_path / "settings.json"
    monkeypatch.setattr(store, "settings_path", lambda: path)
    table = TABLES["small"]
    (karate,) = (column for column in table.columns if column.dataset == "karate")
    taking = replace(karate, settings_of=("large", "digits"))
    TABLES.remove("small")
    TABLES.register("small", replace(table, columns=(taking,)))
    found = {"settings": {"width": 16, "dropout": 0.25}}
    store.store_settings("large", {("digits", "tiny"): found}, path)

    scores = begin(models=["tiny", "tiny-taught", "wide"]).execute(lines)
    tiny, taught, wide = (scores.cell(name, "karate") for name in ("tiny", "tiny-taught", "wide"))
    assert tiny.settings == found["settings"]
    assert (tiny.outcome.searched, tiny.outcome.origin, tiny.settings_from) == ([], *["digits (large)"] * 2)
    assert (taught.outcome.origin, taught.settings_from) == ("digits (large)", "row")
    assert (len(wide.outcome.searched), wide.outcome.origin) == (5, None)  # nothing was found for it there
    assert "karate: settings are those found for digits (large).\n" in str(scores)
    more = begin(models=["tiny"], seeds=[2, 3, 4, 5]).execute()
    assert (len(more.cell("tiny", "karate").outcome.seeds), more.cells[0].settings_from) == (7, "digits (large)")

    # its own come first, and a search takes none
    store.store_settings("small", {("karate", "tiny"): {"settings": {**found["settings"], "dropout": 0.5}}}, path)
    own = begin("own", models=["tiny"], settings="stored").execute()
    assert (own.cells[0].settings["dropout"], own.cells[0].settings_from) == (0.5, "store")
    assert "settings are those" not in str(own)
    assert begin("all", models=["tiny"], settings="search").execute().cells[0].settings_from == "search"


def test_a_table_takes_the_settings_of_another_folder(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(store, "settings_path", lambda: tmp_path / "settings.json")
    searched = begin("searched", models=["tiny"], settings="search").execute().cell("tiny", "karate")
    store.store_settings("small", {("karate", "tiny"): {"settings": {"width": 64}}}, tmp_path / "settings.json")
    rows = ["tiny", "tiny-taught", "wide"]

    ready = begin("taking", models=rows, seeds=[2, 3], settings="stored", settings_of="searched")
    scores = ready.execute(lines)
    tiny, taught, wide = (scores.cell(name, "karate") for name in rows)
    assert "trial" not in {job.kind for job in lines.jobs}
    assert tiny.settings == searched.settings
    assert {**tiny.settings, "generations": 3} == taught.settings
    assert (tiny.settings_from, taught.settings_from) == ("karate (small)", "row")
    assert "no settings are stored for it" in wide.failed

    # what is done stays when that folder has moved
    shutil.rmtree("searched")
    again = Benchmark.resume("taking").execute()
    assert [again.cell(name, "karate").settings for name in rows[:2]] == [tiny.settings, taught.settings]
    with pytest.raises(FileNotFoundError, match="searched holds no benchmark"):
        begin("other", models=rows, settings_of="searched")


def test_a_row_takes_the_settings_of_another(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(store, "settings_path", lambda: tmp_path / "settings.json")
    table = TABLES["small"]
    narrow = table.row("narrow")
    after = replace(narrow, name="after", label="After", fixed={**narrow.fixed, "generations": 2}, after="narrow")
    TABLES.remove("small")
    TABLES.register("small", replace(table, rows=(*table.rows, after)))
    refused = begin(models=["after"]).execute().cell("after", "karate").failed
    assert refused == "it takes the settings of narrow, which has none: make that row first"
    ready = begin(models=["after", "narrow"])
    scores = ready.execute(lines)
    done, former = (scores.cell(name, "karate").outcome for name in ("after", "narrow"))
    assert done.settings == {**former.settings, "generations": 2}
    assert (done.searched, done.trainings) == ([], 3)
    assert [job.config.generations for job in lines.jobs[-3:]] == [2, 2, 2]
    ready.store_settings(scores)
    elsewhere = begin("elsewhere", models=["after"]).execute().cell("after", "karate")
    assert elsewhere.outcome.test == done.test
    assert elsewhere.settings_from == "row"
    # a search finds settings of its own, beside which earlier ones would be no pair
    assert "make that row first" in begin("search", models=["after"], settings="search").execute().cells[0].failed


def test_a_row_is_offered_what_others_found(tmp_path, monkeypatch):
    path = tmp_path / "settings.json"
    monkeypatch.setattr(store, "settings_path", lambda: path)

    def offered(out="o", settings="search"):
        return begin(out, models=["wide-offered"], settings=settings).execute().cell("wide-offered", "karate")

    assert offered().failed == "it begins with the settings of wide, which has none: make that row first"
    own = {"settings": {"width": 64}, "val": 0.5}
    store.store_settings("small", {("karate", "wide"): own, ("disease", "tiny"): own}, path)
    assert "no settings of other rows are stored for this graph" in offered().failed
    store.store_settings("small", {("karate", "tiny"): {"settings": {"width": 32, "dropout": 0.1}, "val": 0.4}}, path)
    done = offered()
    assert [one.settings["width"] for one in done.outcome.searched] == [64, 32]
    assert all("dropout" not in one.settings for one in done.outcome.searched)  # which it does not read
    assert (done.outcome.trainings, done.settings_from, done.settings["width"]) == (6, "search", 32)  # 64 diverges

    # what is found later is no reason to make it anew, and what it found is no offer
    ready = begin(models=["wide-offered"], settings="search")
    ready.store_settings(ready.execute())
    store.store_settings("small", {("karate", "narrow"): {"settings": {"width": 128}, "val": 0.9}}, path)
    assert offered().outcome == done.outcome
    assert [one.settings["width"] for one in offered("anew").outcome.searched] == [64, 128, 32]
    assert offered("stored", settings="stored").settings_from == "store"


def test_an_augmented_row_is_offered_what_others_found_so(tmp_path, monkeypatch):
    path = tmp_path / "settings.json"
    monkeypatch.setattr(store, "settings_path", lambda: path)
    found = {"tiny": 0.01, "wide-consistent": 0.02, "tiny-consistent": 0.03}
    for name, lr in found.items():
        store.store_settings("small", {("karate", name): {"settings": {"width": 32, "lr": lr}, "val": 0.5}}, path)
    cell = begin(models=["wide-consistent-offered"]).execute().cells[0]
    assert [one.settings["lr"] for one in cell.outcome.searched] == [0.02, 0.03]
    assert cell.settings["consistency"] == 1.0


def test_a_row_beside_one_of_other_settings_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "settings_path", lambda: tmp_path / "settings.json")
    begin(models=["tiny", "tiny-taught"]).execute()
    path = tmp_path / "o/cells/karate/tiny-taught/config.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    content["options"]["settings"]["dropout"] = 0.123
    path.write_bytes(sealed_json(content))
    with pytest.raises(ValueError, match="tiny-taught was begun with other settings: delete it"):
        begin(models=["tiny"]).execute()


def test_a_row_that_cannot_be_taught_says_so_and_the_others_are_made():
    MODELS.register("stubborn", ModelSpec(_stubborn, frozenset(), "without reset_parameters"))
    try:
        scores = begin(models=["stubborn", "stubborn-taught", "tiny"]).execute()
    finally:
        MODELS.remove("stubborn")
    assert "a model with reset_parameters()" in scores.cell("stubborn-taught", "karate").failed
    assert scores.cell("tiny", "karate").failed is None


class _Stubborn(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(in_channels, out_channels))

    def forward(self, x, edge_index):
        return (x.to_dense() if x.layout != torch.strided else x) @ self.weight


def _stubborn(in_channels, out_channels):
    return _Stubborn(in_channels, out_channels)


def test_what_another_process_ended_meanwhile_is_in_the_table(tmp_path, monkeypatch):
    begun = module.Experiment.begin

    def beside(study, out):
        experiment = begun(study, out)
        if study.row == "tiny":
            experiment.execute()
            raise BlockingIOError("busy")
        return experiment

    monkeypatch.setattr(module.Experiment, "begin", beside)
    scores = begin().execute()
    assert [cell.failed for cell in scores.cells] == [None, None]
    assert all(cell["failed"] is None for cell in table_of(tmp_path / "o")["cells"])


def _in_turns(workers, prepare, arguments, following, progress):
    """Does what processes do, the last task first of so many that can be done at once."""
    do = prepare(*arguments)
    while tasks := [task for _ in range(workers) if (task := following()) is not None]:
        for task in reversed(tasks):
            yield task, MemoryError("its process was killed") if task == ("broken", "karate") else do(task, progress)


def test_several_processes_make_the_same_table(tmp_path, monkeypatch):
    rows = ["tiny", "tiny-taught", "broken", "lost", "narrow"]
    want = begin("one", models=rows, seeds=[3]).execute()
    monkeypatch.setattr(module, "at_once", _in_turns)
    found = begin("several", models=rows, seeds=[3]).execute(workers=3)
    for name in ("tiny", "tiny-taught", "lost", "narrow"):
        one, other = (scores.cell(name, "karate") for scores in (want, found))
        assert one.failed == other.failed, name
        assert (one.settings, one.values("accuracy")) == (other.settings, other.values("accuracy")), name
    assert found.cell("broken", "karate").failed == "its process was killed"
    assert "the loss is nan" in found.cell("lost", "karate").failed
    text = (tmp_path / "several/table.txt").read_text()
    assert "not done yet" not in text


def test_more_processes_than_cells_share_their_jobs(monkeypatch):
    asked = []

    def several(workers):
        asked.append(workers)
        return executor_of(1)

    monkeypatch.setattr(module, "executor_of", several)
    monkeypatch.setattr(module, "at_once", _in_turns)
    begin("one", models=["tiny"], seeds=[3]).execute(workers=5)
    begin("two", models=["tiny", "narrow"], seeds=[3]).execute(workers=5)
    assert asked == [5, 2]
    with pytest.raises(ValueError, match="workers must be a whole number of at least 1, not 0"):
        begin("none", models=["tiny"]).execute(workers=0)


@pytest.mark.slow
def test_processes_make_the_same_table(tmp_path):
    options = {"models": ["sgc", "sgc-taught", "gcn"], "quick": True}
    found = [
        Benchmark.begin("table1", tmp_path / str(workers), **options).execute(workers=workers).as_dict()["cells"]
        for workers in (1, 2)
    ]
    same = ("model", "dataset", "settings", "val", "test", "failed")
    assert [[cell[name] for name in same] for cell in found[0]] == [[cell[name] for name in same] for cell in found[1]]
    assert all(cell["failed"] is None for cell in found[0])


def test_a_seed_that_is_added_and_fails_takes_the_metrics_along():
    whole = outcome([0.5, 0.6], (100, 101)) + replace(outcome([0.7], (102,)), val={}, test={}, failed="seed 102: nan")
    assert (whole.seeds, whole.val, whole.test, whole.failed) == ([100, 101, 102], {}, {}, "seed 102: nan")
    assert whole.of_seeds((100, 102)).test == {}


def test_a_row_without_anything_to_search_is_trained_as_it_is(lines):
    table = TABLES["small"]
    rows = (replace(table.rows[0], searched=False),)
    TABLES.remove("small")
    TABLES.register("small", replace(table, rows=rows))
    scores = begin().execute(lines)
    assert [job.kind for job in lines.jobs] == ["fit"] * 3
    assert scores.cells[0].settings_from is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ["nothing"]}, "unknown row 'nothing': use tiny, narrow, wide, or any model: msg, "),
        ({"datasets": ["cora"]}, "small has no column 'cora': use karate, disease"),
        ({"trials": 0}, "budget must be at least 1 trial"),
        ({"seeds": [0, 1]}, "reported cannot be searched with: 0, 1"),
        ({"seeds": []}, "a seed at least"),
        ({"settings": "mine"}, "settings must be one of either, stored, search"),
        ({"settings": "search", "settings_of": "o"}, "a search takes no settings of another table"),
    ],
)
def test_refusals(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        begin(**options)
    assert not list(tmp_path.iterdir())


def test_folders_of_something_else_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown table 'poems': use 'table1', 'sgnnbench'"):
        Benchmark.begin("poems")
    with pytest.raises(FileNotFoundError, match=r"holds no benchmark: it has no benchmark\.json"):
        Benchmark.resume(tmp_path / "nowhere")
    begin(models=["tiny"]).execute()
    with pytest.raises(ValueError, match="the table there has trials 5, not 6: choose another --out"):
        begin(trials=6)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/table.json").write_text("{}")
    (tmp_path / "other/cells/of/mine").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="already holds a benchmark"):
        begin("other")
    table = TABLES["small"]
    TABLES.remove("small")
    TABLES.register("small", replace(table, epochs=5))
    with pytest.raises(ValueError, match=r"tiny was begun with other epochs: delete it to make this cell anew"):
        begin(models=["tiny"]).execute()


def test_a_damaged_cell_is_named(tmp_path):
    begin(models=["tiny"]).execute()
    path = tmp_path / "o/cells/karate/tiny/cell.json"
    path.write_text(path.read_text().replace("karate", "kobold"))
    with pytest.raises(ValueError, match=r"cell\.json was changed after it was written|cell\.json is no result"):
        begin(models=["tiny"]).execute()


def test_a_cell_without_its_configuration_is_to_be_made_anew(tmp_path):
    begin(models=["tiny"]).execute()
    cell = tmp_path / "o/cells/karate/tiny"
    (cell / "config.json").unlink()
    for name in ("cell.json", None):
        with pytest.raises(ValueError, match=r"tiny has no config\.json: delete that folder to make this cell anew"):
            begin(models=["tiny"]).execute()
        if name is not None:
            (cell / name).unlink()
    shutil.rmtree(cell)
    assert begin(models=["tiny"]).execute().cells[0].failed is None


def outcome(values, seeds, metrics=("accuracy",)):
    parts = {name: list(values) for name in metrics}
    return Outcome("karate", "", "", "", list(seeds), {}, [], parts, parts, 3, 7200.0, 5, None, {})


def test_rows_are_compared_with_the_best_over_shared_seeds():
    table = TABLES["small"]
    seeds = (100, 101, 102, 103)
    reached = {
        "a": [0.91, 0.92, 0.93, 0.94],
        "b": [0.90, 0.925, 0.92, 0.945],
        "c": [0.80, 0.82, 0.83, 0.84],
    }
    row, column = table.rows[0], table.columns[0]
    cells = [
        Cell(replace(row, name=name, label=name), column, outcome(values, seeds)) for name, values in reached.items()
    ]
    scores = Scores(table, [*cells, Cell(replace(row, name="d", label="d"), column, failed="it is late")])
    ps = [stats.ttest_rel(reached["a"], reached[name]).pvalue for name in "bc"]
    standings = {name: scores.standings[name, "karate", "accuracy"] for name in "abc"}
    assert standings["a"].best
    assert standings["c"].p == pytest.approx(min(1, 2 * ps[1]))
    assert standings["b"].p == pytest.approx(max(ps[0], 2 * ps[1]))
    assert [standings[name].sign for name in "abc"] == ["*", "≈", ""]
    text = str(scores)
    assert re.search(r"^a +ours +92\.50 ± 1\.29 \* +3 +2\.00$", text, re.MULTILINE)
    assert re.search(r"^d +ours +– \(1\) +0 +0\.00$", text, re.MULTILINE)
    assert "1. d: it is late" in text
    axes = scores.figure().axes
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["a", "b", "c", "d"]
    assert len(axes[0].lines) == 6


def test_metrics_are_data():
    column = replace(TABLES["small"].columns[0], metrics=("roc_auc", "average_precision", "mrr"))
    cells = [
        Cell(TABLES["small"].rows[0], column, outcome([0.5, 0.75], (100, 101), ("roc_auc", "mrr"))),
        Cell(TABLES["small"].rows[1], column, outcome([0.25, 0.5], (100, 101), ("roc_auc",))),
    ]
    scores = Scores(TABLES["small"], cells)
    assert [(cell["metric"], cell["model"]) for cell in scores.as_dict()["cells"]] == [
        ("roc_auc", "tiny"), ("roc_auc", "narrow"), ("mrr", "tiny"), ("mrr", "narrow"),
    ]  # fmt: skip
    header = str(scores).splitlines()[3]
    assert "karate ROC-AUC" in header
    assert "karate MRR" in header
    assert "test ROC-AUC, MRR, %" in str(scores)
    assert [(axes.get_title(), axes.get_xlabel()) for axes in scores.figure().axes] == [("karate", "test ROC-AUC, %")]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TABLES))
def test_a_quick_look_takes_minutes(tmp_path, name):
    import time

    begun = time.monotonic()
    scores = Benchmark.begin(name, tmp_path / "q", quick=True).execute(workers=2)
    assert time.monotonic() - begun < 300
    assert all(cell.failed is None for cell in scores.cells), [cell.failed for cell in scores.cells]


def test_a_folder_goes_on_where_its_raw_files_are_elsewhere(tmp_path, lines):
    begin(models=["tiny"], root="here").execute()
    assert begin(models=["tiny"]).plan.root == "here"
    scores = begin(models=["tiny"], root="there").execute(lines)
    assert not lines.jobs
    assert scores.cells[0].failed is None
    assert Benchmark.resume(tmp_path / "o").plan.root == "there"


def test_rows_that_are_begun_at_once_are_all_in_the_plan(tmp_path):
    first, second = begin(models=("tiny",)), begin(models=("narrow",))
    assert [cell.row.name for cell in first.execute().cells] == ["tiny"]
    assert [cell.row.name for cell in second.execute().cells] == ["tiny", "narrow"]
    assert Benchmark.resume(tmp_path / "o").plan.rows == ("tiny", "narrow")


class _Meanwhile(Progress):
    """Something is done as soon as there is something to tell."""

    def __init__(self, work):
        self.work = work

    def note(self, text):
        work, self.work = self.work, lambda: None
        work()


def test_rows_that_another_process_adds_and_ends_are_in_the_last_table(tmp_path):
    begin(models=["tiny"]).execute(_Meanwhile(lambda: begin(models=["narrow"]).execute()))
    assert [(cell["model"], cell["failed"]) for cell in table_of(tmp_path / "o")["cells"]] == [
        ("tiny", None),
        ("narrow", None),
    ]
    assert sum(cell["best"] for cell in table_of(tmp_path / "o")["cells"]) >= 1


def test_rows_that_another_process_adds_and_has_not_ended_say_so(tmp_path):
    class Begun(Benchmark):
        def _cell(self, row, *rest):
            raise InterruptedError

    def begun():
        other = begin(models=["narrow"])
        with pytest.raises(InterruptedError):
            Begun(other.plan, other.out).execute()

    begin(models=["tiny"]).execute(_Meanwhile(begun))
    assert [(cell["model"], cell["failed"]) for cell in table_of(tmp_path / "o")["cells"]] == [
        ("tiny", None),
        ("narrow", "another process is at it"),
    ]


def test_a_table_whose_plan_is_gone_is_begun_again_with_its_cells(tmp_path, lines):
    begin().execute()
    first = table_of(tmp_path / "o")["cells"]
    (tmp_path / "o/benchmark.json").unlink()
    begin().execute(lines)
    assert not lines.jobs
    assert table_of(tmp_path / "o")["cells"] == first


def test_a_cell_that_another_process_begins_in_between(tmp_path, monkeypatch):
    begins = module.Experiment.begin

    def overtaken(study, folder):
        slow = begins(study, folder)
        begins(study, folder).execute()
        return slow

    monkeypatch.setattr(module.Experiment, "begin", overtaken)
    (cell,) = begin(models=("tiny",)).execute().cells
    assert cell.failed is None
    assert len(cell.values("accuracy")) == 3


def test_files_of_the_table_are_written_by_one_process_at_a_time(tmp_path):
    ready, done = begin(models=("tiny",)), threading.Event()
    (tmp_path / "o").mkdir()
    work = threading.Thread(target=lambda: (ready.execute(), done.set()))
    with FileLock(tmp_path / "o" / ".lock"):
        work.start()
        assert not done.wait(0.5)
        assert not (tmp_path / "o" / "benchmark.json").exists()
    work.join(60)
    assert done.is_set()
    assert table_of(tmp_path / "o")["cells"][0]["failed"] is None


def test_seeds_and_devices_that_are_none_are_refused_before_anything_is_kept(tmp_path):
    for options, message in (
        ({"seeds": (100, 100)}, "seeds must be different"),
        ({"seeds": (-1,)}, "seeds must be different numbers from 0"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
    ):
        with pytest.raises(ValueError, match=message):
            begin(**options)
    assert not (tmp_path / "o").exists()


def test_a_begun_cell_whose_graph_is_gone_says_so(monkeypatch, interrupt):
    def missing(*_):
        raise DatasetError("raw/karate is missing: import it")

    ready = begin(models=("tiny",))
    with pytest.raises(KeyboardInterrupt):
        ready.execute(interrupt(jobs=1))
    monkeypatch.setattr(module.Experiment, "resume", missing)
    (cell,) = ready.execute().cells
    assert cell.failed == "raw/karate is missing: import it"


def test_what_failed_is_no_finalist():
    def tried(vals, failed=None):
        return Tried({}, vals, failed, 0.0)

    good = tried([0.7])
    assert winner_of([tried([0.9, 0.9, 0.9], "diverged"), tried([0.8, 0.8], "diverged"), good]) is good
    assert winner_of([tried([0.9]), tried([0.6, 0.6])]).value == 0.6
    assert winner_of([tried([0.9], "diverged")]) is None
    assert winner_of([]) is None
