"""Recipes that carry over: settings of `msg train` searched on some graphs and tried on one that was left out.

    python benchmarks/bench_defaults.py --root DIR --out FILE.jsonl [--workers 2] \\
        [--graphs cora,photo | --every-split chameleon-filtered,squirrel-filtered | --untouched]

Each setting (``SETTINGS``) is trained on every graph with the seeds 0 and 1, and so is the GCN that one would write:
two convolutions of width 32, dropout 0.5, weight decay 5e-4, with normalised features or without, whichever validates
better on that graph. `msg train` trains a few settings, its *recipes*, once and goes on with the one that validates
best; so the worth of a set of recipes on a graph is the validation metric under one of the two seeds of the one that
validates best under the other, less the GCN's, in the mean of both ways. For each graph the set with the best mean
worth on *all others* is chosen. There seed 99 picks one of it, as `msg train` would, and what was picked and the GCN
are trained with the seeds 100 to 104 and measured on the test part, once. What is done is kept in FILE, and not done
again.

With ``--every-split`` graphs that come with ten splits are left out on each of these: the sets are as before, chosen
where the first of them was, and all else is done again on each, down to which GCN is the opponent.

With ``--untouched`` it is the recipes of `msg train` themselves that are tried, on graphs (``UNTOUCHED``) on which no
setting was made or chosen.
"""

import itertools
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from kept import Kept, parser_of, trained

from msg.experiments.config import RunConfig
from msg.experiments.recipes import RECIPES as OF_MSG_TRAIN
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
UNTOUCHED = {
    "physics": "random:10/10/80",
    "tolokers": "fixed:0",
    "digits": "random:10/10/80",
    "disease": "random:30/10/60",
    "disease_lp": "random:30/10/60",
}
SPLITS = 10
"""That come with a graph whose nodes are split in a fixed way."""
_GCN = {"model": "cached-gcn", "hidden": 32, "layers": 2, "dropout": 0.5, "weight_decay": 5e-4, "lr": 0.01}
GCNS = ({**_GCN, "normalize_features": True}, _GCN)
"""As one would write it; which of the two is the opponent on a graph, validation says."""
USUAL = {"threshold": "auto", "layers": 2, "timesteps": 5, "dropout": 0.5, "weight_decay": 5e-4, "lr": 0.01}
_PLAIN = {"model": "spiking-gnn-conv", "conv": "gcn", "hidden": 32, "layers": 2, "dropout": 0.5, "weight_decay": 5e-4}
_ON_NORMALISED = {"gradient": "rate", "timesteps": 15, "threshold": 1.0, "normalize_features": True}
SETTINGS = {
    "deep": {"conv": "sage", "gradient": "rate", "threshold": 1.0, "layers": 3, "timesteps": 15, "lr": 0.01}
    | {"dropout": 0.0, "weight_decay": 0.0},
    "sage": USUAL | {"conv": "sage", "gradient": "rate"},
    "gcn": USUAL | {"conv": "gcn", "gradient": "rate", "manifold": "H64"},
    "propagated": USUAL
    | {"conv": "gcn", "dropout": 0.0, "input_dropout": 0.5, "step_size": 1.0, "propagate": 10}
    | _ON_NORMALISED,
    "fixed": USUAL | {"conv": "gcn", "input_dropout": 0.5, "classifier": "fixed"} | _ON_NORMALISED,
    "plain": _PLAIN | _ON_NORMALISED,
    "dropped": _PLAIN | _ON_NORMALISED | {"input_dropout": 0.5},
    "plain, raw": _PLAIN | {"gradient": "rate", "timesteps": 15, "threshold": "auto"},
}
SETTINGS["consistent"] = SETTINGS["fixed"] | {"input_dropout": 0.7, "consistency": 1.0}
"""``sage`` is what `msg train` takes where anything is chosen by hand; ``plain`` is a spiking network with no manifold,
the GCN with neurons in place of its ReLU; ``consistent`` looks twice at each graph.
"""
RECIPES = 5
"""Of a set, at most."""
CHOICE, PICK, REPORT = (0, 1), 99, (100, 101, 102, 103, 104)


def on_split(graph: str, number: int) -> str:
    """A graph on one of the splits that it comes with, by name; on the first it is the graph itself."""
    return f"{graph}, split {number}" if number else graph


def train(graph: str, options: dict[str, Any], seed: int, root: str, measured: bool) -> dict[str, Any]:
    """One training: best validation metric, and the test metric beside it if it is asked for, in percent."""
    name, _, number = graph.partition(", split ")
    split = f"fixed:{number}" if number else (GRAPHS | UNTOUCHED)[name]
    own = {"root": root, "split": split, "baseline": "none", "epochs": 200, "patience": 100}
    config = RunConfig(dataset=name).with_options(**own, seeds=(seed,), **options)
    try:
        _, _, training = trained(config, seed)
    except FloatingPointError as error:
        return {"val": 0.0, "test": 0.0, "failed": str(error)}
    val = max(epoch.val for epoch in training.history)
    return {"val": 100 * val, "test": 100 * training.conclude().test.metric if measured else None}


