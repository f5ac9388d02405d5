"""A thousand flipped bits in files of every layout: refused, or the same graph; never another one, or a crash."""

import collections
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from writers import WRITERS, write_npz

pytestmark = pytest.mark.reliability

FLIPS, BATCHES = 1000, 2

# In a process of its own, so that a crash is seen; it says what became of each flip before it tries the next.
LOAD = """
import json, sys
from pathlib import Path
import torch
from msg.datasets import Card, DatasetError, cards, load_graph

job = json.load(sys.stdin)
cards._cards = lambda: (Card(**job["card"]),)
PARTS = ("x", "edge_index", "y", "train_mask", "val_mask", "test_mask")

def load():
    data = load_graph(job["name"], job["root"], split=job["split"])
    return [data[part].to_dense() if data[part].layout != torch.strided else data[part] for part in PARTS]

sound = load()
for name, position, bit in job["flips"]:
    path = Path(name)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[position] ^= 1 << bit
    path.write_bytes(flipped)
    try:
        found = load()
        same = all(one.dtype == other.dtype and torch.equal(one, other) for one, other in zip(sound, found))
        print("same" if same else "different", flush=True)
    except DatasetError as error:
        print("refused" if str(error).isprintable() else "refused with an escape", flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    path.write_bytes(content)
"""


def flips(files: list[Path], count: int) -> list[tuple[str, int, int]]:
    """Bits spread over the files, each file as often as any other, half of them in its first and last 512 bytes."""
    draw = random.Random(0)
    found = []
    for number in range(count):
        path = files[number % len(files)]
        size = path.stat().st_size
        edges = [*range(min(512, size)), *range(max(0, size - 512), size)]
        position = draw.choice(edges) if number // len(files) % 2 else draw.randrange(size)
        found.append((str(path), position, draw.randrange(8)))
    return found


def outcomes(card, root: Path, name: str, split: str | None, files: list[Path]) -> collections.Counter:
    """Load the graph after each flip; return how often what happened."""
    every, found = flips(files, FLIPS), collections.Counter()
    for batch in range(BATCHES):
        job = {"card": vars(card), "name": name, "root": str(root), "split": split, "flips": every[batch::BATCHES]}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", LOAD],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[3],
        )
        said = done.stdout.splitlines()
        assert done.returncode == 0, f"crashed at {every[batch::BATCHES][len(said)]}: {done.stderr[-2000:]}"
        found.update(said)
    return found


def check(found: collections.Counter, at_least: int) -> None:
    print(dict(found))
    assert set(found) <= {"refused", "same"}, found
    assert found.total() == FLIPS
    assert found["refused"] >= at_least  # the flips do reach what is read


@pytest.mark.parametrize("layout", list(WRITERS))
def test_flips_in_a_dataset_root(layout, tmp_path):
    card = WRITERS[layout](tmp_path)
    files = [tmp_path / card.folder / name for name in card.files if not name.startswith("RELEASE")]
    split = "random:60/20/20" if layout == "gnn-benchmark" else "fixed:0" if layout == "npz" else "public"
    found = outcomes(card, tmp_path, "tiny", split, files)
    check(found, FLIPS if layout == "planetoid" else FLIPS // 2)


@pytest.mark.parametrize("packed", [False, True])
def test_flips_in_a_file_of_ones_own(packed, tmp_path):
    card = write_npz(tmp_path, packed)
    (path,) = tmp_path.rglob("*.npz")
    check(outcomes(card, tmp_path, str(path), None, [path]), FLIPS // 2)
