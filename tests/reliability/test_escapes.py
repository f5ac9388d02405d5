"""What steers a terminal, in names and values of files that somebody else made: it never gets there as it is."""

import collections
import os
import random
import subprocess
import sys
from typing import Any

import pytest
import received
from received import COMMANDS, Done, command, make, resume
from writers_of_graphs import CARDS, planted_cards

from msg.experiments.files import read_json, read_tensors, sealed_json, torch_bytes

pytestmark = [pytest.mark.reliability, pytest.mark.usefixtures("one_thread")]

ESCAPES = [
    "\x1b[2J",
    "\x1b]0;owned\x07",
    "\x9b31m",
    "\r",
    "\x08\x08",
    "\x7f",
    "\u202e\u2066",
    "\u200b",
    "\u2028",
    "\x0b",
]
ALL = "".join(ESCAPES)
NAMES = ["\x1b[2J\x9b31m\x07", "\r\x08\x7f", "\u202e\u2066\u2028", "\nerror: all is well"]
"""What names of files end with."""


def judged(done: Done) -> str:
    """Whether all that a command printed was printable, line by line, and errors one line."""
    if not all(line.isprintable() for line in done.output.split("\n")):
        return f"escaped: {done}"
    errors = [line for line in done.stderr.split("\n") if line.startswith("error: ")]
    if "Traceback" in done.output or (done.status == 2 and len(errors) != 1):
        return f"crashed: {done}"
    return "shown" if done.status in (0, 1) else "refused"


def check(found: collections.Counter, total: int) -> None:
    print(dict(found))
    assert set(found) <= {"shown", "refused"}, found.most_common(3)
    assert found.total() == total


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("received")
    return {kind: make(kind, parent / kind) for kind in ("finished run", *COMMANDS)}


def with_escapes(value: Any) -> list[Any]:
    """The value with each text in it, and each key, followed by escapes."""
    found = []
    if isinstance(value, str):
        return [value + ALL, ALL]
    if isinstance(value, dict):
        for key, part in value.items():
            found += [{**value, key: new} for new in with_escapes(part)]
            found.append({ALL if name == key else name: one for name, one in value.items()})
            found.append({**value, key: ALL})
        found.append({**value, ALL: ALL})
    if isinstance(value, list):
        found += [[new, *value[1:]] for new in (with_escapes(value[0]) if value else [])] + [[ALL], [*value, ALL]]
    return found


@pytest.mark.parametrize("kind", ["finished run", *COMMANDS])
def test_in_a_configuration(folders, tmp_path, kind):
    """Sealed, so that values are shown, and left as they are, so that the seal is what is said."""
    found, changes = collections.Counter(), with_escapes(read_json(folders[kind] / "config.json"))
    for new in changes:
        folder = received.copy(folders[kind], tmp_path / "run")
        (folder / "config.json").write_bytes(sealed_json(new))
        found[judged(resume(kind, folder))] += 1
    for name in ("config.json", "jobs"):
        folder = received.copy(folders[kind], tmp_path / "run")
        path = folder / name if name == "config.json" else next((folder / name).glob("*.json"))
        path.write_text(path.read_text().replace('"', f'"{ALL}', 1))
        found[judged(resume(kind, folder))] += 1
    check(found, len(changes) + 2)


def test_in_a_configuration_of_which_nothing_is_done(folders, tmp_path):
    """Then no other file contradicts it: its values reach what reads graphs, splits, models."""
    sound, found = read_json(folders["run"] / "config.json"), collections.Counter()
    texts = [name for name, value in sound["options"].items() if isinstance(value, str) or value is None]
    for name in texts:
        for value in (ALL, f"{ALL}.npz", f"random:10/10/80{ALL}", f"fixed:{ALL}", f"H4{ALL}"):
            folder = tmp_path / "run"
            received.shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "config.json").write_bytes(sealed_json({**sound, "options": {**sound["options"], name: value}}))
            found[judged(resume("run", folder))] += 1
    check(found, 5 * len(texts))


def test_in_results_and_models(folders, tmp_path):
    found, total = collections.Counter(), 0
    folder = received.copy(folders["finished run"], tmp_path / "run")
    results = read_json(folder / "results.json")
    for new in with_escapes({name: results[name] for name in ("model", "metric", "dataset", "config", "versions")}):
        (folder / "results.json").write_bytes(sealed_json({**results, **new}))
        found[judged(command("energy", folder))] += 1
        total += 1
    received.copy(folders["finished run"], folder)
    best = read_tensors(folder / "best.pt")
    for new in with_escapes(best):
        (folder / "best.pt").write_bytes(torch_bytes(new))
        found[judged(command("energy", folder))] += 1
        total += 1
    check(found, total)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("run", "msg-0"), ("run", "gcn-0"), ("search", "msg-0-0"), ("comparison", "dvm-2-0")],
)
def test_in_a_jobs_result(folders, tmp_path, kind, name):
    kept, found = read_json(folders[kind] / "jobs" / f"{name}.json"), collections.Counter()
    record = {part: value for part, value in kept["record"].items() if part not in ("operations", "history")}
    changes = with_escapes(record)
    for new in changes:
        folder = received.copy(folders[kind], tmp_path / "run")
        sealed = sealed_json({**kept, "record": {**kept["record"], **new}})
        (folder / "jobs" / f"{name}.json").write_bytes(sealed)
        found[judged(resume(kind, folder))] += 1
    check(found, len(changes))


