"""What the model of a finished run says: of nodes, pairs of them or graphs, of its own graph or of another."""

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from msg.calls import integral
from msg.datasets import normalize_features
from msg.datasets.load import read_graph, read_graphs
from msg.datasets.selection import best_features, with_features
from msg.experiments import files
from msg.experiments.config import GRAPHS, LINKS
from msg.experiments.trained import Finished
from msg.training import GraphClassification, decoder_of, draw_split
from msg.training.tasks import score_pairs


@dataclass(frozen=True)
class Predictions:
    """What a model says, a row a node, a pair or a graph.

    Attributes:
        columns: arrays by name. Of nodes ``node [N]``, ``class [N]`` and ``probability [N, C]``, of graphs the same
            with ``graph`` in place of ``node``; of pairs ``source [M]``, ``target [M]`` and ``probability [M]``, that
            they are linked.
    """

    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    def csv(self) -> bytes:
        """As text, a line a row; probabilities of several classes are ``probability_0``, ``probability_1``, ..."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        flat = {name: column for given in self.columns.items() for name, column in _flat(*given)}
        writer.writerow(flat)
        writer.writerows(zip(*(map(str, column) for column in flat.values())))  # the shortest digits of a float32
        return text.getvalue().encode()

    def npz(self) -> bytes:
        """As a ``.npz`` of the columns."""
        content = io.BytesIO()
        np.savez_compressed(content, **self.columns)  # pyright: ignore[reportArgumentType]
        return content.getvalue()

    def save(self, path: str | Path) -> None:
        """Write a file, replacing it in one step.

        Args:
            path: ends in ``.csv`` or ``.npz``.

        Raises:
            ValueError: for another ending.
            OSError: if it cannot be written.
        """
        files.replace_file(Path(path), getattr(self, check_suffix(path))())


def check_suffix(path: str | Path) -> str:
    """``"csv"`` or ``"npz"``.

    Raises:
        ValueError: for another ending.
    """
    suffix = Path(path).suffix
    if suffix not in (".csv", ".npz"):
        raise ValueError(f"{path} must end in .csv or .npz")
    return suffix[1:]


def _flat(name: str, column: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if column.ndim == 1:
        yield name, column
    else:
        yield from ((f"{name}_{number}", one) for number, one in enumerate(column.T))


def predict(
    path: str | Path,
    dataset: str | Path | None = None,
    root: str | Path | None = None,
    pairs: np.ndarray | Tensor | None = None,
) -> Predictions:
    """What the best weights of a finished run say, on the CPU.

    On the run's own graph links are scored from the training edges, as they were when the run was measured: held-out
    edges pass no messages. On another graph all edges do.

    Args:
        path: folder of the run.
        dataset: a graph as :func:`msg.datasets.load_graph` takes it, or a set of them as
            :func:`~msg.datasets.load_graphs`, with as many features as the run's; ``None`` is the run's own.
        root: folder of raw graphs; ``None`` is the run's.
        pairs: of nodes, ``[M, 2]``, for a run of link prediction.

    Raises:
        FileNotFoundError: if the folder holds no finished run.
        ValueError: if a file in it is damaged, the graph has another number of features, or pairs are missing, out of
            range, or given to a run of classification.
        DatasetError: for missing or damaged files of the graph.
    """
    run = Finished.read(path)
    if (run.config.task == LINKS) != (pairs is not None):
        raise ValueError(
            f"the run in {run.path} scores pairs of nodes: say which, with --pairs FILE.csv"
            if pairs is None
            else f"the run in {run.path} classifies {'graphs' if run.config.task == GRAPHS else 'nodes'}, so pairs "
            "cannot be given with it"
        )
    ready = _ready(run, dataset, root)
    with torch.no_grad():
        output = ready.model(ready.x, ready.edge_index, **ready.graphs)
        if pairs is None:
            return _of_classes("graph" if ready.graphs else "node", output)
        return _of_pairs(output, _checked(pairs, output.size(0)), ready.decoder)


class _Ready(NamedTuple):
    """Model, features, edges, what scores pairs, and which nodes are of which graph."""

    model: nn.Module
    x: Tensor
    edge_index: Tensor
    decoder: Any
    graphs: dict[str, Any]


def _ready(run: Finished, dataset: str | Path | None, root: str | Path | None) -> _Ready:
    if dataset is None:
        if root is not None:
            run = replace(run, config=replace(run.config, root=str(root)))
        model, task = run.prepared()
        graphs: Any = {"batch": task.batch, "batch_size": len(task.y)} if isinstance(task, GraphClassification) else {}
        return _Ready(model, task.x, task.edge_index, getattr(task, "decoder", None), graphs)
    data, model = _read(run, dataset, root), run.network()
    edge_index: Tensor = data["edge_index"]
    decoder = decoder_of(model, edge_index) if run.config.task == LINKS else None
    graphs = {"batch": data["batch"], "batch_size": len(data["y"])} if run.config.task == GRAPHS else {}
    return _Ready(model, data["x"], edge_index, decoder, graphs)


def _read(run: Finished, dataset: str | Path, root: str | Path | None) -> Data:
    """Another graph, or set of graphs, with the features that the network reads."""
    config = run.config
    place = config.root if root is None else root
    if config.task == GRAPHS:
        data: Any = read_graphs(str(dataset), place)[0]
    else:
        data, _ = read_graph(dataset, place, config.features)
    columns, wanted = selected(run)
    if data["x"].size(1) != wanted:
        raise ValueError(
            f"{dataset} has {data['x'].size(1)} features, but the run in {run.path} was trained on {wanted}"
        )
    if columns is not None:
        data = with_features(data, columns)
    return normalize_features(data) if config.normalize_features else data


def selected(run: Finished) -> tuple[np.ndarray | None, int]:
    """Columns of the features that a run reads, found again on its own graph, ``None`` for all; and how many it has."""
    if run.config.top_features is None:
        return None, run.best["in_channels"]
    data = run.graph()
    return best_features(draw_split(data, run.seed), run.config.top_features), data["x"].size(1)


def _of_classes(what: str, logits: Tensor) -> Predictions:
    said = {what: np.arange(len(logits)), "class": logits.argmax(-1).numpy()}
    return Predictions({**said, "probability": logits.double().softmax(-1).float().numpy()})


def _of_pairs(output: Tensor, pairs: Tensor, decoder: Any) -> Predictions:
    logits = score_pairs(decoder, output, pairs.t())
    source, target = pairs.t().numpy()
    return Predictions({"source": source, "target": target, "probability": logits.double().sigmoid().float().numpy()})


def _checked(pairs: Any, num_nodes: int) -> Tensor:
    found = torch.as_tensor(pairs)
    if found.dim() != 2 or found.size(1) != 2 or not integral(found) or not len(found):
        raise ValueError(f"pairs must be integers of shape [M, 2], not {found.dtype} of shape {list(found.shape)}")
    found = found.long()
    if not 0 <= int(found.min()) <= int(found.max()) < num_nodes:
        raise ValueError(
            f"pairs refer to node {int(found.max())} (smallest: {int(found.min())}), but there are {num_nodes} nodes"
        )
    return found


def read_pairs(path: str | Path) -> np.ndarray:
    """Pairs of nodes from the first two columns of a ``.csv``, ``[M, 2]``; a first line of names is passed over, and
    so are empty lines.

    Raises:
        ValueError: for anything else, naming the line.
        OSError: if it cannot be read.
    """
    content = files.read_bytes(Path(path))
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as CSV: write two nodes a line, as in 3,14") from error
    named = bool(rows) and not any(_is_number(word) for word in rows[0])
    found = []
    for number, row in enumerate(rows[named:], 1 + named):
        if not any(word.strip() for word in row):
            continue
        words = [word.strip() for word in row[:2]]
        if len(words) < 2 or not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words):
            raise ValueError(f"{path}, line {number}, is no pair: write two nodes a line, as in 3,14")
        found.append([int(word) for word in words])
    if not found:
        raise ValueError(f"{path} has no pairs: write two nodes a line, as in 3,14")
    return np.array(found, dtype=np.int64)


def _is_number(word: str) -> bool:
    with suppress(ValueError):
        float(word)
        return True
    return False
