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
from torch_geometric.data import Data, download_url

from msg.datasets.archives import MAX_BYTES, open_npz
from msg.datasets.canonical import to_data
from msg.datasets.cards import Card
from msg.datasets.errors import MEND, DatasetError, file_errors, mend_of, reason
from msg.datasets.graph_sets import RawGraphs, to_batch
from msg.datasets.npz import read_npz
from msg.datasets.open_graph_benchmark import read_ogb
from msg.datasets.planetoid import read_planetoid
from msg.datasets.raw_graph import RawGraph
from msg.datasets.tu import read_tu

STORED = "stored"
"""Folder of what is mapped, beside the raw files that it was made from."""


def read_folder(card: Card, folder: Path, features: str = "auto", max_bytes: int = MAX_BYTES) -> Data:
    """Read a graph's raw files and check them against its card.

    The pickles of Planetoid are loaded only if their SHA-256 is the card's. A ``.npz`` may be packed in another way
    than the file the card was made from, as copies in circulation are, so there the content decides: number of nodes,
    edges, features and classes, and the content hash. So it does in files of text. Files that the card does not list
    are never opened.

    Args:
        card: The graph's card.
        folder: The folder that holds ``card.files``.
        features: See :func:`~msg.datasets.canonical.to_data`, as of ``max_bytes``.
        max_bytes: How large dense features may become.

    Raises:
        DatasetError: If a file is missing or damaged, or holds another graph.
    """
    missing = missing_files(card, folder)
    if missing:
        raise DatasetError(
            f"{folder / missing[0]} is missing ({len(missing)} of {len(card.files)} files of {card.title}); load it "
            "again to download it, or import a sound copy"
        )
    raw = _READERS[card.format](card, folder)
    data = to_batch(raw, max_bytes) if isinstance(raw, RawGraphs) else to_data(raw, features, max_bytes)
    check_content(card, data, folder)
    return data


def _changed_files(card: Card, folder: Path) -> list[Path]:
    return [folder / name for name, digest in card.files.items() if _sha256(folder / name) != digest]


def _read_planetoid(card: Card, folder: Path) -> RawGraph:
    changed = _changed_files(card, folder)
    if changed:
        raise DatasetError(f"{changed[0]} is damaged or altered (SHA-256), so it is not unpickled; {MEND}")
    return read_planetoid(folder / "raw", card.folder)


def _read_npz(card: Card, folder: Path) -> RawGraph:
    for path in _changed_files(card, folder):
        _check_archive(path)
    return read_npz(folder / next(iter(card.files)), card.binary_features)


_READERS = {"npz": _read_npz, "planetoid": _read_planetoid, "ogb": read_ogb, "tu": read_tu}


def missing_files(card: Card, folder: Path) -> list[str]:
    """Return the files of a graph that are not in ``folder``, relative to it."""
    return [name for name in card.files if not (folder / name).is_file()]


def check_content(card: Card, data: Data, place: Path | str, mend: str = MEND) -> None:
    """Compare a graph with its card.

    Args:
        card: The card.
        data: The graph.
        place: Where it comes from, for the message.
        mend: What to do if it is another one.

    Raises:
        DatasetError: If a number of nodes, edges, features or classes, or the content hash is not the card's.
    """
    check_counts(card, data, data["edge_index"].size(1), place, mend)
    if card.content_hash and data.content_hash != card.content_hash:
        raise DatasetError(
            f"{place} is not {card.title} as on its card: the counts agree, the content hash does not; {mend} "
            "(a .npz given to load_graph by its path is not compared with a card)"
        )


def check_counts(card: Card, nodes: Data, edges: int, place: Path | str, mend: str = MEND) -> None:
    """Compare the sizes of a graph with those on its card, see :func:`check_content`.

    Args:
        card: The card.
        nodes: Features and the number of classes.
        edges: The number of edges, each direction counted.
        place: See :func:`check_content`.
        mend: See :func:`check_content`.
    """
    found = {
        "nodes": nodes["x"].size(0),
        "edges": edges // 2,
        "features": nodes["x"].size(1),
        "classes": nodes.num_classes,
    }
    if card.graphs is not None:
        found["graphs"] = nodes.num_graphs
    for name, number in found.items():
        if getattr(card, name) not in (None, number):
            raise DatasetError(f"{place} has {number:,} {name}, {card.title} has {getattr(card, name):,}; {mend}")


def obtain(card: Card, root: Path, features: str = "auto", max_bytes: int = MAX_BYTES) -> Data:
    """Read a graph from a dataset root, see :func:`read_folder`; if it is not there, download it first.

    Raises:
        DatasetError: If the files are damaged, or missing and cannot be downloaded or written.
    """
    folder = root / card.folder
    if not missing_files(card, folder):
        return read_folder(card, folder, features, max_bytes)
    with _downloaded(card, root) as staged:
        data = read_staged(card, staged, "the download", features, max_bytes)
        move_into_place(card, staged, root)
    return data


def fetch(card: Card, root: Path) -> None:
    """Download the files of a graph that are missing, without reading them.

    Raises:
        DatasetError: If they cannot be downloaded or written.
    """
    if missing_files(card, root / card.folder):
        with _downloaded(card, root) as staged:
            move_into_place(card, staged, root)


