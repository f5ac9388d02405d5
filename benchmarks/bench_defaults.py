"""Defaults that carry over: settings of `msg train` searched on some graphs and tried on one that was left out.

    python benchmarks/bench_defaults.py --root DIR --out FILE.jsonl [--workers 2] [--settings 16] [--graphs cora,photo]

Each setting (today's defaults, one written by hand, and others drawn from ``CHOICES``) is trained on every graph with
the seeds 0 and 1, and so is the GCN that one would write: two convolutions as wide, normalised features, dropout 0.5,
weight decay 5e-4. A setting's score on a graph is its mean best validation metric less the GCN's. For each graph the
setting with the best mean score on *all others* is chosen; it and the GCN are then trained there with the seeds 100 to
104 and measured on the test part, once. What is done is kept in FILE, and not done again. Text goes to the terminal.
"""

import argparse
import random
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from kept import Kept

from msg.experiments.build import build_budget, load_data, prepare
from msg.experiments.config import RunConfig
from msg.report.tables import render
from msg.training import Training

GRAPHS = {
    "cora": "public",
    "citeseer": "public",
    "pubmed": "public",
    "photo": "random:10/10/80",
    "computers": "random:10/10/80",
    "cs": "random:10/10/80",
    "chameleon-filtered": "fixed:0",
    "squirrel-filtered": "fixed:0",
    "airport": "random:70/15/15",
    "minesweeper": "fixed:0",
}
GCN = {
    "model": "cached-gcn",  # computes the same as PyG's, and faster
    "hidden": 32,
    "layers": 2,
    "dropout": 0.5,
    "weight_decay": 5e-4,
    "lr": 0.01,
    "normalize_features": True,
}
BEFORE = {"threshold": 1.0, "layers": 3, "timesteps": 15, "dropout": 0.0, "weight_decay": 0.0, "lr": 0.01}
"""Defaults until this search was made."""
BY_HAND = {"threshold": "auto", "layers": 2, "timesteps": 5, "dropout": 0.5, "weight_decay": 5e-4, "lr": 0.01}
CHOICES = {
    "manifold": ("H32", "H64"),
    "threshold": ("auto",),
    "layers": (2, 3),
    "timesteps": (5, 8),
    "conv": ("gcn", "sage"),
    "gradient": ("dvm", "rate"),
    "norm": ("none", "layer"),
    "dropout": (0.3, 0.5),
    "input_dropout": (0.0, 0.3),
    "normalize_features": (False, True),
    "weight_decay": (0.0, 5e-4),
    "lr": (0.003, 0.01),
}
SEARCH, REPORT = (0, 1), (100, 101, 102, 103, 104)


def settings_of(number: int) -> list[dict[str, Any]]:
    """Settings to try, of which the first two are not drawn."""
    draw = random.Random(0)
    found = [BEFORE, BY_HAND]
    while len(found) < number:
        found.append({name: draw.choice(values) for name, values in CHOICES.items()})
    return found[:number]


def train(graph: str, options: dict[str, Any], seed: int, root: str, measured: bool) -> dict[str, Any]:
    """One training: best validation metric, and the test metric beside it if it is asked for, in percent."""
    torch.set_num_threads(1)
    own = {"root": root, "split": GRAPHS[graph], "baseline": "none", "epochs": 200, "patience": 100}
    config = RunConfig(dataset=graph).with_options(**own, seeds=(seed,), **options)
    training = Training(*prepare(config, load_data(config), seed), build_budget(config))
    try:
        while not training.finished:
            training.step()
    except FloatingPointError as error:
        return {"val": 0.0, "test": 0.0, "failed": str(error)}
    val = max(epoch.val for epoch in training.history)
    return {"val": 100 * val, "test": 100 * training.conclude().test.metric if measured else None}


def shown(kept: Kept, settings: list[dict[str, Any]], graphs: list[str]) -> Iterator[str]:
    """Scores, choices, and what came of them on the graphs left out."""
    scores = {
        (number, graph): kept.mean(graph, options, SEARCH, "val") - kept.mean(graph, GCN, SEARCH, "val")
        for number, options in enumerate(settings)
        for graph in graphs
    }

    def mean(number: int, left: str | None) -> float:
        return statistics.fmean(scores[number, graph] for graph in graphs if graph != left)

    order = sorted(range(len(settings)), key=lambda number: -mean(number, None))
    rows = [
        {"setting": str(number), "mean": f"{mean(number, None):.2f}"}
        | {graph: f"{scores[number, graph]:.2f}" for graph in graphs}
        for number in order
    ]
    yield "Validation metric less the GCN's, points\n\n" + render(rows, "text")
    yield "\n".join(f"{number}: {settings[number]}" for number in order)
    chosen = {graph: max(range(len(settings)), key=lambda number: mean(number, graph)) for graph in graphs}
    tried = [(g, options, seed) for g in graphs for options in (settings[chosen[g]], BEFORE, GCN) for seed in REPORT]
    kept.make(tried, measured=True)

    def test(graph: str, options: dict[str, Any]) -> str:
        values = kept.values(graph, options, REPORT, "test")
        return f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"

    differences = {
        graph: kept.mean(graph, settings[chosen[graph]], REPORT, "test") - kept.mean(graph, GCN, REPORT, "test")
        for graph in graphs
    }
    rows = [
        {
            "left out": graph,
            "setting": str(chosen[graph]),
            "MSG, chosen on the others": test(graph, settings[chosen[graph]]),
            "MSG, before": test(graph, BEFORE),
            "GCN": test(graph, GCN),
            "difference": f"{differences[graph]:+.2f}",
        }
        for graph in graphs
    ]
    yield "Test metric on the graph left out, %\n\n" + render(rows, "markdown")
    yield f"mean difference to the GCN: {statistics.fmean(differences.values()):+.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--settings", type=int, default=16)
    parser.add_argument("--graphs", default=",".join(GRAPHS))
    args = parser.parse_args()
    kept, settings, graphs = (
        Kept(args.out, train, args.root, args.workers),
        settings_of(args.settings),
        args.graphs.split(","),
    )
    kept.make([(graph, options, seed) for options in (GCN, *settings) for graph in graphs for seed in SEARCH])
    for part in shown(kept, settings, graphs):
        print(part, end="\n\n", flush=True)


if __name__ == "__main__":
    main()
