import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from msg.experiments import RunConfig, TableColumn, TableRow
from msg.experiments.build import build_model
from msg.experiments.config import LINKS, NODES, reads
from msg.experiments.tables import settings
from msg.experiments.tables.spaces import (
    QUICK,
    SPACE,
    Between,
    Choice,
    beginnings_of,
    configured,
    offers_to,
    signature,
    space_as_dict,
    space_from_dict,
    space_of,
)
from msg.experiments.tables.suggestions import suggest
from msg.experiments.tables.table import as_it_is
from msg.names import MODELS, TABLES

NAMES = list(TABLES)


def config(model, **options):
    return RunConfig(model=model, baseline="none", **options)


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_whole(name):
    table = TABLES[name]
    assert table.name == name
    assert len(table.seeds) >= 5
    assert not set(table.seeds) & set(table.search_seeds)
    for names in ([row.name for row in table.rows], [column.dataset for column in table.columns]):
        assert len(set(names)) == len(names)
    labels = {row.label for row in table.rows}
    for published in table.published:
        assert set(published.figures) <= labels
        for figures in published.figures.values():
            assert set(figures) <= {column.dataset for column in table.columns}
    assert {"gcn", "sage", "msg"} <= {row.name for row in table.default_rows()}
    assert all(table.column(dataset) for dataset in table.quick_columns)


def test_settings_that_a_column_takes_are_of_a_column_that_there_is():
    taken = {
        (name, column.dataset): column.settings_of
        for name, table in TABLES.items()
        for column in table.columns
        if column.settings_of is not None
    }
    for (name, dataset), (table, source) in taken.items():
        theirs = TABLES[table].column(source)
        assert theirs.settings_of is None, "nothing is taken twice"
        assert theirs.task == TABLES[name].column(dataset).task
    assert taken["links", "computers"] == ("links", "photo")
    assert taken["sgnnbench", "computers"] == ("table1", "photo")


@pytest.mark.parametrize("name", NAMES)
def test_every_row_can_begin_its_search_and_has_as_many_settings_as_it_reads(name):
    table = TABLES[name]
    for row in table.rows:
        for column in table.columns:
            if row.model not in MODELS or column.task not in MODELS[row.model].tasks or not row.searched:
                continue
            base = table.base(row, column, table.seeds, None, "cpu")
            space = space_of(base, row.fixed, row.held)
            assert {"lr", "weight_decay"} <= set(space)
            begun = [configured(base, {**row.fixed, **one}) for one in beginnings_of(space)]
            first = configured(base, {**row.fixed, **suggest(space, [], 1)[0]})
            assert begun[0] == first
            assert len({str(one) for one in begun}) == len(begun) > 1
            assert (first.dataset, first.split, first.task) == (column.dataset, column.split, column.task)
            assert first.seeds == table.seeds


def test_no_trial_is_lost_to_what_a_model_cannot_be():
    """Rows that several tables share are tried once for each task, and models that are the same are built once."""
    found, built = {}, set()
    of_training = {"lr", "weight_decay", "clip_grad", "label_smoothing"}
    for table in TABLES.values():
        for row in table.rows:
            tasks = MODELS[row.model].tasks if row.model in MODELS and row.searched else ()
            found |= {(row.name, one.task): (table, row, one) for one in table.columns if one.task in tasks}
    refused = []
    for (name, task), (table, row, column) in found.items():
        base = table.base(row, column, table.seeds, None, "cpu")
        space = space_of(base, row.fixed, row.held)
        first = beginnings_of(space)[0] | ({"width": 32} if "width" in space else {})
        for dimension in space.keys() - {"width"}:
            known = space[dimension]
            for value in known.values if isinstance(known, Choice) else (known.low, known.high):
                try:
                    chosen = configured(base, {**row.fixed, **first, dimension: value})
                    of_model = repr({name: value for name, value in vars(chosen).items() if name not in of_training})
                    if of_model not in built:
                        built.add(of_model)
                        build_model(chosen, 5, 3)
                except ValueError as error:
                    refused.append((name, task, dimension, value, str(error)))
    assert {task for _, task in found} == {NODES, LINKS}
    assert refused == []


