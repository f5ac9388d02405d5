"""Dynamic graphs in the folders of SpikeNet's data sets, written by hand, sound and damaged."""

import json
import pickle

import numpy as np
import pytest
import torch

from msg.datasets import DatasetError, load_snapshots
from msg.nn import DynamicSpikeNet

EDGES = "3 1 2.0\n0 2 10\n1 3 10\n2 2 2.0\n0 1 1e-1\n"
LABELS = "2 zebra\n0 ape\n3 zebra\n"


@pytest.fixture
def folder(tmp_path):
    """Four nodes, of which node 1 has no label, and three times."""
    place = tmp_path / "zoo"
    place.mkdir()
    (place / "zoo.txt").write_text(EDGES)
    (place / "node2label.txt").write_text(LABELS)
    np.save(place / "zoo.npy", np.arange(24, dtype=np.float64).reshape(3, 4, 2) ** 2)
    return place


def _pairs(snapshot):
    """Edges by the numbers of the file."""
    return {tuple(pair) for pair in snapshot.n_id[snapshot.edge_index].t().tolist()}


def test_new_edges_of_each_time_in_the_order_of_numbers(folder):
    snapshots = load_snapshots(folder)
    assert len(snapshots) == 3
    assert [_pairs(s) for s in snapshots] == [
        {(0, 1), (1, 0)},
        {(3, 1), (1, 3), (2, 2)},
        {(0, 2), (2, 0), (1, 3), (3, 1)},
    ]
    for snapshot in snapshots:
        assert snapshot.n_id.tolist() == [2, 0, 3, 1]  # as the rows of the features: labelled ones first
        assert snapshot.y.tolist() == [1, 0, 1, -1]
        assert snapshot.num_nodes == 4


@pytest.mark.parametrize(
    ("labels", "classes"),
    [("10 2 10", [1, 0, 1]), ("10 -2 10", [1, 0, 1]), ("10 2 x", [0, 1, 2]), ("10 02 10", [1, 0, 1])],
)
def test_classes_are_in_the_order_of_numbers_where_they_are_such(folder, labels, classes):
    lines = [f"{node} {label}" for node, label in zip((2, 0, 3), labels.split())]
    (folder / "node2label.txt").write_text("\n".join(lines))
    assert load_snapshots(folder)[0].y.tolist() == [*classes, -1]


def test_features_of_each_step_are_standardised(folder):
    raw = np.load(folder / "zoo.npy")
    for step, (plain, scaled) in enumerate(zip(load_snapshots(folder, normalize=False), load_snapshots(folder))):
        assert plain.x.dtype == scaled.x.dtype == torch.float32
        np.testing.assert_allclose(plain.x, raw[step])
        np.testing.assert_allclose(scaled.x, (raw[step] - raw[step].mean()) / raw[step].std(), rtol=1e-5, atol=1e-6)
    np.save(folder / "zoo.npy", raw[0])
    assert all(torch.equal(s.x, torch.from_numpy(raw[0]).float()) for s in load_snapshots(folder, normalize=False))
    np.save(folder / "zoo.npy", np.ones((4, 2), dtype=np.float32))
    assert not load_snapshots(folder)[0].x.any()
    (folder / "zoo.npy").unlink()
    assert load_snapshots(folder)[0].x is None


def test_times_in_a_row_are_merged(folder):
    np.save(folder / "zoo.npy", np.ones((2, 4, 2)))
    first, second = load_snapshots(folder, merge=2)
    assert _pairs(first) == {(0, 1), (1, 0), (3, 1), (1, 3), (2, 2)}
    assert _pairs(second) == {(0, 2), (2, 0), (1, 3), (3, 1)}
    with pytest.raises(ValueError, match="merge must be"):
        load_snapshots(folder, merge=0)


