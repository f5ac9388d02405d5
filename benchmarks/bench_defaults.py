"""Defaults that carry over: settings of `msg train` searched on some graphs and tried on one that was left out.

    python benchmarks/bench_defaults.py --root DIR --out FILE.jsonl [--workers 2] [--graphs cora,photo]

Each setting (``SETTINGS``) is trained on every graph with the seeds 0 and 1, and so is the GCN that one would write:
two convolutions as wide, dropout 0.5, weight decay 5e-4, with normalised features or without, whichever validates
better on that graph. A setting's score on a graph is its mean best validation metric less the GCN's. For each graph the
setting with the best mean score on *all others* is chosen; it and the GCN are then trained there with the seeds 100 to
104 and measured on the test part, once. What is done is kept in FILE, and not done again. Text goes to the terminal.
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kept import Kept, trained

from msg.experiments.config import RunConfig
from msg.report.tables import mean_std, render

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
_GCN = {"model": "cached-gcn", "hidden": 32, "layers": 2, "dropout": 0.5, "weight_decay": 5e-4, "lr": 0.01}
GCNS = ({**_GCN, "normalize_features": True}, _GCN)
"""As one would write it; which of the two is the opponent on a graph, validation says."""
BEFORE = {"threshold": 1.0, "layers": 3, "timesteps": 15, "dropout": 0.0, "weight_decay": 0.0, "lr": 0.01}
"""Defaults until this search was made."""
USUAL = {"threshold": "auto", "layers": 2, "timesteps": 5, "dropout": 0.5, "weight_decay": 5e-4, "lr": 0.01}
_SAGE = USUAL | {"conv": "sage", "input_dropout": 0.3}
SETTINGS = (
    BEFORE,
    USUAL,
    USUAL | {"input_dropout": 0.5},
    USUAL | {"gradient": "rate"},
    USUAL | {"conv": "sage"},
    USUAL | {"conv": "sage", "gradient": "rate"},
    USUAL | {"gradient": "rate", "manifold": "H64"},
    USUAL | {"gradient": "rate", "dropout": 0.6, "input_dropout": 0.6, "step_size": 0.05, "lr": 0.02},
    {**_SAGE, "layers": 3, "gradient": "dvm", "manifold": "H32", "norm": "none", "normalize_features": False},
    {
        **_SAGE,
        "gradient": "rate",
        "manifold": "H64",
        "norm": "layer",
        "normalize_features": False,
        "timesteps": 8,
        "weight_decay": 0.0,
    },
)
SEARCH, REPORT = (0, 1), (100, 101, 102, 103, 104)


def train(graph: str, options: dict[str, Any], seed: int, root: str, measured: bool) -> dict[str, Any]:
    """One training: best validation metric, and the test metric beside it if it is asked for, in percent."""
    own = {"root": root, "split": GRAPHS[graph], "baseline": "none", "epochs": 200, "patience": 100}
    config = RunConfig(dataset=graph).with_options(**own, seeds=(seed,), **options)
    try:
        _, _, training = trained(config, seed)
    except FloatingPointError as error:
        return {"val": 0.0, "test": 0.0, "failed": str(error)}
    val = max(epoch.val for epoch in training.history)
    return {"val": 100 * val, "test": 100 * training.conclude().test.metric if measured else None}


def shown(kept: Kept, graphs: list[str]) -> Iterator[str]:
    """Scores, choices, and what came of them on the graphs left out."""
    settings = SETTINGS
    gcns = {graph: max(GCNS, key=lambda one: kept.mean(graph, one, SEARCH, "val")) for graph in graphs}
    scores = {
        (number, graph): kept.mean(graph, options, SEARCH, "val") - kept.mean(graph, gcns[graph], SEARCH, "val")
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
    tried = [
        (g, options, seed) for g in graphs for options in (settings[chosen[g]], BEFORE, gcns[g]) for seed in REPORT
    ]
    kept.make(tried, measured=True)

    def test(graph: str, options: dict[str, Any]) -> str:
        return mean_std(kept.values(graph, options, REPORT, "test"), scale=1)

    differences = {
        graph: kept.mean(graph, settings[chosen[graph]], REPORT, "test") - kept.mean(graph, gcns[graph], REPORT, "test")
        for graph in graphs
    }
    rows = [
        {
            "left out": graph,
            "setting": str(chosen[graph]),
            "MSG, chosen on the others": test(graph, settings[chosen[graph]]),
            "MSG, before": test(graph, BEFORE),
            "GCN": test(graph, gcns[graph]),
            "its features": "normalised" if gcns[graph] is GCNS[0] else "as they are",
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
    parser.add_argument("--graphs", default=",".join(GRAPHS))
    args = parser.parse_args()
    kept, graphs = Kept(args.out, train, args.root, args.workers), args.graphs.split(",")
    kept.make([(graph, options, seed) for options in (*GCNS, *SETTINGS) for graph in graphs for seed in SEARCH])
    for part in shown(kept, graphs):
        print(part, end="\n\n", flush=True)


if __name__ == "__main__":
    main()