def test_widths_are_those_of_the_manifold_where_there_is_one():
    assert configured(config("msg"), {"width": 64, "geometry": "S"}).manifold == "S64"
    assert configured(config("msg"), {"width": 64, "geometry": "HxS"}).manifold == "H32xS32"
    assert configured(config("msg"), {"width": 16}).manifold == "H16"
    assert configured(config("sage"), {"width": 64}).hidden == 64
    with pytest.raises(ValueError, match="cannot be shared by 3"):
        signature("HxSxE", 64)


def test_a_row_is_searched_for_what_it_reads_and_does_not_fix():
    assert "width" not in space_of(config("sgc"), {})
    assert "timesteps" not in space_of(config("gat"), {})
    assert "geometry" in space_of(config("msg"), {})
    drawn = space_of(config("bernoulli-spikinggcn"), {})
    assert {name: drawn[name].first for name in ("timesteps", "tau", "threshold", "input_rate")} == {
        "timesteps": 200, "tau": 80, "threshold": 0.2, "input_rate": 0
    }  # fmt: skip
    assert "clip_grad" in space_of(config("hybonet"), {})
    assert "clip_grad" not in space_of(config("hgcn"), {})
    assert "tau" not in space_of(config("gc-snn"), {})
    assert set(space_of(config("msg"), {"manifold": "H4"})) == set(space_of(config("msg"), {})) - {"width", "geometry"}
    assert space_of(config("msg"), {})["layers"] == Between(2, 6, 2, whole=True)
    assert space_of(config("sage"), {"lr": 0.1}, quick=True)["width"] == QUICK["width"]
    assert space_of(config("gc-snn"), {}, quick=True)["timesteps"] == QUICK["timesteps"]
    assert space_of(config("bernoulli-spikinggcn"), {}, quick=True)["timesteps"] == drawn["timesteps"]
    assert "label_smoothing" not in space_of(config("sage", task=LINKS), {})
    assert "label_smoothing" in space_of(config("sage"), {})
    assert "label_smoothing" not in space_of(config("hybonet"), {})
    assert {"norm", "residual", "jumping"} <= set(space_of(config("classic-gcn"), {}))
    assert not {"norm", "residual"} & set(space_of(config("classic-gcn"), {"norm": "none"}, ["residual"]))
    for name in space_of(config("msg"), {}):
        assert name in ("width", "geometry") or reads("msg", name)


def test_all_rows_may_be_wide_and_deep():
    assert max(SPACE["width"].values) == 256
    assert SPACE["layers"] == Between(1, 6, 2, whole=True)


def test_spaces_go_through_json():
    assert space_from_dict(json.loads(json.dumps(space_as_dict(SPACE)))) == SPACE
    with pytest.raises(ValueError, match="lr begins outside"):
        space_from_dict({"lr": {"low": 0.0, "high": 1.0, "first": 2.0}})


def test_suggestions_depend_on_what_was_told_alone():
    told = [(one, number / 10 if number % 3 else None) for number, one in enumerate(suggest(SPACE, [], 12))]
    assert told[0][0] == {name: dimension.first for name, dimension in SPACE.items()}
    again, other = suggest(SPACE, told, 4), suggest(SPACE, [*told[:-1], (told[-1][0], None)], 4)
    assert again == suggest(SPACE, told, 4)
    assert again != other
    for settings_ in [*again, *(one for one, _ in told)]:
        assert all(SPACE[name].holds(value) for name, value in settings_.items())
    assert len({json.dumps(one) for one in again}) == 4
    assert suggest({}, [], 2) == [{}, {}]