def test_patents_are_lists_with_dates(tmp_path):
    edges = [[0, 1, 19760213, 901, 902], [2, 0, 19750101, 903, 901], [1, 2, 19761231, 902, 903]]
    nodes = [[0, 901, 19750101, 3], [1, 902, 19760101, 1], [2, 903, 19750101, 3]]
    for name, rows in (("edges", edges), ("nodes", nodes)):
        (tmp_path / f"patent_{name}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    snapshots = load_snapshots(tmp_path, name="patent")
    assert [_pairs(s) for s in snapshots] == [{(2, 0), (0, 2)}, {(0, 1), (1, 0), (1, 2), (2, 1)}]
    assert snapshots[0].y.tolist() == [1, 0, 1]
    assert snapshots[0].n_id.tolist() == [0, 1, 2]
    for line in ("[0, 1]", "[0, 1, 'x']", "__import__('os').system('true')", "[" * 3000, '[0, 1, "a", 0]'):
        (tmp_path / "patent_edges.json").write_text("[0, 1, 19760213, 0, 0]\n" + line)
        with pytest.raises(DatasetError, match=r"patent_edges.json cannot be read .*yyyymmdd"):
            load_snapshots(tmp_path, name="patent")
    (tmp_path / "patent_edges.json").write_text("[0, 1, 19760213]")
    (tmp_path / "patent_nodes.json").write_text("[1, 0, 0, 1]")
    with pytest.raises(DatasetError, match="in this order"):
        load_snapshots(tmp_path, name="patent")


class _Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("zoo.txt", None, "no file zoo.txt"),
        ("node2label.txt", None, "no file node2label.txt"),
        ("zoo.txt", "", r"zoo.txt cannot be read .*source target time"),
        ("zoo.txt", "0 1\n", "2 columns"),
        ("zoo.txt", "0 1 2\n0 1 2 3\n", "cannot be read"),
        ("zoo.txt", "0 1 2\n0 1\n", "cannot be read"),
        ("zoo.txt", "0 one 2\n", "cannot be read"),
        ("zoo.txt", "0 1.5 2\n", "cannot be read"),
        ("zoo.txt", "0 1 nan\n", "cannot be read"),
        ("zoo.txt", "0 1 inf\n", "not finite"),
        ("zoo.txt", "0 -1 2\n", "negative"),
        ("zoo.txt", "0 1000000000000 2\n", "a node 1000000000000, but only 4"),
        ("zoo.txt", "0 99999999999999999999 2\n", "cannot be read"),
        ("zoo.txt", b"\xff\xfe0 1 2\n", "cannot be read"),
        ("node2label.txt", "0 a\n0 b\n", "two labels"),
        ("node2label.txt", "0 a b\n", "3 columns"),
        ("node2label.txt", "2 a\n1\n3 b\n", "a line that ends too early"),
        ("zoo.npy", b"no array", "no array of numbers"),
        ("zoo.npy", pickle.dumps(_Bomb()), "no array of numbers"),
        ("zoo.npy", np.array([_Bomb()], dtype=object), "no array of numbers"),
        ("zoo.npy", np.ones(4), r"shape \[4\]"),
        ("zoo.npy", np.ones((3, 4, 2), dtype=complex), "complex"),
        ("zoo.npy", np.ones((3, 5, 2)), "features of 5 nodes, but the graph has 4"),
        ("zoo.npy", np.ones((2, 4, 2)), "features of 2 steps, edges have 3: merge joins"),
        ("zoo.npy", np.full((3, 4, 2), np.nan), "not finite"),
    ],
)
def test_damaged_files_are_told(folder, file, content, message):
    place = folder / file
    place.unlink()
    if isinstance(content, bytes):
        place.write_bytes(content)
    elif isinstance(content, str):
        place.write_text(content)
    elif content is not None:
        np.save(place, content, allow_pickle=True)
    with pytest.raises(DatasetError, match=message):
        load_snapshots(folder)


def test_what_is_no_file_is_not_opened(folder):
    (folder / "zoo.npy").unlink()
    (folder / "zoo.npy").mkdir()
    with pytest.raises(DatasetError, match="not a file"):
        load_snapshots(folder)


def test_the_network_learns_from_a_folder(folder):
    snapshots = load_snapshots(folder)
    x, edges, y = [s.x for s in snapshots], [s.edge_index for s in snapshots], snapshots[0].y
    torch.manual_seed(0)
    model = DynamicSpikeNet(2, 2, timesteps=3, hidden_channels=16, seed=0)
    optimizer, labelled = torch.optim.Adam(model.parameters(), lr=0.02), (y >= 0).nonzero().flatten()
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x, edges, labelled), y[labelled])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_a_quote_in_a_label_is_a_letter(folder):
    (folder / "node2label.txt").write_text('2 "zebra\n0 ape\n3 "zebra\n')
    assert load_snapshots(folder)[0].y.tolist() == [0, 1, 0, -1]
