import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from msg.cli import main
from msg.datasets import Card, DatasetError, RawGraph, available, get_card, load_graph, register, remove

RING = Card(key="ring", title="A ring", nodes=12, edges=12, features=12, classes=2, licence="MIT")


def ring() -> RawGraph:
    nodes = np.arange(12)
    return RawGraph(np.eye(12), np.stack([nodes, (nodes + 1) % 12]), nodes % 2)


@pytest.fixture
def registered() -> Iterator[None]:
    register(RING, ring)
    yield
    remove("ring")


def _run(*arguments):
    code = 0
    try:
        main(arguments)
    except SystemExit as end:
        code = end.code
    assert not code


def test_a_graph_from_outside_is_known_everywhere_until_it_is_removed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    listed = len(available())
    register(RING, ring)
    try:
        data = load_graph("Ring", split="random:50/25/25")
        assert (data.name, data.num_nodes, data.num_edges, data.num_classes) == ("ring", 12, 24, 2)
        assert get_card("ring") is available()[-1]
        _run("datasets", "list")
        assert "ring" in capsys.readouterr().out
        options = ["--dataset", "ring", "--epochs", "1", "--timesteps", "2", "--manifold", "H2", "--seeds", "0"]
        _run("train", *options, "--no-baseline")
        assert (tmp_path / "runs" / "ring-node-classification" / "results.json").is_file()
    finally:
        remove("ring")
    assert len(available()) == listed
    with pytest.raises(ValueError, match=r"unknown graph 'ring': choose one of digits, "):
        load_graph("ring")
    with pytest.raises(ValueError, match="no graph 'ring' was registered"):
        remove("ring")


def test_names_that_are_taken(registered):
    for key in ("ring", "Ring", "digits", "Photo", "chameleon_filtered"):
        with pytest.raises(ValueError, match="exists already"):
            register(dataclasses.replace(RING, key=key), ring)
    with pytest.raises(ValueError, match="no graph 'digits' was registered: ring"):
        remove("digits")
    assert load_graph("digits").num_nodes == 1797


@pytest.mark.parametrize("changes", [{"format": "npz"}, {"files": {"raw/x.npz": ""}}, {"key": "ring.npz"}])
def test_a_graph_in_files_needs_no_name(changes):
    with pytest.raises(ValueError, match=r"give load_graph the path of a \.npz instead"):
        register(dataclasses.replace(RING, **changes), ring)


@pytest.mark.parametrize("key", ["", " ring", "a,b", "a b", "a=b"])
def test_names_that_cannot_be_written(key):
    with pytest.raises(ValueError, match="cannot name"):
        register(dataclasses.replace(RING, key=key), ring)


def test_what_is_not_as_on_its_card_is_noticed():
    register(dataclasses.replace(RING, nodes=13), ring)
    try:
        with pytest.raises(DatasetError, match="ring has 12 nodes, A ring has 13; mend its card or its generator"):
            load_graph("ring")
    finally:
        remove("ring")


def test_a_malformed_graph_is_named():
    register(RING, lambda: dataclasses.replace(ring(), labels=[0.5] * 12))
    try:
        with pytest.raises(DatasetError, match="graph 'ring' has labels that are not class indices"):
            load_graph("ring")
    finally:
        remove("ring")


def test_a_generator_may_be_named_by_its_place():
    register(Card(key="karate-again", title="Karate"), "msg.datasets.generators:karate")
    try:
        assert load_graph("karate-again").content_hash == load_graph("karate").content_hash
    finally:
        remove("karate-again")


@pytest.mark.parametrize(
    "features",
    [
        np.eye(12).tolist(),
        torch.eye(12),
        torch.eye(12, dtype=torch.int32),
        torch.eye(12).to_sparse(),
        sp.coo_matrix(np.eye(12)),
        sp.csr_array(np.eye(12)),
    ],
    ids=["lists", "tensor", "integers", "sparse", "coo_matrix", "csr_array"],
)
def test_tensors_lists_and_sparse_matrices_are_taken(features):
    made, expected = ring(), load_raw(ring())
    other = RawGraph(features, made.edge_index.tolist(), torch.from_numpy(made.labels).to(torch.uint8))
    assert load_raw(other).content_hash == expected.content_hash


def load_raw(raw: RawGraph):
    register(RING, lambda: raw)
    try:
        return load_graph("ring", split="random:50/25/25")
    finally:
        remove("ring")


def test_what_a_generator_keeps_is_left_as_it_is():
    """Its matrix has zeros that are stored, which the graph's has not."""
    kept = sp.csr_matrix((np.array([1.0, 0.0] * 6), (np.arange(12), np.arange(12))), (12, 12))
    before = kept.copy()
    register(RING, lambda: dataclasses.replace(ring(), features=kept))
    try:
        first = load_graph("ring", features="sparse")
        assert first.content_hash == load_graph("ring", features="sparse").content_hash
    finally:
        remove("ring")
    for part in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(kept, part), getattr(before, part))


def test_what_is_done_to_a_graph_is_not_done_to_its_generator():
    kept = dataclasses.replace(ring(), features=np.eye(12, dtype=np.float32))
    register(RING, lambda: kept)
    try:
        load_graph("ring").x.mul_(5)
        assert load_graph("ring").x.max() == 1
    finally:
        remove("ring")
