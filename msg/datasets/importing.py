"""Import graphs into a dataset root, all or none, and verify those that are there."""

import shutil
from pathlib import Path
from typing import NamedTuple

from msg.datasets.cards import Card, available, find_folder
from msg.datasets.errors import DatasetError, file_errors
from msg.datasets.open_graph_benchmark import in_memory
from msg.datasets.store import (
    missing_files,
    move_into_place,
    naming,
    read_folder,
    read_staged,
    refuse_links,
    staging,
)
from msg.datasets.stored import convert, stored, verify_stored


class Verification(NamedTuple):
    """What :func:`verify` found for one graph: its card, and the problem, or an empty string if all is well."""

    card: Card
    problem: str

    @property
    def ok(self) -> bool:
        """Whether the graph's files are all there and hold the graph."""
        return not self.problem


@file_errors()
def import_folder(source: str | Path, root: str | Path) -> list[Card]:
    """Copy graphs into a dataset root, all of them or none.

    ``source`` holds one folder a graph, with the names PyTorch Geometric and OGB use (``Photo/raw/...``), or is such a
    folder itself. Each graph is copied into a temporary folder in ``root`` and checked there as in
    ``read_folder``; only when all are sound do they move into place. Loose files in ``source``, such as a README,
    hidden folders, and files in a graph's folder that its card does not list, such as ``processed``, are ignored. A
    folder of no known graph is refused: a graph of your own needs no import, give ``load_graph`` its path. A sound
    graph already in ``root`` stays as it is, a damaged one is replaced. Nothing is written through a symbolic link.

    Args:
        source: The folder to import.
        root: The dataset root; made if needed.

    Returns:
        The cards of the graphs imported.

    Raises:
        DatasetError: If a folder is unknown, a file is missing, damaged or not what its card says, a folder in
            ``root`` is a link, or the disk is full or read-only. Then ``root`` is as it was before.
    """
    source, root = Path(source).expanduser(), Path(root).expanduser()
    found = _find_graphs(source)
    with staging(root) as temporary:
        for card, folder in found:
            _copy(card, folder, temporary / card.folder)
            if in_memory(card):
                read_staged(card, temporary / card.folder, folder)
            else:
                with naming(temporary / card.folder, folder):
                    convert(card, temporary / card.folder)
        wanted = [card for card, _ in found if _problem(card, root / card.folder)]
        for card in wanted:  # before anything is moved
            refuse_links(card, root)
        for card in wanted:
            move_into_place(card, temporary / card.folder, root)
    return [card for card, _ in found]


def _find_graphs(source: Path) -> list[tuple[Card, Path]]:
    if not source.is_dir():
        raise DatasetError(f"{source} is not a folder: give the folder that holds Photo, Cora, ...")
    folders = [source] if (source / "raw").is_dir() else sorted(path for path in source.iterdir() if path.is_dir())
    found = []
    for folder in folders:
        card = find_folder(folder.name) or find_folder(folder.resolve().name)
        twice = [other for known, other in found if known is card]
        if twice:
            raise DatasetError(f"{twice[0]} and {folder} are the same graph: move one of them out of {source}")
        if card is not None:
            found.append((card, folder))
        elif not folder.name.startswith("."):
            known = ", ".join(card.folder for card in available() if card.folder)
            raise DatasetError(
                f"{folder} is no known graph ({known}): move it out of {source}; a .npz of your own needs no import, "
                "give load_graph its path"
            )
    if not found:
        raise DatasetError(f"{source} holds no graph: expected folders such as Photo/raw or Cora/raw in it")
    return found


def _copy(card: Card, folder: Path, staged: Path) -> None:
    missing = missing_files(card, folder)
    if missing:
        raise DatasetError(f"{folder / missing[0]} is missing: {card.title} needs {', '.join(card.files)}")
    for name in card.files:
        with file_errors(f"copying {folder / name} into {staged.parents[1]}"):
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, staged / name)


@file_errors()
def verify(root: str | Path) -> list[Verification]:
    """Read every known graph in a dataset root and compare it with its card.

    Graphs that are not there are left out, and so are folders of no known graph. A graph of arrays that is not stored
    yet (:func:`open_graph`) is stored by it.

    Raises:
        DatasetError: If ``root`` is not a folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: give the dataset root, the folder that holds Photo, Cora, ...")
    present = [card for card in available() if card.folder and (root / card.folder).is_dir()]
    return [Verification(card, _problem(card, root / card.folder)) for card in present]


def _problem(card: Card, folder: Path) -> str:
    try:
        with file_errors(folder):
            if in_memory(card):
                read_folder(card, folder)
            elif not stored(folder):
                convert(card, folder)
            if stored(folder):
                verify_stored(card, folder)
    except DatasetError as error:
        return str(error)
    return ""
