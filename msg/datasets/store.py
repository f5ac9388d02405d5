"""The dataset root on disk: read a graph's files against its card, and download what is missing."""

import contextlib
import hashlib
import http.client
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch_geometric.datasets
from torch_geometric.data import Data, download_url, extract_zip

from msg.datasets.cards import Card, DatasetError
from msg.datasets.formats import read_npz, read_planetoid, to_data
from msg.datasets.open_graph_benchmark import read_ogb

_FIX = "replace it by a sound copy (in a dataset root: delete it and load again, or import one)"


def read_folder(card: Card, folder: Path, features: str = "auto") -> Data:
    """Read a graph's raw files and check them against its card.

    The pickles of Planetoid are loaded only if their SHA-256 is the card's. A ``.npz`` may be packed in another way
    than the file the card was made from, as copies in circulation are, so there the content decides: number of nodes,
    edges, features and classes, and the content hash.

    Args:
        card: The graph's card.
        folder: The folder that holds ``card.files``.
        features: See :func:`~msg.datasets.formats.to_data`.

    Raises:
        DatasetError: If a file is missing or damaged, or holds another graph.
        ImportError: If an OGB graph is read without the ``ogb`` package.
    """
    missing = missing_files(card, folder)
    if missing:
        raise DatasetError(
            f"{folder / missing[0]} is missing ({len(missing)} of {len(card.files)} files of {card.title}); load it "
            "again to download it, or import a sound copy"
        )
    changed = [name for name, digest in card.files.items() if digest and _sha256(folder / name) != digest]
    if card.format == "planetoid":
        if changed:
            raise DatasetError(f"{folder / changed[0]} is damaged or altered (SHA-256), so it is not unpickled; {_FIX}")
        raw = read_planetoid(folder / "raw", card.folder)
    elif card.format == "ogb":
        raw = read_ogb(card, folder)
    else:
        path = folder / next(iter(card.files))
        if changed:
            _check_archive(path)
        raw = read_npz(path, card.binary_features)
    data = to_data(raw, features)
    check_content(card, data, folder)
    return data


def missing_files(card: Card, folder: Path) -> list[str]:
    """Return the files of a graph that are not in ``folder``, relative to it."""
    return [name for name in card.files if not (folder / name).is_file()]


def check_content(card: Card, data: Data, place: Path | str) -> None:
    """Compare a graph with its card.

    Raises:
        DatasetError: If a number of nodes, edges, features or classes, or the content hash is not the card's.
    """
    found = {
        "nodes": data["x"].size(0),
        "edges": data["edge_index"].size(1) // 2,
        "features": data["x"].size(1),
        "classes": data.num_classes,
    }
    for name, number in found.items():
        if getattr(card, name) not in (None, number):
            raise DatasetError(f"{place} has {number:,} {name}, {card.title} has {getattr(card, name):,}; {_FIX}")
    if card.content_hash and data.content_hash != card.content_hash:
        raise DatasetError(
            f"{place} is not {card.title} as on its card: the counts agree, the content hash does not; {_FIX} "
            "(a .npz given to load_graph by its path is not compared with a card)"
        )


def obtain(card: Card, root: Path, features: str = "auto") -> Data:
    """Read a graph from a dataset root; if it is not there, download it first.

    Raises:
        DatasetError: If the files are damaged, or missing and cannot be downloaded.
    """
    folder = root / card.folder
    if not missing_files(card, folder):
        return read_folder(card, folder, features)
    if not card.download:
        raise DatasetError(
            f"{folder / missing_files(card, folder)[0]} is missing, and {card.title} has no public download known to "
            f"PyTorch Geometric; {_import_hint(card, root)}"
        )
    with staging(root) as temporary:
        staged = temporary / card.folder
        _download(card, staged, root)
        data = read_staged(card, staged, "the download", features)
        move_into_place(card, staged, folder)
    return data


@contextlib.contextmanager
def staging(root: Path) -> Iterator[Path]:
    """Yield a temporary folder in ``root``, made if needed; afterwards remove it, and ``root`` if made in vain.

    Raises:
        DatasetError: If ``root`` cannot be written to.
    """
    made = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".staging-", dir=root)
    except OSError as error:
        raise DatasetError(f"cannot write to the dataset root {root} ({error}): give another folder") from error
    try:
        with temporary as path:
            yield Path(path)
    finally:
        if made and not any(root.iterdir()):
            root.rmdir()


def _import_hint(card: Card, root: Path) -> str:
    return (
        f"get the files elsewhere, as SOURCE/{card.folder}/raw/..., and run `msg datasets import SOURCE --root {root}`"
    )


def _download(card: Card, staged: Path, root: Path) -> None:
    archive = card.download.endswith(".zip")
    base = card.download if archive else getattr(torch_geometric.datasets, card.download).url.rstrip("/")
    url = base
    try:
        if archive:
            _unpack(download_url(url, str(staged.parent / "archive")), staged)
            return
        for name in card.files:
            url = f"{base}/{Path(name).name}"
            download_url(url, str((staged / name).parent))
    except (OSError, http.client.HTTPException, zipfile.BadZipFile) as error:
        raise DatasetError(f"cannot download {url} ({error}); try again, or {_import_hint(card, root)}") from error


def _unpack(archive: str, staged: Path) -> None:
    extract_zip(archive, os.path.dirname(archive), log=False)
    os.unlink(archive)
    inner = [raw.parent for raw in Path(archive).parent.glob("*/raw")]
    if len(inner) != 1:
        raise zipfile.BadZipFile("not one folder with raw/ in it")
    os.replace(inner[0], staged)


def read_staged(card: Card, staged: Path, shown: Path | str, features: str = "auto") -> Data:
    """Do as :func:`read_folder` for a temporary copy, but let errors name the place ``shown``, which the user knows."""
    try:
        return read_folder(card, staged, features)
    except DatasetError as error:
        raise DatasetError(str(error).replace(str(staged), str(shown))) from error


def move_into_place(card: Card, staged: Path, folder: Path) -> None:
    """Move a checked graph from a temporary folder of the same root to ``folder``.

    If ``folder`` exists, its raw files are replaced, each at once, what was made from them is deleted, and whatever
    else the user keeps there stays.
    """
    try:
        os.replace(staged, folder)
    except OSError:  # the folder exists
        for name in card.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staged / name, folder / name)
        shutil.rmtree(folder / "processed", ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_archive(path: Path) -> None:
    """Raise if any member of a ``.npz`` is damaged, also those that are not read."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # a damaged archive raises many things
        raise DatasetError(f"{path} is damaged or truncated ({error}); {_FIX}") from error
    if damaged:
        raise DatasetError(f"{path} is damaged (its {damaged} fails its check sum); {_FIX}")
