"""Code in every file that is opened of a dataset root or a run folder: none of it is executed.

Which files those are is not listed here but heard from Python itself, whose every opening of a file is an event.
"""

import collections
import gzip
import io
import os
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import received
import torch
from received import COMMANDS, Done, command, make, resume
from writers_of_graphs import CARDS, Payload, planted_cards

from msg.experiments import load_model

pytestmark = [pytest.mark.reliability, pytest.mark.usefixtures("one_thread")]

_opened: list[str] | None = None


def _listen(event: str, arguments: tuple) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        _opened.append(os.path.abspath(os.fsdecode(arguments[0])))


@cache
def _begin() -> None:
    """Once, and not before it is needed: a hook is called for as long as the process lives."""
    sys.addaudithook(_listen)


@contextmanager
def listening(folder: Path) -> Iterator[set[str]]:
    """Names, relative to a folder, of all files there that are opened until the end."""
    global _opened
    found: set[str] = set()
    _begin()
    _opened = []
    try:
        yield found
    finally:
        opened, _opened = _opened, None
        found |= {os.path.relpath(path, folder) for path in opened if Path(path).is_relative_to(folder)}


NAMES = [
    *(f"{prefix}_{part}" for prefix in ("adj", "attr") for part in ("data", "indices", "indptr", "shape", "matrix")),
    *("labels", "node_features", "node_labels", "edges", "train_masks", "val_masks", "test_masks"),
]


