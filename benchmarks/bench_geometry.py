"""Where geometry could pay: links and distances of hierarchical graphs, curved against flat space of the same width.

    python benchmarks/bench_geometry.py --root DIR --out FILE.jsonl [--workers 2] [--width 8] [--graphs airport,tree]

MSG on flat, hyperbolic, spherical and mixed space and a GCN predict links (85/5/10 % of the edges, leak-free), all as
wide, with two convolutions. Each gets nine settings on each graph (learning rate, and step size or, for the GCN, weight
decay), trained with the seeds 0 and 1 and chosen by validation ROC-AUC; the best is trained with the seeds 100 to 104.
Beside AUC and MRR of the test part stands the distortion of the points: how far their distances are from the lengths of
shortest paths in the training graph, relative, after one scale for all. What is done is kept in FILE.
"""

import argparse
import itertools
import math
from pathlib import Path
from typing import Any

from kept import Kept, trained

from msg.experiments.config import RunConfig
from msg.report.tables import mean_std, render
from msg.training import distortion, observe

GRAPHS = ("airport", "disease", "tree", "noise-tree")
MODELS = ("gcn", "E", "H", "S", "HxS")
SEARCH, REPORT = (0, 1), (100, 101, 102, 103, 104)


def settings_of(model: str, width: int) -> list[dict[str, Any]]:
    """Nine settings."""
    rates = (0.003, 0.01, 0.03)
    if model == "gcn":
        own = {"model": "cached-gcn", "hidden": width, "layers": 2}
        return [{**own, "lr": lr, "weight_decay": decay} for lr, decay in itertools.product(rates, (0.0, 1e-4, 1e-3))]
    letters = model.split("x")
    manifold = "x".join(f"{letter}{width // len(letters)}" for letter in letters)
    own = {"manifold": manifold, "layers": 2, "timesteps": 5, "threshold": "auto"}
    return [{**own, "lr": lr, "step_size": step} for lr, step in itertools.product(rates, (0.1, 0.3, 1.0))]


def train(graph: str, options: dict[str, Any], seed: int, root: str, measured: bool) -> dict[str, Any]:
    """One training: validation AUC, and of the test part if it is asked for AUC, MRR and distortion."""
    own = {"root": root, "task": "link-prediction", "decoder": "plain", "baseline": "none"}
    own |= {"epochs": 200, "patience": 100}
    config = RunConfig(dataset=graph).with_options(**own, seeds=(seed,), **options)
    try:
        model, task, training = trained(config, seed)
    except FloatingPointError as error:
        return {"val": 0.0, "auc": 0.0, "mrr": 0.0, "distortion": math.nan, "failed": str(error)}
    found = {"val": 100 * max(epoch.val for epoch in training.history)}
    if measured:
        test = training.conclude().test
        points = observe(model, task.x, task.edge_index).output
        apart = distortion(points, task.edge_index, getattr(model, "manifold", None))
        found |= {"auc": 100 * test.metric, "mrr": 100 * test.further["mrr"], "distortion": apart.mean}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--graphs", default=",".join(GRAPHS))
    args = parser.parse_args()
    kept = Kept(args.out, train, args.root, args.workers)
    for graph in args.graphs.split(","):
        rows = []
        for model in MODELS:
            settings = settings_of(model, args.width)
            kept.make([(graph, options, seed) for options in settings for seed in SEARCH])
            best = max(settings, key=lambda options: kept.mean(graph, options, SEARCH, "val"))
            kept.make([(graph, best, seed) for seed in REPORT], measured=True)
            row = {"model": model if model == "gcn" else best["manifold"]}
            for name, digits in (("auc", 2), ("mrr", 2), ("distortion", 3)):
                values = kept.values(graph, best, REPORT, name)
                row[name] = mean_std(values, scale=1, digits=digits)
            rows.append(row)
        print(f"{graph}, width {args.width}\n\n{render(rows, 'markdown')}\n", flush=True)


if __name__ == "__main__":
    main()
