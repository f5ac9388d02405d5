import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from msg.datasets import Card, cards, store

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The raw benchmark graphs, where the checkout has them beside it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the raw benchmark graphs are not beside this checkout (../shared/data)")
    return SHARED_DATA


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every connection and every question fail."""

    def refuse(*args, **kwargs):
        raise AssertionError("a connection or a question")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("builtins.input", refuse)


def tiny_arrays() -> dict[str, np.ndarray]:
    """A graph of 6 nodes in gnn-benchmark keys: duplicates, one direction only, a self-loop, and counts as features."""
    rows, cols = [0, 1, 1, 2, 3, 4, 5], [1, 0, 2, 3, 4, 5, 5]
    adjacency = sp.csr_matrix((np.ones(7, np.float32), (rows, cols)), shape=(6, 6))
    features = sp.csr_matrix(np.array([[0, 2], [1, 0], [0, 0], [3, 1], [0, 1], [1, 1]], np.float32))
    arrays = {"labels": np.array([0, 1, 0, 1, 0, 1])}
    for prefix, matrix in (("adj", adjacency), ("attr", features)):
        for part in ("data", "indices", "indptr", "shape"):
            arrays[f"{prefix}_{part}"] = np.asarray(getattr(matrix, part))
    return arrays


@pytest.fixture
def save_npz(tmp_path: Path) -> Callable[..., Path]:
    """Write the tiny graph with some arrays replaced, added or, if ``None``, left out."""

    def save(name: str = "tiny.npz", **changes) -> Path:
        arrays = {key: value for key, value in (tiny_arrays() | changes).items() if value is not None}
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)
        return path

    return save


TINY = Card(
    key="tiny",
    title="Tiny",
    folder="Tiny",
    source="this test",
    licence="MIT",
    format="npz",
    split="random:50/25/25",
    metric="accuracy",
    nodes=6,
    edges=5,
    features=2,
    classes=2,
    download="Amazon",
    files={"raw/tiny.npz": ""},
)


@pytest.fixture
def use_cards(monkeypatch) -> Callable[..., None]:
    """Replace the manifest by the given cards."""
    return lambda *known: monkeypatch.setattr(cards, "_cards", lambda: known)


@pytest.fixture
def source(save_npz, tmp_path, use_cards) -> Path:
    """A folder with the graph Tiny, the only one the manifest then knows."""
    path = save_npz("source/Tiny/raw/tiny.npz")
    digest = store._sha256(path)
    known = store.read_folder(TINY, path.parents[1]).content_hash
    use_cards(dataclasses.replace(TINY, files={"raw/tiny.npz": digest}, content_hash=known))
    return tmp_path / "source"