def val(kept: Kept, graph: str, name: str, seed: int) -> float:
    """Best validation metric of a setting under a seed."""
    return kept.values(graph, SETTINGS[name], (seed,), "val")[0]


def gcns_of(kept: Kept, graphs: list[str]) -> dict[str, dict[str, Any]]:
    """The opponent on each graph."""
    return {graph: max(GCNS, key=lambda one: kept.mean(graph, one, CHOICE, "val")) for graph in graphs}


def searched(kept: Kept, graphs: list[str], splits: list[str]) -> Iterator[str]:
    """Worths, choices, and what came of them on the graphs left out, or on all splits of some of these."""
    kept.make(
        [(graph, options, seed) for graph in graphs for options in (*GCNS, *SETTINGS.values()) for seed in CHOICE]
    )
    gcns = gcns_of(kept, graphs)

    def worth(graph: str, names: Sequence[str]) -> float:
        found = []
        for chooses, scores in (CHOICE, CHOICE[::-1]):
            best = max(names, key=lambda name: val(kept, graph, name, chooses))
            found.append(val(kept, graph, best, scores) - kept.values(graph, gcns[graph], (scores,), "val")[0])
        return statistics.fmean(found)

    sets = [names for size in range(1, RECIPES + 1) for names in itertools.combinations(SETTINGS, size)]
    worths = {(names, graph): worth(graph, names) for names in sets for graph in graphs}

    def mean(names: tuple[str, ...], left: str | None = None) -> float:
        return statistics.fmean(worths[names, graph] for graph in graphs if graph != left)

    order = sorted(sets, key=mean, reverse=True)
    single = [names for names in order if len(names) == 1]
    rows = [
        {
            "recipes": ", ".join(names),
            "mean": f"{mean(names):.2f}",
            "worst": f"{min(worths[names, g] for g in graphs):.2f}",
        }
        | {graph: f"{worths[names, graph]:.2f}" for graph in graphs}
        for names in [*order[:8], *single]
    ]
    yield "Validation metric less the GCN's, points\n\n" + render(rows, "text")
    chosen = {graph: max(sets, key=lambda names: mean(names, graph)) for graph in graphs}
    for graph in splits:
        ten = {on_split(graph, number): chosen[graph] for number in range(SPLITS)}
        kept.make([(one, options, seed) for one in ten for options in GCNS for seed in CHOICE])
        yield from tried(kept, ten)
    if not splits:
        yield from tried(kept, chosen)


def tried(kept: Kept, chosen: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """What comes of a set of recipes on each graph, beside the GCN.

    Args:
        kept: with the validation metric of both forms of the GCN.
        chosen: the set, by graph.
    """
    gcns = gcns_of(kept, list(chosen))
    kept.make([(graph, SETTINGS[name], PICK) for graph, names in chosen.items() for name in names])
    picked = {graph: max(names, key=lambda name: val(kept, graph, name, PICK)) for graph, names in chosen.items()}
    reported = [
        (graph, options, seed)
        for graph in chosen
        for options in (SETTINGS[picked[graph]], gcns[graph])
        for seed in REPORT
    ]
    kept.make(reported, measured=True)

    def test(graph: str, options: dict[str, Any]) -> str:
        return mean_std(kept.values(graph, options, REPORT, "test"), scale=1)

    differences = {
        graph: kept.mean(graph, SETTINGS[picked[graph]], REPORT, "test") - kept.mean(graph, gcns[graph], REPORT, "test")
        for graph in chosen
    }
    rows = [
        {
            "left out": graph,
            "recipes, chosen on the others": ", ".join(names),
            "picked by validation": picked[graph],
            "test": test(graph, SETTINGS[picked[graph]]),
            "GCN": test(graph, gcns[graph]),
            "its features": "normalised" if gcns[graph] is GCNS[0] else "as they are",
            "difference": f"{differences[graph]:+.2f}",
        }
        for graph, names in chosen.items()
    ]
    yield "Test metric on the graph left out, %\n\n" + render(rows, "markdown")
    found = list(differences.values())
    yield f"difference to the GCN: {statistics.fmean(found):+.2f} in the mean, {min(found):+.2f} to {max(found):+.2f}"


def untouched(kept: Kept) -> Iterator[str]:
    """What comes of the recipes of `msg train` on graphs that they were not chosen on."""
    kept.make([(graph, options, seed) for graph in UNTOUCHED for options in GCNS for seed in CHOICE])
    yield from tried(kept, dict.fromkeys(UNTOUCHED, tuple(OF_MSG_TRAIN)))


def main() -> None:
    parser = parser_of(__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--graphs", default=",".join(GRAPHS))
    which.add_argument("--every-split", default="", metavar="GRAPHS")
    which.add_argument("--untouched", action="store_true")
    args = parser.parse_args()
    kept = Kept(args.out, train, args.root, args.workers)
    splits = [name for name in args.every_split.split(",") if name]
    for part in untouched(kept) if args.untouched else searched(kept, args.graphs.split(","), splits):
        print(part, end="\n\n", flush=True)


if __name__ == "__main__":
    main()