def forms(payload: Payload) -> dict[str, bytes]:
    """The payload in every packing in which some loader would unpickle it."""
    new, old, npz, npy, tar, zipped = (io.BytesIO() for _ in range(6))
    torch.save({"stamp": payload, "state_dict": {"weight": payload}}, new)
    torch.save(payload, old, _use_new_zipfile_serialization=False)
    objects = np.array([payload], dtype=object)
    np.savez(npz, **dict.fromkeys(NAMES, objects))
    np.save(npy, objects)
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name in ("pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = len(pickle.dumps(payload))
            archive.addfile(member, io.BytesIO(pickle.dumps(payload)))
    with zipfile.ZipFile(zipped, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"archive/{name}", pickle.dumps(payload))
        archive.writestr("archive/version", "3\n")
    plain = {f"pickle {number}": pickle.dumps(payload, number) for number in range(pickle.HIGHEST_PROTOCOL + 1)}
    packed = {"gz": gzip.compress(plain["pickle 2"]), "gz of csv": gzip.compress(b"1,2\n" + plain["pickle 0"])}
    archives = {"torch": new, "old torch": old, "npz": npz, "npy": npy, "tar": tar, "TorchScript": zipped}
    return plain | packed | {name: file.getvalue() for name, file in archives.items()}


OF_OTHERS = [
    *("pre_transform.pt", "pre_filter.pt", "data.pt", "geometric_data_processed.pt", "data_processed", "data_0.pt"),
    *("split_dict.pt", "gcn.pkl", "cache.npy"),
]
"""What PyG and OGB keep beside raw files, and would unpickle."""


def heard(folder: Path, orders: list[Callable[[], Done]]) -> list[str]:
    """Files of a folder that some command opens, and are there before it."""
    before = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    with listening(folder) as found:
        for order in orders:
            assert order().status == 0
    return sorted(found & before)


def attack(path: Path, made: Path, orders: list[Callable[[], Done]], may_pass: bool) -> collections.Counter:
    """What commands do with every form of the payload in a file, which is as before afterwards."""
    found, sound = collections.Counter(), path.read_bytes() if path.exists() else None
    for form, content in forms(Payload(made)).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for order in orders:
            try:
                done = order()
                known = ("passed" if may_pass else f"passed {form}") if done.status == 0 else "refused"
                found[known if "Traceback" not in done.output else f"crashed {done}"] += 1
            except Exception as error:
                found[f"crashed {form} {type(error).__name__}: {error}"] += 1
            path.write_bytes(content)  # an import may have mended it
            if made.exists():
                found[f"executed {form}"] += 1
                made.rmdir()
    path.unlink()
    if sound is not None:
        path.write_bytes(sound)
    return found


def check(found: collections.Counter) -> None:
    print(dict(found))
    assert set(found) <= {"refused", "passed"}, found.most_common(5)
    assert found["refused"] > 0


def test_payloads_do_run_where_they_are_unpickled(tmp_path):
    """Else the rest would show nothing."""
    shown = forms(Payload(tmp_path / "made"))
    loads: dict[str, Callable[[bytes], object]] = {
        "pickle 4": pickle.loads,
        "gz": lambda content: pickle.loads(gzip.decompress(content)),
        "torch": lambda content: torch.load(io.BytesIO(content), weights_only=False),
        "old torch": lambda content: torch.load(io.BytesIO(content), weights_only=False),
        "npy": lambda content: np.load(io.BytesIO(content), allow_pickle=True),
        "npz": lambda content: np.load(io.BytesIO(content), allow_pickle=True)["labels"],
    }
    for form, load in loads.items():
        load(shown[form])
        assert (tmp_path / "made").is_dir(), form
        (tmp_path / "made").rmdir()


@pytest.mark.parametrize("layout", CARDS)
def test_in_a_dataset_root(layout, tmp_path, monkeypatch):
    """Training on it, verifying and importing it; and what other programs keep there is never opened."""
    root, made = tmp_path / "root", tmp_path / "made"
    card = planted_cards(layout, root, monkeypatch)
    small = ("--manifold", "H2", "--epochs", 1, "--timesteps", 1, "--layers", 2, "--seeds", 0, "--baseline", "none")

    def import_() -> Done:
        received.shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        return command("datasets", "import", root, "--root", tmp_path / "copy")

    def train() -> Done:
        received.shutil.rmtree(tmp_path / "run", ignore_errors=True)
        words = ("--dataset", "tiny", "--root", root, "--split", "random:60/20/20", "--out", tmp_path / "run")
        return command("train", *words, *small)

    def verify() -> Done:
        return command("datasets", "verify", "--root", root)

    def into() -> Done:
        received.shutil.rmtree(tmp_path / "source", ignore_errors=True)
        received.shutil.copytree(sound, tmp_path / "source")
        return command("datasets", "import", tmp_path / "source", "--root", root)

    sound = received.copy(root, tmp_path / "sound")
    orders = [verify, import_, train]
    opened = heard(root, [*orders, into])
    content = {Path(card.folder, name) for name in card.files if not name.startswith("RELEASE")}
    assert {Path(name) for name in opened} >= content
    found = collections.Counter()
    for name in opened:
        found += attack(root / name, made, orders, "RELEASE" in name)
        found += attack(root / name, made, [into], True)  # which replaces it
    for name in OF_OTHERS:
        for folder in ("processed", "raw", "."):
            place = root / card.folder / folder / name
            place.parent.mkdir(exist_ok=True)
            place.touch()
            assert str(place.relative_to(root)) not in heard(root, orders)
            place.unlink()
    found += attack(root / card.folder / "processed" / "pre_transform.pt", made, orders, True)
    check(found)


def test_in_a_file_of_ones_own(tmp_path, monkeypatch):
    planted_cards("npz", tmp_path, monkeypatch)
    (path,) = tmp_path.rglob("*.npz")
    words = ("--manifold", "H2", "--epochs", 1, "--timesteps", 1, "--layers", 2, "--seeds", 0, "--baseline", "none")

    def train() -> Done:
        received.shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return command("train", "--dataset", path, "--out", tmp_path / "run", *words)

    assert heard(path.parent, [train]) == [path.name]
    check(attack(path, tmp_path / "made", [train], False))


@pytest.mark.parametrize("kind", ["finished run", *COMMANDS])
def test_in_a_run_folder(kind, tmp_path):
    """Going on with it, counting its model, loading it in Python."""
    whole = make(kind, tmp_path / "whole")
    folder, made = received.copy(whole, tmp_path / "run"), tmp_path / "made"

    def fresh(order: Callable[[], Done]) -> Callable[[], Done]:
        def do() -> Done:
            given = path.read_bytes()
            received.copy(whole, folder)
            path.write_bytes(given)
            return order()

        return do

    def load() -> Done:
        try:
            load_model(folder / "best.pt")
        except ValueError as error:
            return Done(2, "", str(error))
        return Done(0, "", "")

    orders = [lambda: resume(kind, folder)]
    if kind == "finished run":
        orders += [lambda: command("energy", folder), load]
    opened = heard(folder, orders)
    assert {"config.json", *(f"jobs/{path.name}" for path in (whole / "jobs").glob("[!.]*"))} <= set(opened)
    found = collections.Counter()
    # every file at all, opened or not, and those that others would open
    names = [str(path.relative_to(whole)) for path in sorted(whole.rglob("*")) if path.is_file()]
    for name in [*names, "jobs/pre_transform.pt", "data.pt"]:
        path = folder / name
        found += attack(path, made, [fresh(order) for order in orders], may_pass=True)
    check(found)