def test_a_search_begins_with_what_others_train():
    space = space_of(config("msg"), {})
    known = beginnings_of(space)
    first, citations, propagated, tuned, read = known
    assert first == {name: dimension.first for name, dimension in space.items()}
    assert (citations["normalize_features"], citations["input_dropout"], citations["propagate"]) == (True, 0.5, 0)
    assert propagated["propagate"] == 10
    assert [one["threshold"] for one in known] == ["auto", 1.0, 1.0, 1.0, "auto"]
    assert {one["threshold"] for one in beginnings_of(space_of(config("gc-snn"), {}))} == {0.5}
    drawn = beginnings_of(space_of(config("bernoulli-spikinggcn"), {}))  # with 15 steps of small chances nothing fires
    assert {(one["timesteps"], one["threshold"], one["normalize_features"]) for one in drawn} == {(200, 0.2, False)}
    assert (tuned["width"], tuned["lr"], tuned["norm"], tuned["classifier"]) == (128, 0.001, "layer", "fixed")
    assert (read["jumping"], read["conv"], read["lr"]) == ("cat", first["conv"], first["lr"])
    assert [one["lr"] for one in beginnings_of({"lr": SPACE["lr"]})] == [0.01, 0.003, 0.001]
    narrow = {**space, "layers": Between(2, 2, 2, whole=True)}
    assert all(one["layers"] == 2 for one in beginnings_of(narrow))
    begun = suggest(space, [], 4, known)
    assert begun == list(known[:4])
    told = [(one, 0.5) for one in begun]
    assert suggest(space, told, 4, known)[0] == read
    assert suggest(space, told, 4, known)[1:] == suggest(space, told, 4)[1:]


def test_what_others_found_is_offered_to_a_row():
    space = {"lr": Between(0.001, 0.1, 0.01), "layers": Between(2, 6, 2, whole=True), "norm": Choice(("a", "b"), "a")}
    others = [{"lr": 0.05, "layers": 1, "heads": 4}, {"lr": 0.02, "norm": "b"}, {"lr": 1.0}, {"lr": 0.02}]
    assert offers_to(space, {"lr": 0.02, "layers": 3}, others) == (
        {"lr": 0.02, "layers": 3, "norm": "a"},
        {"lr": 0.05, "layers": 3, "norm": "a"},
        {"lr": 0.02, "layers": 3, "norm": "b"},
    )
    thresholds = {"threshold": Between(0.1, 2.0, 0.5)}
    assert offers_to(thresholds, {"threshold": 0.7}, [{"threshold": 1.0}]) == ({"threshold": 0.7},)
    fitted = {"threshold": Choice(("auto", 1.0), "auto")}
    assert offers_to(fitted, {"threshold": "auto"}, [{"threshold": 1.0}, {"threshold": 0.3}])[1:] == (
        {"threshold": 1.0},
    )
    may_fit = {"threshold": Choice(("auto", 0.1, 1.0), 1.0)}
    assert offers_to(may_fit, {"threshold": 0.1}, [{"threshold": 1.0}, {"threshold": "auto"}]) == (
        {"threshold": 0.1},
        {"threshold": "auto"},
    )


def test_suggestions_go_where_it_is_good():
    space = {"lr": Between(0.0001, 1.0, 0.5, log=True), "norm": Choice(("none", "layer"), "none")}
    told = []
    for _ in range(8):
        told += [(one, one["norm"] == "layer") for one in suggest(space, told, 4)]
    found = [one["norm"] == "layer" for one, _ in told[16:]]
    assert sum(found) > 0.7 * len(found)


def test_stored_settings(tmp_path):
    path = tmp_path / "settings.json"
    assert settings.stored_settings("t", "photo", "gcn", path) is None
    settings.store_settings("t", {("photo", "gcn"): {"settings": {"lr": 0.1}, "val": 0.5}}, path)
    settings.store_settings("t", {("cs", "gcn"): {"settings": {"lr": 0.2}}}, path)
    assert settings.stored_settings("t", "photo", "gcn", path) == {"lr": 0.1}
    assert settings.stored_settings("t", "cs", "gcn", path) == {"lr": 0.2}
    assert list(json.loads(path.read_text())["t"]) == ["cs", "photo"]
    settings.store_settings("t", {("photo", "sgc"): {"settings": {"lr": 0.3}, "val": 0.7}}, path)
    assert settings.best_settings("t", "photo", ("gcn", "sgc", "msg"), path) == [{"lr": 0.3}, {"lr": 0.1}]
    assert settings.best_settings("t", "photo", ("gcn",), path) == [{"lr": 0.1}]
    assert settings.best_settings("t", "cora", ("gcn",), path) == []


def test_what_several_keep_at_once_is_kept(tmp_path):
    path, rows = tmp_path / "settings.json", [f"row-{number}" for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda row: settings.store_settings("t", {("cs", row): {"settings": {}}}, path), rows))
    assert sorted(json.loads(path.read_text())["t"]["cs"]) == sorted(rows)


