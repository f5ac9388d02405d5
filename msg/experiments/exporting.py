"""The model of a finished run as a program that runs without this library."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional as F

from msg.experiments import files
from msg.experiments.config import GRAPHS, LINKS
from msg.experiments.predictions import selected
from msg.experiments.trained import Finished
from msg.layers import GraphDecoder
from msg.report.text import first_line
from msg.training import decoder_of

Format = Literal["pt2", "onnx"]
FORMATS: tuple[Format, ...] = ("pt2", "onnx")

_FEWEST = 3
"""Nodes, edges and pairs: torch takes sizes 0 and 1 for constants, and 2 for that of ``edge_index``."""


class Deployed(nn.Module):
    """A trained network with what is done to features before it, and to its points after it.

    Args:
        model: in evaluation mode.
        columns: of the features that it reads; ``None`` for all.
        normalize: whether each node's features are divided by the sum of their absolute values.
        links: whether it scores pairs.

    Shapes:
        ``x``: ``[N, F]``; ``edge_index``: ``[2, E]``; ``pairs``: ``[2, M]``, of links alone; returns logits ``[N, C]``
        or ``[M]``.

    Raises:
        ValueError: for a decoder that counts in the graph, which no program of torch does.
    """

    def __init__(self, model: nn.Module, columns: np.ndarray | None, normalize: bool, links: bool):
        super().__init__()
        decoder = getattr(model, "link_decoder", None)
        if links and isinstance(decoder, GraphDecoder):
            raise ValueError(
                f"a run with {type(decoder).__name__} cannot be exported: it counts neighbours in the graph, which no "
                "operator of torch does; use msg predict, or train with decoder='plain'"
            )
        self.model, self.normalize, self.links = model, normalize, links
        self.register_buffer("columns", None if columns is None else torch.from_numpy(columns))

    def forward(self, x: Tensor, edge_index: Tensor, pairs: Tensor | None = None) -> Tensor:
        if isinstance(self.columns, Tensor):
            x = x.index_select(1, self.columns)
        if self.normalize:
            x = F.normalize(x, p=1.0, dim=-1)
        out = self.model(x, edge_index)
        return out if pairs is None else decoder_of(self.model, edge_index)(out, pairs)


def export(path: str | Path, out: str | Path, format: Format | None = None) -> None:
    """Write the best weights of a finished run as a program for graphs of any size, checked on another graph.

    It reads features ``x [N, F]`` as the graph has them (of a run with ``top_features`` or ``normalize_features`` it
    selects and scales them itself) and ``edge_index [2, E]``, and of a run of link prediction ``pairs [2, M]``; it
    returns logits ``[N, C]`` or ``[M]``. ``N``, ``E`` and ``M`` are free, from 3 up.

    Args:
        path: folder of the run.
        out: the file.
        format: ``"pt2"``, read by ``torch.export.load``, made of torch's own operators alone; ``"onnx"``, checked with
            onnxruntime, in which float64 geometry is spelt out in operators that onnxruntime has; by default
            ``"onnx"`` for a file whose name ends in ``.onnx``, ``"pt2"`` for others.

    Raises:
        FileNotFoundError: if the folder holds no finished run.
        ValueError: if a file in it is damaged, or the model cannot be written so, naming why.
        ImportError: where ONNX's packages are not installed.
        OSError: if ``out`` cannot be written.
    """
    format = format or ("onnx" if Path(out).suffix == ".onnx" else "pt2")
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: use 'pt2' or 'onnx'")
    if format == "onnx":
        from msg.experiments.onnx_operators import to_onnx

        write: Callable[[ExportedProgram], tuple[bytes, Any]] = to_onnx
    else:
        write = _to_pt2
    run = Finished.read(path)
    if run.config.task == GRAPHS:
        raise ValueError(
            f"the run in {run.path} classifies graphs, whose number would be fixed in a program: use msg predict, or "
            "msg.load_run"
        )
    columns, features = selected(run)
    model, config = run.network(), run.config
    deployed = Deployed(model, columns, config.normalize_features, config.task == LINKS).eval()
    with _silent(), torch.no_grad():
        try:
            program = traced_program(deployed, features)
        except Exception as error:  # a tracer meets every kind
            raise ValueError(f"{config.model!r} cannot be exported: torch.export says {first_line(error)}") from error
        content, ask = write(program)
        _check(deployed, ask, features)
    files.replace_file(Path(out), content)


def traced_program(model: Deployed, features: int) -> ExportedProgram:
    """The model as torch's exporter sees it, for any numbers of nodes, edges and pairs."""
    nodes, edges, pairs = (Dim(name, min=_FEWEST) for name in ("nodes", "edges", "pairs"))
    sizes = {"x": {0: nodes}, "edge_index": {1: edges}}
    given = _example(model, features, 7)
    if model.links:
        sizes["pairs"] = {1: pairs}
    return torch.export.export(model, given, dynamic_shapes=sizes)


def _example(model: Deployed, features: int, nodes: int) -> tuple[Tensor, ...]:
    """A drawn graph: a ring and as many edges again, both ways."""
    draw = torch.Generator().manual_seed(nodes)
    ring = torch.arange(nodes)
    other = torch.randint(2, nodes - 1, (nodes,), generator=draw)
    edges = torch.cat([torch.stack([ring, (ring + step) % nodes]) for step in (1, other)], dim=1)
    edge_index = torch.cat([edges, edges.flip(0)], dim=1).unique(dim=1)
    x = torch.rand(nodes, features, generator=draw)
    return (x, edge_index, edges[:, ::2].contiguous()) if model.links else (x, edge_index)


def _check(model: Deployed, ask: Callable[..., Tensor], features: int) -> None:
    """Compare a program with the model on another graph than it was traced with.

    Raises:
        ValueError: where they differ by more than a spike that rounding may move.
    """
    given = _example(model, features, 31)
    want, got = model(*given), ask(*given)
    off = (got - want).abs() > 1e-4 * (1 + want.abs())
    rows = off.flatten(1).any(1) if off.dim() > 1 else off
    if got.shape != want.shape or float(rows.double().mean()) > 0.1 or not bool(got.isfinite().all()):
        raise ValueError("the program does not say what the model says: nothing is written")


def _to_pt2(program: ExportedProgram) -> tuple[bytes, Callable[..., Tensor]]:
    content = io.BytesIO()
    torch.export.save(program, content)
    content.seek(0)
    return content.getvalue(), torch.export.load(content).module()


@contextmanager
def _silent() -> Iterator[None]:
    """Without what torch's exporters log, print and warn of themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
