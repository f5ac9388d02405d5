"""Links in a received folder, under every name that is ever written there: nothing behind one is touched."""

import collections
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import received
from received import COMMANDS, KINDS, command, content, make, one_line, resume
from writers_of_graphs import CARDS, planted_cards

from msg.datasets import DatasetError, import_folder, load_graph
from msg.experiments import Experiment, RunConfig, run
from msg.experiments.files import replace_file

pytestmark = [pytest.mark.reliability, pytest.mark.usefixtures("one_thread")]

RUNS = ["finished run", *COMMANDS]

_written: list[str] | None = None


def _listen(event: str, arguments: tuple) -> None:
    if _written is not None and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        flags = arguments[2]
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            _written.append(os.fsdecode(arguments[0]))


sys.addaudithook(_listen)  # for as long as the process lives


@contextmanager
def written(folder: Path) -> Iterator[set[str]]:
    """Names, relative to a folder, of all that is opened there to be written, or renamed there, until the end."""
    global _written
    found: set[str] = set()
    _written, before = [], content(folder)
    try:
        yield found
    finally:
        opened, _written = _written, None
        found |= {os.path.relpath(path, folder) for path in opened if Path(path).is_relative_to(folder)}
        found |= {name for name, what in content(folder).items() if before.get(name) != what}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each kind, and every name that anything writes there."""
    parent = tmp_path_factory.mktemp("received")
    found = {}
    for kind in RUNS:
        folder = parent / kind
        folder.mkdir()
        with written(folder) as names:
            make(kind, folder)
        with written(again := received.copy(folder, parent / "again")) as more:
            assert resume(kind, again).status == 0
            if kind == "finished run":
                assert command("energy", again).status == 0
        found[kind] = folder, sorted(names | more)
    return found


def test_the_names_are_all_there(folders):
    """What the rest plants: the files, their unfinished twins, the lock and its owner."""
    for kind, (_, names) in folders.items():
        assert {"config.json", ".config.json.partial", "jobs/.lock", "jobs/..owner.partial"} <= set(names), names
        for name in KINDS[kind]:
            assert str(Path(name).with_name(f".{Path(name).name}.partial")) in names, (name, names)


def victims(folder: Path, target: Path) -> Iterator[tuple[str, Path]]:
    """A user's file, and one that is not there yet: a link to it would make it."""
    target.write_bytes(b"precious")
    yield "a file", target
    yield "nothing", target.with_name("not there")


@pytest.mark.parametrize("kind", RUNS)
def test_in_a_run_folder(folders, kind, tmp_path):
    """Every name, ``jobs`` itself, and what is written beside them: refused by name before anything is written."""
    made, names = folders[kind]
    found = collections.Counter()
    for name in [*names, "jobs", "jobs/.owner", "something"]:
        for what, target in victims(made, tmp_path / "precious"):
            folder = received.copy(made, tmp_path / "run")
            path = folder / name
            if path.is_dir():
                path.rename(tmp_path / "jobs")
                target = tmp_path / "jobs"
            path.unlink(missing_ok=True)
            path.symlink_to(target)
            before = content(folder)
            orders = [lambda: resume(kind, folder)]  # noqa: B023 - called at once
            if kind == "finished run":
                orders += [lambda: command("energy", folder)]  # noqa: B023
            for order in orders:
                done = order()
                refused = one_line(done, str(path), "is a link") and path.is_symlink() and content(folder) == before
                found["refused" if refused else f"{name}, a link to {what}: {done}"] += 1
            assert (tmp_path / "precious").read_bytes() == b"precious"
            assert not (tmp_path / "not there").exists()
            if (tmp_path / "jobs").exists():
                assert any((tmp_path / "jobs").iterdir())
                received.shutil.rmtree(tmp_path / "jobs")
    print(dict(found))
    assert set(found) == {"refused"}, found


def test_a_new_run_in_a_folder_with_links(folders, tmp_path):
    """A folder that looks empty, but for names that the run will write."""
    _, names = folders["finished run"]
    for name in names:
        for what, target in victims(tmp_path, tmp_path / "precious"):
            folder = tmp_path / "run"
            (folder / name).parent.mkdir(parents=True)
            (folder / name).symlink_to(target)
            with pytest.raises((ValueError, FileExistsError), match=r"is a link|already holds") as refused:
                run(RunConfig(**received.OPTIONS), folder)
            assert Path(name).name.removesuffix(".partial").strip(".") in str(refused.value) or "jobs" in str(
                refused.value
            )
            assert (tmp_path / "precious").read_bytes() == b"precious", what
            assert not (tmp_path / "not there").exists()
            received.shutil.rmtree(folder)


def test_energy_into_a_folder_with_links(folders, tmp_path):
    made, _ = folders["finished run"]
    for name in ("energy.json", ".energy.md.partial", "energy.png"):
        for _, target in victims(made, tmp_path / "precious"):
            out = tmp_path / "out"
            out.mkdir()
            (out / name).symlink_to(target)
            assert one_line(command("energy", made, "--out", out), name, "is a link")
            assert (tmp_path / "precious").read_bytes() == b"precious"
            assert not (tmp_path / "not there").exists()
            received.shutil.rmtree(out)


def test_links_that_come_after_the_check(tmp_path):
    """Planted while a run goes on: a write replaces a link, and never goes through it."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    for name in ("results.json", ".results.json.partial"):
        (tmp_path / name).symlink_to(precious)
        replace_file(tmp_path / "results.json", b"mine")
        assert (tmp_path / "results.json").read_bytes() == b"mine"
        assert not (tmp_path / "results.json").is_symlink()
        assert precious.read_bytes() == b"precious"


def test_a_lock_with_two_names(folders, tmp_path):
    """A file of the user's that an archive gave a second name in the folder is no lock: it would be emptied."""
    precious = tmp_path / "precious"
    for kind in RUNS:
        folder = received.copy(folders[kind][0], tmp_path / "run")
        precious.write_bytes(b"precious")
        (folder / "jobs" / ".lock").unlink(missing_ok=True)
        (folder / "jobs" / ".lock").hardlink_to(precious)
        assert one_line(resume(kind, folder), ".lock", "remove it")
        assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("layout", CARDS)
def test_in_a_dataset_root(layout, tmp_path, monkeypatch):
    """Every name of a graph's files and folders: read through at most, replaced or refused, never written through."""
    found = collections.Counter()
    source = tmp_path / "source"
    card = planted_cards(layout, source, monkeypatch)
    places = {card.folder, *(str(Path(card.folder, name)) for name in card.files)}
    places |= {str(parent) for place in places for parent in Path(place).parents if str(parent) != "."}
    for place in sorted(places):
        for what, target in victims(source, tmp_path / "precious"):
            root = tmp_path / "root"
            path = root / place
            path.parent.mkdir(parents=True)
            path.symlink_to(target)
            try:
                import_folder(source, root)
                found["replaced" if not path.is_symlink() else f"{place}, a link to {what}"] += 1
                load_graph("tiny", root, split="random:60/20/20")
            except DatasetError as error:
                assert path.is_symlink()
                found["refused" if str(path) in str(error) and str(error).isprintable() else str(error)] += 1
            assert (tmp_path / "precious").read_bytes() == b"precious"
            assert not (tmp_path / "not there").exists()
            received.shutil.rmtree(root)
    print(dict(found))
    assert set(found) <= {"replaced", "refused"}, found


def test_resuming_needs_no_name_outside(folders, tmp_path):
    """The folder itself may be a link, as where runs are kept on another disk."""
    (tmp_path / "link").symlink_to(folders["run"][0])
    assert Experiment.resume(tmp_path / "link").study.kind == "train"
