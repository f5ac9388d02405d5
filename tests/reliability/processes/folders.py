"""What is in the folder of an experiment, as far as it does not depend on how fast or how large a process was."""

import csv
import json
from pathlib import Path

import torch

GRAPH = ("--dataset", "karate", "--manifold", "H4", "--dropout", "0.3", "--checkpoint-every", "2")
COMMANDS = {
    "train": ("train", *GRAPH, "--timesteps", "3"),
    "compare": ("compare", *GRAPH, "--timesteps", "2", "--no-memory"),
    "energy": ("energy", *GRAPH, "--timesteps", "3", "--models", "gcn,msg", "--vary", "threshold=0.3,1.0"),
}
"""A small experiment of each command: all of what it does."""
LONGER = ("--epochs", "6", "--seeds", "0-1")
SHORTER = ("--epochs", "3", "--seeds", "0")
_MEASURED = {"seconds", "seconds_per_epoch", "memory_mb", "memory_ratio"}
_DIGESTS = {"sha256", "tensors"}
"""Of what holds measured seconds too."""
_SHOW_MEASURED = {"comparison.md", "comparison.png"}


def content(folder: Path) -> dict:
    """All files, by name, each as what can be compared by ``==``, but those that say which process has the folder."""
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", ".owner")
    }


def done(folder: Path) -> dict[str, bytes]:
    """What must not change any more: the results of the jobs that are done."""
    return {path.name: path.read_bytes() for path in sorted((folder / "jobs").glob("*.json"))}


def _content(path: Path):
    if path.name in _SHOW_MEASURED:
        return None
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.suffix == ".csv":
        with path.open() as file:
            return [_timeless(row) for row in csv.DictReader(file)]
    if path.suffix == ".pt":
        return _bits(_timeless(torch.load(path, weights_only=True)))
    return path.read_bytes()


def _timeless(value):
    if isinstance(value, dict):
        rows = {"history": [row[:-1] for row in value["history"]]} if "history" in value else {}
        return {key: _timeless(part) for key, part in {**value, **rows}.items() if key not in _MEASURED | _DIGESTS}
    return [_timeless(part) for part in value] if isinstance(value, list) else value


def _bits(value):
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: _bits(part) for key, part in value.items()}
    return [_bits(part) for part in value] if isinstance(value, list | tuple) else value
