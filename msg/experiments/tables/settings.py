"""Settings that a search found, kept in the package, so that a table can be made again without one."""

import json
from collections.abc import Collection, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from filelock import FileLock

from msg.experiments.files import json_bytes, replace_file, written
from msg.experiments.tables.spaces import Scalar

_FILE = "settings.json"


def settings_path() -> Path:
    """Where they are kept."""
    return Path(str(files("msg.experiments.tables") / _FILE))


def stored_settings(table: str, dataset: str, row: str, path: Path | None = None) -> dict[str, Scalar] | None:
    """Settings of a cell, without those that its row fixes; ``None`` where there are none.

    Args:
        table: its name.
        dataset: of the column.
        row: its name.
        path: of the file, that of the package unless given.
    """
    found = _read(path or settings_path()).get(table, {}).get(dataset, {}).get(row)
    return None if found is None else dict(found["settings"])


def best_settings(table: str, dataset: str, rows: Collection[str], path: Path | None = None) -> list[dict[str, Scalar]]:
    """Settings of several cells of a graph, those with the highest validation metric first.

    Args:
        table: its name.
        dataset: of the column.
        rows: their names; one that has no settings is left out.
        path: of the file, that of the package unless given.
    """
    there = _read(path or settings_path()).get(table, {}).get(dataset, {})
    known = sorted((name for name in there if name in rows), key=lambda name: -there[name]["val"])
    return [dict(there[name]["settings"]) for name in known]


def store_settings(table: str, found: Mapping[tuple[str, str], Mapping[str, Any]], path: Path | None = None) -> Path:
    """Keep what searches found, in place of what was kept of the same cells; the file that it is kept in.

    Several processes may keep what they found in one file: each waits for the one before.

    Args:
        table: its name.
        found: by dataset and row: ``settings``, and what is to be said of them.
        path: of the file, that of the package unless given.

    Raises:
        OSError: if it cannot be written.
    """
    path = path or settings_path()
    with written(path):
        lock = FileLock(f"{path}.lock").acquire()
    with lock:
        content = _read(path)
        for (dataset, row), said in found.items():
            content.setdefault(table, {}).setdefault(dataset, {})[row] = dict(said)
        replace_file(path, json_bytes(_sorted(content)))
    return path


def _sorted(value: Any) -> Any:
    return {name: _sorted(value[name]) for name in sorted(value)} if isinstance(value, dict) else value


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
