"""One door to all graphs."""

from collections.abc import Callable
from pathlib import Path

from torch_geometric.data import Data

from msg.datasets.cards import get_card
from msg.datasets.formats import RawGraph, read_npz, to_data
from msg.datasets.generators import digits, disease, karate
from msg.datasets.splits import apply_split
from msg.datasets.store import check_content, obtain

DEFAULT_ROOT = Path("datasets")
"""The dataset root taken when none is given, relative to the working directory."""

_GENERATORS: dict[str, Callable[[], RawGraph]] = {"digits": digits, "karate": karate, "disease": disease}


def load_graph(
    name: str | Path,
    root: str | Path | None = None,
    split: str | None = None,
    seed: int = 0,
    features: str = "auto",
) -> Data:
    """Load a graph for node classification.

    Args:
        name: A key such as ``"photo"`` (:func:`~msg.datasets.available` lists them), or the path of a ``.npz`` file,
            see :func:`~msg.datasets.formats.read_npz`.
        root: The folder of the raw files; missing ones are downloaded into it. ``datasets`` if ``None``.
        split: A split, see :func:`~msg.datasets.apply_split`. If ``None``, the card's; for a file of your own
            ``fixed:0`` where it holds masks, ``random:60/20/20`` where not.
        seed: The seed of a random split.
        features: ``"dense"``, ``"sparse"`` (CSR) or ``"auto"``: sparse if fewer than 10 % of the entries are non-zero.

    Shapes:
        ``x [N, F]`` float32; ``edge_index [2, E]`` int64 with both directions of each edge, sorted, without duplicates
        and self-loops; ``y [N]`` int64; ``train_mask``, ``val_mask``, ``test_mask [N]`` bool. Besides: ``name``,
        ``num_classes``, ``metric`` (``"accuracy"`` or ``"roc_auc"``), ``split`` and ``content_hash``
        (:func:`~msg.datasets.content_hash`).

    Raises:
        ValueError: If the name, the split or ``features`` is unknown, or the split leaves a part without nodes.
        DatasetError: If files are damaged, or missing and cannot be downloaded. The message says what to do.
        ImportError: If an OGB graph is asked for without the ``ogb`` package.
    """
    if features not in ("auto", "dense", "sparse"):  # before a long download
        raise ValueError(f"features must be 'auto', 'dense' or 'sparse', not {features!r}")
    if isinstance(name, Path) or name.endswith(".npz"):
        return _load_own(Path(name).expanduser(), split, seed, features)
    card = get_card(name)
    if card.format == "generated":
        data = to_data(_GENERATORS[card.key](), features)
        check_content(card, data, card.key)
    else:
        data = obtain(card, Path(DEFAULT_ROOT if root is None else root).expanduser(), features)
    data.name, data.metric = card.key, card.metric
    return apply_split(data, split or card.split, seed)


def _load_own(path: Path, split: str | None, seed: int, features: str) -> Data:
    data = to_data(read_npz(path), features)
    data.name, data.metric = path.stem, "accuracy"
    default = "fixed:0" if "train_mask" in data else "random:60/20/20"
    return apply_split(data, split or default, seed)