def test_in_a_states_names(folders, tmp_path):
    """Of weights and of moments, where torch lists what does not fit."""
    found, total = collections.Counter(), 0
    for kind, name in (("run", "msg-1"), ("search", "msg-0-1"), ("comparison", "dvm-2-1")):
        state = read_tensors(folders[kind] / "jobs" / f"{name}.checkpoint.pt")
        changes = with_escapes(state)
        for new in random.Random(0).sample(changes, min(40, len(changes))):
            folder = received.copy(folders[kind], tmp_path / "run")
            (folder / "jobs" / f"{name}.checkpoint.pt").write_bytes(torch_bytes({**new, "stamp": state["stamp"]}))
            found[judged(resume(kind, folder))] += 1
            total += 1
    check(found, total)


@pytest.mark.parametrize("kind", ["finished run", *COMMANDS])
def test_in_names_of_files(folders, tmp_path, kind):
    """The folder's own name, and a file's in it, whatever is wrong there."""
    found, total = collections.Counter(), 0
    for escape in NAMES:
        for number in range(4):
            folder = received.copy(folders[kind], tmp_path / f"run{escape}")
            if number == 1:
                (folder / "config.json").write_bytes(b"{")
            elif number == 2:
                (folder / f"link{escape}").symlink_to("elsewhere")
            elif number == 3:
                (folder / "jobs" / f"job{escape}.json").write_bytes(b"{}")
            for order in (
                lambda: resume(kind, folder),  # noqa: B023 - called at once
                lambda: command("energy", folder),  # noqa: B023
                lambda: command("train", "--dataset", "karate", "--out", folder),  # noqa: B023
                lambda: command("train", "--config", folder),  # noqa: B023
                lambda: command(f"--{escape}", folder),  # noqa: B023
                lambda: command("train", f"--{escape}", f"{escape}"),  # noqa: B023
                lambda: command("train", "--epochs", f"{escape}"),  # noqa: B023
            ):
                found[judged(order())] += 1
                total += 1
    check(found, total)


@pytest.mark.parametrize("layout", CARDS)
def test_in_a_dataset_root(layout, tmp_path, monkeypatch):
    """Its name, names of folders in it, and the content of every file."""
    found, total = collections.Counter(), 0
    for escape in NAMES:
        root = tmp_path / f"root{escape}"
        card = planted_cards(layout, root, monkeypatch)
        (root / card.folder / f"more{escape}").mkdir()
        small = ("--split", "random:60/20/20", "--out", tmp_path / f"run{escape}", "--manifold", "H2", "--epochs", 1)
        orders = [
            lambda: command("datasets", "verify", "--root", root),  # noqa: B023 - called at once
            lambda: command("datasets", "import", root, "--root", tmp_path / "copy"),  # noqa: B023
            lambda: command("train", "--dataset", "tiny", "--root", root, "--layers", 2, *small),  # noqa: B023
        ]
        for name in card.files:
            path = root / card.folder / name
            sound = path.read_bytes()
            path.write_bytes(f"{escape},{escape}\n".encode())
            for order in orders:
                found[judged(order())] += 1
                total += 1
            path.write_bytes(sound)
            received.shutil.rmtree(tmp_path / f"run{escape}", ignore_errors=True)
            received.shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        (root / f"Unknown{escape}").mkdir()
        found[judged(command("datasets", "import", root, "--root", tmp_path / "copy"))] += 1
        total += 1
    check(found, total)


def test_as_a_terminal_sees_it(folders, tmp_path):
    """The bytes of another process, also those that Python itself would print of an error that nobody caught."""
    folder = received.copy(folders["run"], tmp_path / f"run{ALL}")
    content = read_json(folder / "config.json")
    (folder / "config.json").write_bytes(sealed_json({**content, "versions": {"msg": ALL, "torch": ALL}}))
    words = [sys.executable, "-m", "msg", "train", "--resume", str(folder)]
    done = subprocess.run(words, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0, done.stderr
    assert b"begun with msg \\x1b[2J" in done.stdout
    for line in (done.stdout + done.stderr).decode().split("\n"):
        assert line.isprintable(), line
