from pathlib import Path

import pytest
import torch
from torch_geometric.io import read_planetoid_data
from writers import write_planetoid

from msg.datasets import DatasetError
from msg.datasets.canonical import to_data
from msg.datasets.planetoid import read_planetoid


def test_same_planetoid_graph_as_pytorch_geometric(shared_data):
    folder = shared_data / "CiteSeer" / "raw"
    ours, theirs = to_data(read_planetoid(folder, "CiteSeer")), read_planetoid_data(str(folder), "CiteSeer")
    assert torch.equal(ours.x.to_dense(), theirs.x)
    assert torch.equal(ours.test_mask, theirs.test_mask)
    assert torch.equal(ours.edge_index.sort(dim=1).values, theirs.edge_index.sort(dim=1).values)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / write_planetoid(tmp_path).folder / "raw"


@pytest.mark.parametrize(
    ("part", "content", "problem"),
    [
        ("test.index", "540\n541\n", "does not number the 100 rows of tx from 540 on"),
        ("test.index", "".join(f"{node}\n" for node in range(541, 641)), "does not number the 100 rows"),
        ("test.index", "540\n" * 100, "does not number the 100 rows"),
        ("test.index", "\x1b[31m", "invalid literal"),
        ("graph", b"\x80\x03}q\x00K\x00]q\x01M\x81\x02as.", "edges to nodes outside"),
        ("allx", b"", "Ran out of input"),
        ("tx", b"\x80\x03K\x05.", "no attribute"),
    ],
)
def test_what_does_not_fit_is_named(folder, part, content, problem):
    path = folder / f"ind.tiny.{part}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=rf"Tiny/raw.*{problem}") as caught:
        read_planetoid(folder, "Tiny")
    assert str(caught.value).isprintable()


def test_missing_file_is_named(folder):
    (folder / "ind.tiny.tx").unlink()
    with pytest.raises(DatasetError, match=r"No such file.*ind\.tiny\.tx"):
        read_planetoid(folder, "Tiny")
