"""The tables that are kept in the repository are what their cells say, and the page on them says the same."""

import json
import re
import runpy
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from scipy import stats

from msg.experiments.benchmark import Benchmark
from msg.experiments.cells import winner_of
from msg.experiments.tables.settings import stored_settings
from msg.report.tables import mean_std

ROOT = Path(__file__).parents[2]
KEPT = sorted(ROOT.glob("benchmarks/tables/*"))
PAGE = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(not KEPT, reason="benchmarks/ is not here")


@pytest.fixture(scope="module", params=KEPT, ids=lambda folder: folder.name)
def kept(request):
    return request.param


@pytest.fixture(scope="module")
def again(kept, tmp_path_factory):
    """The folder of the table made once more, and its scores."""
    folder = tmp_path_factory.mktemp("tables") / kept.name
    shutil.copytree(kept, folder)
    (folder / "table.json").unlink()
    return folder, Benchmark.resume(folder).execute()


def test_a_table_is_made_of_its_cells_again(kept, again):
    made, there = (json.loads((path / "table.json").read_text(encoding="utf-8"))["cells"] for path in (again[0], kept))
    assert len(made) == len(there)
    for ours, theirs in zip(made, there):
        # which of two equal means is the highest, and p of nearly equal ones, is rounding
        assert {name for name in ours if ours[name] != theirs[name]} <= {"best", "p_against_best", "val", "test"}
        for part in ("val", "test"):
            assert (ours[part] is None) == (theirs[part] is None)
            assert ours[part] is None or ours[part]["per_seed"] == theirs[part]["per_seed"]


def test_what_was_searched_is_stored(again):
    """All of a column or nothing, where it can take the settings of another: one with both would be no comparison."""
    _, scores = again
    for column in scores.table.columns:
        found = {}
        for cell in scores.cells:
            if cell.column.dataset == column.dataset and cell.outcome is not None:
                winner = winner_of(cell.outcome.searched)
                if winner is not None:
                    found[cell.row.name] = winner.settings
        stored = {name: stored_settings(scores.table.name, column.dataset, name) for name in found}
        if column.settings_of is None or any(stored.values()):
            assert stored == found


def test_no_path_of_a_machine_is_kept(kept):
    for path in kept.rglob("*.json"):
        assert '"root": "' not in path.read_text(encoding="utf-8"), path


def test_the_page_has_every_figure_of_the_metric_that_selects(kept):
    content = json.loads((kept / "table.json").read_text(encoding="utf-8"))
    selects = {cell["dataset"]: cell["metric"] for cell in reversed(content["cells"])}
    for cell in content["cells"]:
        if cell["metric"] == selects[cell["dataset"]] and cell["test"] is not None:
            assert mean_std(cell["test"]["per_seed"]) in PAGE, (cell["model"], cell["dataset"])


def test_the_page_has_the_commands_of_every_row(kept):
    commands = re.sub(r"\\\n\s*", "", PAGE).splitlines()
    mine = [line for line in commands if line.endswith(f"--out benchmarks/tables/{kept.name}")]
    named = {row for line in mine for row in re.search(r"--models (\S+)", line)[1].split(",")}
    assert named == set(json.loads((kept / "benchmark.json").read_text(encoding="utf-8"))["rows"])


def test_peers_under_their_own_configurations_are_on_the_page():
    found = defaultdict(list)
    for path in ROOT.glob("benchmarks/results/published/*.jsonl"):
        for one in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            found[one["of"][1]["case"]].append(one["test"])
    assert found
    for case, figures in found.items():
        assert len(figures) == 5, case
        assert mean_std(figures, scale=1) in PAGE, case


def test_the_page_on_energy_has_what_every_row_costs():
    content = json.loads((ROOT / "benchmarks/results/energy/rows-photo.json").read_text(encoding="utf-8"))
    page, found = (ROOT / "docs/energy.md").read_text(encoding="utf-8"), {}
    for cell in content["cells"]:
        if cell["energy"]:
            found[cell["label"]] = {name: energy["mean"] for name, energy in cell["energy"].items()}
    assert len(found) > 10
    for label, energy in found.items():
        (line,) = (line for line in page.splitlines() if line.startswith(f"| {label} |"))
        ratio = energy["energy_mj"] / found["GCN"]["energy_mj"]
        assert f"{1e3 * energy['energy_mj']:,.0f} ({ratio:.2f})" in line
        assert f"{1e3 * energy['events_energy_mj']:,.0f} (" in line
        assert f"{energy['energy_with_memory_mj']:,.1f} (" in line


@pytest.fixture(scope="module")
def made():
    return runpy.run_path(str(ROOT / "benchmarks" / "fill_pages.py"))


def test_pages_have_the_tables_that_are_made(made):
    readme, page, cli = (
        re.findall(r"<!-- table: (.+) -->", page.read_text(encoding="utf-8")) for page in made["PAGES"]
    )
    assert readme == ["highest, nodes", "highest, links"]
    assert cli == ["own defaults"]
    assert {*page, *cli} == made["MADE"].keys()
    assert len(made["MADE"]["highest, nodes"]()) == 16
    assert len(made["MADE"]["missing"]()) > 20
    for page in made["PAGES"]:
        text = page.read_text(encoding="utf-8")
        assert made["filled"](text) == text, (
            f"python benchmarks/fill_pages.py has not been run since {page.name} changed"
        )


def test_defaults_of_their_own_are_those_that_help_does_not_name(made):
    lines = [line.strip("| ").split(" | ") for line in made["MADE"]["own defaults"]()[2:]]
    told = {of: own.split(", ") for of, own in lines}
    assert told["`--model hgcn`"] == ["`--manifold P16`", "`--layers 2` for link-prediction"]
    assert "`--residual`" in told["`--model spikegraphormer`"]
    assert told["`--neuron decaying-lif`"] == ["`--threshold 1.0`", "`--reset zero`", "`--tau 1.0`"]
    assert not {"`--model msg`", "`--neuron if`"} & set(told)


def test_a_table_that_nobody_makes_is_an_error(made):
    with pytest.raises(KeyError, match="who knows"):
        made["filled"]("<!-- table: who knows -->\n<!-- end of table -->\n")


def test_marks_are_those_of_a_paired_test(made):
    """By scipy and a hand-made correction: of rows as they are the highest is bold, what is level with it ≈."""
    rows = [line.strip("| ").split(" | ")[:2] for line in made["MADE"]["table1"]()[2:]]
    cells = made["kept"]()["table1", "photo", False]
    seeds = {row.selecting["label"]: row.selecting["test"]["per_seed"] for row in cells.values()}
    figures = {label: figure for label, figure in rows if label in seeds}
    best = max(figures, key=lambda label: sum(seeds[label]))
    ps = sorted((stats.ttest_rel(seeds[best], seeds[label]).pvalue, label) for label in figures if label != best)
    largest, level = 0.0, set()
    for rank, (p, label) in enumerate(ps):
        largest = max(largest, p * (len(ps) - rank))
        if largest >= 0.05:
            level.add(label)
    assert len(figures) > 20
    assert level
    assert figures[best] == f"**{mean_std(seeds[best])}**"
    assert {label for label, figure in figures.items() if figure.endswith("≈")} == level


def test_figures_of_the_first_page_are_on_the_page():
    prose = re.sub(r"```.*?```", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    figures = re.findall(r"\d+\.\d\d ± \d\.\d\d", prose)
    assert figures
    assert [figure for figure in figures if figure not in PAGE] == []
