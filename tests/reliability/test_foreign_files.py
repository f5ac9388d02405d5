"""Files of a run folder replaced by what does not belong there: one line that says which, why and what to do.

What was there stays to the last byte, and no command ends with a traceback, waits for ever or says to load unsafely.
"""

import collections
import copy
import gzip
import hashlib
import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import received
import torch
from received import COMMANDS, KINDS, Done, command, commands, content, make, one_line, resume

from msg.experiments.files import SEAL, digest, read_json, read_tensors, sealed_json, torch_bytes

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(1200), pytest.mark.usefixtures("one_thread")]

UNFINISHED = list(COMMANDS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each kind, and one of each that another learning rate made."""
    parent = tmp_path_factory.mktemp("received")
    return {
        kind: (make(kind, parent / kind), make(kind, parent / f"other {kind}", lr=0.02))
        for kind in ("finished run", *UNFINISHED)
    }


@pytest.fixture
def folder(tmp_path):
    """Where a fresh copy goes."""
    return tmp_path / "run"


def read_by(kind: str) -> list[tuple[str, str]]:
    """Files and who reads them: ``resume`` the configuration and what jobs left, ``energy`` what the run came to."""
    names = [name for name in KINDS[kind] if received.is_read(kind, name)]
    by_resume = [("resume", name) for name in names if name == "config.json" or name.startswith("jobs/")]
    by_energy = [("energy", name) for name in names if not name.startswith("jobs/")]
    return by_resume + (by_energy if kind == "finished run" else [])


READ = [(kind, by, name) for kind in ("finished run", *UNFINISHED) for by, name in read_by(kind)]


def do(by: str, kind: str, folder: Path) -> Done:
    return command("energy", folder) if by == "energy" else resume(kind, folder)


def refused(by: str, kind: str, folder: Path, name: str, *words: str) -> None:
    """One line that names the file, a folder that stays as it was."""
    before = content(folder)
    done = do(by, kind, folder)
    assert one_line(done, Path(name).name, *words), done
    assert any(mend in done.stderr for mend in ("delete", "remove", "take another", "take that back", "undo")), done
    assert content(folder) == before


def replace(path: Path, what: bytes) -> None:
    path.unlink()
    path.write_bytes(what)


def other_job(name: str) -> str | None:
    """A file of the same kind that another job of the same folder left."""
    return {
        "jobs/msg-0.json": "jobs/msg-1.json",
        "jobs/msg-0.pt": "jobs/msg-1.pt",
        "jobs/gcn-1.json": "jobs/gcn-0.json",
    }.get(name)


@pytest.mark.parametrize(("kind", "by", "name"), READ)
def test_another_runs_file(folders, folder, kind, by, name):
    mine, other = folders[kind]
    received.copy(mine, folder)
    replace(folder / name, (other / name).read_bytes())
    # a configuration contradicts what it stands beside, which is then named
    named = {"resume": "config.json", "energy": "best.pt"}[by] if name == "config.json" else name
    refused(by, kind, folder, named)


def test_another_jobs_file(folders, folder):
    """The same run, the same stamp, another seed."""
    for name in ("jobs/msg-0.json", "jobs/msg-0.pt", "jobs/gcn-1.json"):
        received.copy(folders["finished run"][0], folder)
        replace(folder / name, (folder / str(other_job(name))).read_bytes())
        refused("resume", "finished run", folder, name)
    for kind, done, state in (
        ("run", "msg-0", "msg-1"),
        ("search", "msg-0-0", "msg-0-1"),
        ("comparison", "dvm-2-0", "dvm-2-1"),
    ):
        received.copy(folders[kind][0], folder)
        for path in (folder / "jobs").glob(f"{done}.*"):
            path.unlink()
        (folder / "jobs" / f"{state}.checkpoint.pt").rename(folder / "jobs" / f"{done}.checkpoint.pt")
        refused("resume", kind, folder, f"{done}.checkpoint.pt")


@pytest.mark.parametrize(("kind", "by", "name"), READ)
def test_no_files_at_all(folders, folder, kind, by, name):
    """Folders, pipes, and links to a device and to a file."""
    precious = folder.parent / "precious"
    for number in range(4):
        path = received.copy(folders[kind][0], folder) / name
        sound = path.read_bytes()
        precious.write_bytes(sound)
        path.unlink()
        if number == 0:
            path.mkdir()
        elif number == 1:
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero" if number == 2 else precious)
        refused(by, kind, folder, name)
        assert precious.read_bytes() == sound


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
@pytest.mark.parametrize(("kind", "by", "name"), READ)
def test_no_permission(folders, folder, kind, by, name):
    path = received.copy(folders[kind][0], folder) / name
    path.chmod(0)
    try:
        done = do(by, kind, folder)
        assert one_line(done, path.name, "take another copy"), done
    finally:
        path.chmod(0o600)


def strange(sound: bytes) -> dict[str, bytes]:
    """What may stand in a file's place, whatever its kind."""
    deep, bomb, old, large, pairs = (io.BytesIO() for _ in range(5))
    archive = io.BytesIO(sound if sound[:2] == b"PK" else torch_bytes({}))
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.namelist():
            target.writestr(member, source.read(member))
        target.writestr(f"{source.namelist()[0].partition('/')[0]}/data/99", bytes(200 * 2**20))
    torch.save({"a": torch.zeros(2)}, old, _use_new_zipfile_serialization=False)
    torch.save({"a": torch.zeros(1).expand(10**12), SEAL: "0" * 64}, large)
    nested: Any = ("x", "x")
    for _ in range(60):  # two to the sixtieth words, in a kilobyte
        nested = (nested, nested)
    torch.save({"a": nested, SEAL: "0" * 64}, pairs)
    nested = "x"
    for _ in range(400):
        nested = [nested]
    torch.save({"a": nested}, deep)
    return {
        "deep JSON": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "JSON as deep as can be": b'{"a":' * 900 + b"1" + b"}" * 900,
        "a list": b"[]",
        "a number of a million digits": b"[" + b"1" * 10**6 + b"]",
        "200 MB in a small archive": bomb.getvalue(),
        "200 MB in a small gz": gzip.compress(bytes(200 * 2**20)),
        "torch's old format": old.getvalue(),
        "a tensor of a million million numbers in one": large.getvalue(),
        "pairs of pairs": pairs.getvalue(),
        "deep lists": deep.getvalue(),
        "a pickle": pickle.dumps({"a": 1}),
        "text": "nothing\x1b[2J\r\u202e".encode(),
        "zeros": bytes(1000),
    }


@pytest.mark.parametrize(("kind", "by", "name"), READ)
def test_strange_content(folders, folder, kind, by, name):
    path = received.copy(folders[kind][0], folder) / name
    for what in strange(path.read_bytes()).values():
        path.write_bytes(what)
        refused(by, kind, folder, name)


WRONG: list[Any] = [
    *(None, True, -1, 0, 3, 10**30, -0.5, 1e308, float("nan"), "", "x", "\x1b[2J\r\n\u202e", "\ud800", "$\\frac$"),
    *([], {}, [[]], [None], {"x": 1}, [0, 1, 2], ["msg"]),
]
GONE = object()
SAMPLE = 100
"""Of all changes that there are of a file, so many are tried, the same ones each time."""


def sampled(changes: Iterator[tuple[str, Any]]) -> list[tuple[str, Any]]:
    found = list(changes)
    return random.Random(0).sample(found, min(SAMPLE, len(found)))


def changed(value: Any) -> Iterator[tuple[str, Any]]:
    """A nested value with one part of it replaced by another, left out, or joined by one, and which part that is."""

    def places(part: Any, place: tuple) -> Iterator[tuple]:
        if isinstance(part, dict | list):
            keys = list(part) if isinstance(part, dict) else list(range(min(len(part), 2)))
            for key in keys:
                yield (*place, key)
                yield from places(part[key], (*place, key))

    for place in places(value, ()):
        for wrong in [*WRONG, GONE]:
            new = copy.deepcopy(value)
            part = new
            for key in place[:-1]:
                part = part[key]
            if wrong is GONE:
                del part[place[-1]]
            elif type(part[place[-1]]) is type(wrong) and part[place[-1]] == wrong:
                continue
            else:
                part[place[-1]] = wrong
            yield ".".join(map(str, place)), new
    yield "another key", {**value, "another": 1}


def timeless(folder: Path) -> dict[str, Any]:
    """What a train run came to, but for times and what it was made with."""
    found = read_json(folder / "results.json")
    del found["versions"]
    for model in (found, found["baseline"]):
        del model["seconds_per_epoch"]
    return found


def verdict(done: Done, folder: Path, before: dict, whole: dict | None, name: str) -> str:
    """What a command did with a sealed change."""
    if done.status == 0:
        if whole is None:
            return "same"
        told = "told" if "going on with" in done.output else "same"
        return told if timeless(folder) == whole else f"different {done}"
    if not one_line(done, name) or content(folder) != before:
        return f"crashed {done}"
    return "refused"


def count(found: collections.Counter, at_least: int) -> None:
    print(dict(found))
    assert set(found) <= {"refused", "same", "told"}, [wrong for wrong in found if wrong not in ("refused", "same")][:3]
    assert found["refused"] >= at_least


@pytest.mark.parametrize("kind", UNFINISHED)
def test_sealed_changes_of_a_configuration(folders, folder, kind, tmp_path):
    """By somebody who knows how to seal: another value in every place."""
    mine, found = folders[kind][0], collections.Counter()
    whole = None
    if kind == "run":
        assert resume(kind, received.copy(mine, folder)).status == 0
        whole = timeless(folder)
    for place, new in sampled(changed(read_json(mine / "config.json"))):
        received.copy(mine, folder)
        (folder / "config.json").write_bytes(sealed(new))
        before = content(folder)
        done = resume(kind, folder)
        found[verdict(done, folder, before, whole, "config.json")] += 1
        if done.status == 0:
            assert place.startswith("versions"), (place, done)
    count(found, SAMPLE // 2)


def sealed(value: dict[str, Any]) -> bytes:
    """With its seal, also what ``sealed_json`` would refuse to write: numbers that are not finite, half characters."""
    seal = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return json.dumps({**value, SEAL: seal}).encode()


RECORDS = [
    ("run", "jobs/msg-0.json"),
    ("run", "jobs/gcn-0.json"),
    ("finished run", "jobs/msg-0.json"),
    ("search", "jobs/msg-0-0.json"),
    ("comparison", "jobs/dvm-2-0.json"),
]


@pytest.mark.parametrize(("kind", "name"), RECORDS)
def test_sealed_changes_of_a_result(folders, folder, kind, name):
    """Whoever can seal can say any number; but nothing crashes, and what is no result is refused by name."""
    mine, found = folders[kind][0], collections.Counter()
    for _, new in sampled(changed(read_json(mine / name))):
        received.copy(mine, folder)
        (folder / name).write_bytes(sealed(new))
        before = content(folder)
        found[verdict(resume(kind, folder), folder, before, None, Path(name).name)] += 1
    count(found, SAMPLE // 4)


def test_sealed_changes_of_results(folders, folder):
    mine, found = folders["finished run"][0], collections.Counter()
    received.copy(mine, folder)
    told = ("config", "model", "metric", "test", "another")  # of which energy reads something
    for _, new in sampled(one for one in changed(read_json(mine / "results.json")) if one[0].startswith(told)):
        (folder / "results.json").write_bytes(sealed(new))
        before = content(folder)
        found[verdict(command("energy", folder), folder, before, None, "results.json")] += 1
    count(found, SAMPLE // 2)


def tensors(state: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A state with one tensor of another shape, type or content, or one entry of another kind."""

    def places(part: Any, place: tuple) -> Iterator[tuple]:
        if isinstance(part, dict | list | tuple):
            keys = list(part) if isinstance(part, dict) else list(range(min(len(part), 2)))
            for key in keys:
                yield (*place, key)
                yield from places(part[key], (*place, key))

    def put(value: Any, place: tuple, new: Any) -> Any:
        if not place:
            return new
        key, *rest = place
        if isinstance(value, dict):
            found = {name: put(part, tuple(rest), new) if name == key else part for name, part in value.items()}
            return {name: part for name, part in found.items() if part is not GONE}
        return type(value)(put(part, tuple(rest), new) if number == key else part for number, part in enumerate(value))

    for place in places(state, ()):
        if place == ("stamp",):
            continue
        part = state
        for key in place:
            part = part[key]
        wrongs: list[Any] = [None, "x", -1, [], {}, torch.zeros(3), torch.zeros(3, dtype=torch.int64)]
        wrongs += [GONE] if isinstance(place[-1], str) else []
        if isinstance(part, torch.Tensor):
            wrongs += [part[None], part.double(), part.bool(), part.to(torch.complex64), torch.zeros(0)]
            wrongs += [torch.full_like(part, float("nan"))] if part.is_floating_point() else []
        for wrong in wrongs:
            yield ".".join(map(str, place)), put(state, place, wrong)


@pytest.mark.parametrize("kind", UNFINISHED)
def test_sealed_changes_of_a_checkpoint(folders, folder, kind):
    mine, found = folders[kind][0], collections.Counter()
    name = next(name for name in KINDS[kind] if name.endswith(".checkpoint.pt"))
    for _, new in sampled(tensors(read_tensors(mine / name))):
        received.copy(mine, folder)
        (folder / name).write_bytes(torch_bytes(new))
        before = content(folder)
        found[verdict(resume(kind, folder), folder, before, None, Path(name).name)] += 1
    count(found, SAMPLE // 4)


def test_sealed_changes_of_a_jobs_tensors(folders, folder):
    """The result beside them is sealed anew too, so that it names them."""
    mine, found = folders["finished run"][0], collections.Counter()
    kept = read_json(mine / "jobs/msg-0.json")
    for _, new in sampled(tensors(read_tensors(mine / "jobs/msg-0.pt"))):
        received.copy(mine, folder)
        (folder / "jobs/msg-0.pt").write_bytes(torch_bytes(new))
        (folder / "jobs/msg-0.json").write_bytes(sealed_json({**kept, "tensors": digest(new)}))
        before = content(folder)
        done = resume("finished run", folder)
        found[verdict(done, folder, before, None, "msg-0")] += 1
        if done.status == 0:  # what then is the run's model is refused where it is no model
            energy = command("energy", folder)
            assert energy.status == 0 or one_line(energy, "best.pt"), energy
    count(found, 20)


def test_sealed_changes_of_a_model(folders, folder):
    mine, found = folders["finished run"][0], collections.Counter()
    received.copy(mine, folder)
    for _, new in sampled(tensors(read_tensors(mine / "best.pt"))):
        (folder / "best.pt").write_bytes(torch_bytes(new))
        before = content(folder)
        found[verdict(command("energy", folder), folder, before, None, "best.pt")] += 1
    count(found, SAMPLE // 4)


ARTEFACTS = [(kind, name) for kind in KINDS if kind.startswith("finished") for name in KINDS[kind] if "/" not in name]


@pytest.mark.parametrize(("kind", "name"), [one for one in ARTEFACTS if one[1] != "config.json"])
def test_a_folder_where_a_file_is_to_be_written(folder, kind, name, tmp_path_factory):
    """A folder with something in it is never removed."""
    make(kind, folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    (folder / name / "precious").write_bytes(b"mine")
    for order in commands(kind, folder):
        done = order()
        written = name in done.stderr
        assert one_line(done, name) if written else done.status == 0, done
        assert (folder / name / "precious").read_bytes() == b"mine"