def test_settings_in_the_package_are_of_cells_that_there_are():
    kept = json.loads(settings.settings_path().read_text())
    for name, columns in kept.items():
        table = TABLES[name]
        for dataset, rows in columns.items():
            for row, said in rows.items():
                base = table.base(table.row(row), table.column(dataset), table.seeds, None, "cpu")
                configured(base, {**table.row(row).fixed, **said["settings"]})


def test_rows_and_columns_are_found_by_name():
    table = TABLES["table1"]
    assert table.row("cached-gcn") == TableRow("cached-gcn", "cached-gcn", "others", "cached-gcn")
    quantised = table.row("gcn-2bit")
    assert (quantised.model, quantised.fixed["bits"], quantised.after) == ("spiking-gnn-conv", 2, None)
    taught = table.row("msg-twin-taught")
    assert (taught.label, taught.after) == ("MSG, not spiking, taught", "msg-twin")
    assert taught.fixed == {**table.row("msg-twin").fixed, "generations": 3}
    slowed = table.row("sage-half-hop")
    assert (slowed.label, slowed.fixed, slowed.after) == ("SAGE, HalfHop", {"half_hop": 0.5}, None)
    assert table.row("msg-linear-twin").fixed == {**table.row("msg-twin").fixed, "conv": "linear"}
    assert table.row("msg-twin-drop-edge").fixed == {**table.row("msg-twin").fixed, "drop_edge": 0.2}
    assert table.row("gat-drop-edge-taught").after == "gat-drop-edge"
    agreeing = table.row("msg-consistent")
    assert (agreeing.label, agreeing.fixed, agreeing.after) == ("MSG, consistent", {"consistency": 1.0}, None)
    offered = table.row("msg-twin-consistent-offered")
    assert offered.fixed == table.row("msg-twin-consistent").fixed
    assert (offered.offered, offered.after) == ("msg-twin-consistent", None)
    assert offered.label == "MSG, not spiking, consistent, offered others' settings"
    after = table.row("gcn-offered-taught")
    assert (after.after, after.offered) == ("gcn-offered", None)
    wrong = ("gcn-taught-taught", "gcn-half-hop-drop-edge", "gcn-taught-half-hop", "signn")
    for name in (*wrong, "gcn-taught-offered", "gcn-offered-offered", "gcn-offered-consistent"):
        with pytest.raises(ValueError, match=f"unknown row '{name}'"):
            table.row(name)
    for name in ("nothing", "nothing-taught", "nothing-half-hop"):
        with pytest.raises(ValueError, match="unknown row 'nothing': use gcn, "):
            table.row(name)
    with pytest.raises(ValueError, match="table1 has no column 'cora': use computers, photo"):
        table.column("cora")
    assert table.in_order(["msg", "else", "gcn", "msg"]) == ["gcn", "msg", "else"]
    assert table.in_order(["gat", "gcn-taught", "gcn"]) == ["gcn", "gcn-taught", "gat"]
    several = ["gcn", "gcn-half-hop", "gcn-half-hop-taught", "gcn-offered", "gcn-offered-taught", "gat"]
    assert table.in_order(reversed(several)) == several
    assert [as_it_is(name) for name in several] == [*["gcn"] * 5, "gat"]
    with pytest.raises(ValueError, match="seeds that are reported cannot be searched with: 1"):
        replace(table, seeds=(1, 100))


def test_a_quick_look_is_at_what_there_is():
    made = TABLES["links"].as_quick_look(with_files=False)
    assert made.columns == (TableColumn("digits", "link:85/5/10", LINKS, ("roc_auc", "average_precision", "mrr")),)
    assert TABLES["planetoid"].as_quick_look(False).columns == (TableColumn("digits", "random:10/10/80", NODES),)
    assert TABLES["table1"].as_quick_look(False).columns == TABLES["planetoid"].as_quick_look(False).columns
    assert TABLES["table1"].as_quick_look(True).columns == (TableColumn("photo", "random:10/10/80"),)
    rows = made.quick_rows()
    assert len({row.group for row in rows}) == len(rows) <= 6
    assert all(LINKS in MODELS[row.model].tasks for row in rows)