@contextlib.contextmanager
def _downloaded(card: Card, root: Path) -> Iterator[Path]:
    folder = root / card.folder
    if not card.download:
        raise DatasetError(
            f"{folder / missing_files(card, folder)[0]} is missing, and {card.title} has no public download known to "
            f"PyTorch Geometric; {_import_hint(card, root)}"
        )
    refuse_links(card, root)
    with staging(root) as temporary:
        staged = temporary / card.folder
        _download(card, staged, root)
        yield staged


@contextlib.contextmanager
def staging(root: Path) -> Iterator[Path]:
    """Yield a temporary folder in ``root``, made if needed; afterwards remove it, and ``root`` if made in vain.

    Raises:
        DatasetError: If ``root`` cannot be written to.
    """
    made = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".staging-", dir=root, ignore_cleanup_errors=True)
    except OSError as error:
        raise DatasetError(f"cannot write to the dataset root {root} ({error}): give another folder") from error
    try:
        with temporary as path:
            yield Path(path)
    finally:
        if made:
            with contextlib.suppress(OSError):  # it is not empty, or somebody has taken it away
                root.rmdir()


def refuse_links(card: Card, root: Path) -> None:
    """Make sure that writing a graph's files into ``root`` leads nowhere else.

    A file that is a link itself is replaced, not followed, so only folders matter.

    Raises:
        DatasetError: If a folder of the graph is a symbolic link.
    """
    for name in card.files:
        folder = root
        for part in (card.folder, *Path(name).parent.parts):
            folder /= part
            if folder.is_symlink():
                raise DatasetError(
                    f"{folder} is a link to {os.readlink(folder)}, and nothing is written through a link: remove it, "
                    "or give the folder it leads to as part of another root"
                )


def _import_hint(card: Card, root: Path) -> str:
    return (
        f"get the files elsewhere, as SOURCE/{card.folder}/raw/..., and run `msg datasets import SOURCE --root {root}`"
    )


def _download(card: Card, staged: Path, root: Path) -> None:
    archive = card.download.endswith(".zip")
    base = card.download if archive else getattr(torch_geometric.datasets, card.download).url.rstrip("/")
    if card.format == "tu" and not archive:
        base, archive = f"{base}/{card.folder}.zip", True
    url = base
    try:
        if archive:
            _unpack(card, Path(download_url(url, str(staged.parent / "archive"))), staged)
            return
        for name in card.files:
            url = f"{base}/{Path(name).name}"
            download_url(url, str((staged / name).parent))
    except (OSError, http.client.HTTPException, zipfile.BadZipFile) as error:
        mend = mend_of(error, f"try again, or {_import_hint(card, root)}")
        raise DatasetError(f"cannot download {url} ({reason(error)}) into {root}; {mend}") from error


def _unpack(card: Card, packed: Path, staged: Path) -> None:
    # TU Dortmund packs its files without the folder that they are kept in
    inside = "" if card.format == "tu" else "raw/"
    with zipfile.ZipFile(packed) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist() if name.partition("/")[2].startswith(inside)}
        if len(tops) != 1:
            raise zipfile.BadZipFile(f"not one folder with {inside or 'files'} in it")
        (top,) = tops
        found = {name: f"{top}/{name if inside else Path(name).name}" for name in card.files}
        for name in [name for name, member in found.items() if member in archive.namelist()]:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            with archive.open(found[name]) as source, (staged / name).open("xb") as target:
                shutil.copyfileobj(source, target)
    packed.unlink()


def read_staged(
    card: Card, staged: Path, shown: Path | str, features: str = "auto", max_bytes: int = MAX_BYTES
) -> Data:
    """Do as :func:`read_folder` for a temporary copy, but let errors name the place ``shown``, which the user knows."""
    with naming(staged, shown):
        return read_folder(card, staged, features, max_bytes)


@contextlib.contextmanager
def naming(staged: Path, shown: Path | str) -> Iterator[None]:
    """Let errors name another place than a temporary one."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(str(error).replace(str(staged), str(shown))) from error


def move_into_place(card: Card, staged: Path, root: Path) -> None:
    """Move a checked graph from a temporary folder of ``root`` to its folder there.

    If the folder exists, its raw files are replaced, each at once, what was made from them is deleted or replaced, and
    whatever else the user keeps there stays. No symbolic link is followed.

    Raises:
        DatasetError: If the folder is a link or cannot be written to.
    """
    folder = root / card.folder
    refuse_links(card, root)
    with file_errors(folder):
        if not folder.exists():
            os.replace(staged, folder)
            return
    for name in card.files:
        with file_errors((folder / name).parent):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with file_errors(folder / name):
            os.replace(staged / name, folder / name)
    for made in ("processed", STORED):
        shutil.rmtree(folder / made, ignore_errors=True)
    if (staged / STORED).is_dir():
        with file_errors(folder / STORED):
            os.replace(staged / STORED, folder / STORED)


def _sha256(path: Path) -> str:
    with file_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_archive(path: Path) -> None:
    """Raise if any member of a ``.npz`` is damaged, also those that are not read."""
    try:
        with open_npz(path) as arrays:
            damaged = arrays.damaged()
    except DatasetError:
        raise
    except Exception as error:  # a damaged archive raises many things
        raise DatasetError(f"{path} is damaged or truncated ({reason(error)}); {MEND}") from error
    if damaged:
        raise DatasetError(f"{path} is damaged (its {damaged} fails its check sum); {MEND}")
