"""Trainings whose results are kept in a file, one a line, so that what is done is not done again."""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import nn

from msg.experiments.build import build_budget, load_data, prepare
from msg.experiments.config import RunConfig
from msg.process import end_with_parent
from msg.training import Task, Training

Wanted = tuple[str, dict[str, Any], int]
"""A graph, options of `msg train`, and a seed."""


def trained(config: RunConfig, seed: int) -> tuple[nn.Module, Task, Training]:
    """Model, task and training of a seed, on one thread to its end.

    Raises:
        FloatingPointError: if it diverges.
    """
    torch.set_num_threads(1)
    model, task = prepare(config, load_data(config), seed)
    training = Training(model, task, build_budget(config))
    while not training.finished:
        training.step()
    return model, task, training


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """Of a benchmark whose results are kept: where graphs and results are, and how many processes work."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    return parser


class Kept:
    """Results by graph, options and seed.

    Args:
        path: of the file.
        train: ``(graph, options, seed, root, measured)`` to figures by name; a function of a module.
        root: folder of the raw graphs.
        workers: processes.
    """

    def __init__(self, path: Path, train: Callable[..., dict[str, Any]], root: str, workers: int):
        self.path, self.train, self.root, self.workers = path, train, root, workers
        lines = path.read_text().splitlines() if path.exists() else []
        self.found = {_key(*one["of"]): one for one in map(json.loads, lines)}

    def make(self, wanted: Sequence[Wanted], measured: bool = False) -> None:
        """Train what is missing, and keep each result at once.

        Args:
            wanted: what there has to be afterwards.
            measured: whether the test part is read.

        Raises:
            Exception: the first error of a training, after all others have been kept.
        """
        missing = list({_key(*one): one for one in wanted if _key(*one) not in self.found}.values())
        with (
            ProcessPoolExecutor(self.workers, get_context("spawn"), end_with_parent) as pool,
            self.path.open("a") as file,
        ):
            waiting = {pool.submit(self.train, *one, self.root, measured): one for one in missing}
            failed = None
            for done in as_completed(waiting):
                if error := done.exception():
                    failed = failed or error
                    continue
                one = waiting[done]
                self.found[_key(*one)] = kept = {"of": one, **done.result()}
                print(json.dumps(kept), file=file, flush=True)
        if failed is not None:
            raise failed

    def values(self, graph: str, options: dict[str, Any], seeds: Sequence[int], name: str) -> list[float]:
        """A figure of each seed."""
        return [self.found[_key(graph, options, seed)][name] for seed in seeds]

    def mean(self, graph: str, options: dict[str, Any], seeds: Sequence[int], name: str) -> float:
        """The mean of a figure over seeds."""
        return statistics.fmean(self.values(graph, options, seeds, name))


def _key(graph: str, options: dict[str, Any], seed: int) -> str:
    return json.dumps([graph, options, seed], sort_keys=True)
