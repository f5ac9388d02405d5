"""What it does to read classes out along fixed directions (`--classifier fixed`) in place of a learned linear map.

    python benchmarks/bench_classifier.py --root DIR --out FILE.jsonl [--graphs cora,citeseer,photo,cs] [--workers 2]

The best validation metric of each model with both, and nothing else changed; the test part is not read. Citations are
trained as Kipf & Welling train a GCN, without dropout of the input (public split, seeds 0 to 4), the others as Luo et
al. train theirs (10/10/80, seeds 0 and 1). What is done is kept in FILE, and not done again.
"""

import statistics
from typing import Any

from kept import Kept, parser_of, trained

from msg.experiments.config import RunConfig
from msg.report.tables import render

CITATIONS, SEEDS = ("cora", "citeseer", "pubmed"), {True: (0, 1, 2, 3, 4), False: (0, 1)}
SPIKES = {"timesteps": 15, "threshold": 1.0, "gradient": "rate"}
COMMON = {"normalize_features": True, "dropout": 0.5, "weight_decay": 5e-4}
KIPF = {**COMMON, "lr": 0.01, "layers": 2}
LUO = {**COMMON, "lr": 0.001, "layers": 2, "norm": "layer"}
FLAT = {"model": "spiking-gnn", **SPIKES}
OF_CITATIONS: dict[str, dict[str, Any]] = {
    "MSG, step 0.1": {**KIPF, "model": "msg", "conv": "gcn", "manifold": "E32", **SPIKES},
    "MSG, step 1": {**KIPF, "model": "msg", "conv": "gcn", "manifold": "E32", "step_size": 1.0, **SPIKES},
    "SpikingGNN": {**KIPF, **FLAT, "conv": "gcn", "hidden": 32},
    "GCN, read out linearly": {**KIPF, "model": "classic-gcn", "hidden": 32},
}
OF_OTHERS: dict[str, dict[str, Any]] = {
    "MSG, step 0.1": {**LUO, "model": "msg", "conv": "sage", "manifold": "E128", **SPIKES},
    "SpikingGNN": {**LUO, **FLAT, "conv": "sage", "hidden": 128},
    "SAGE, norm and residual": {**LUO, "model": "classic-sage", "hidden": 128, "residual": True},
}


def train(graph: str, options: dict[str, Any], seed: int, root: str, measured: bool) -> dict[str, Any]:
    """One training: best validation metric in percent."""
    known = graph in CITATIONS
    own = {"root": root, "split": "public" if known else "random:10/10/80", "baseline": "none"}
    budget = {"epochs": 200, "patience": 100} if known else {"epochs": 400, "patience": 60}
    _, _, training = trained(RunConfig(dataset=graph).with_options(**own, **budget, seeds=(seed,), **options), seed)
    return {"val": 100 * max(epoch.val for epoch in training.history)}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--graphs", default="cora,citeseer,photo,cs")
    args = parser.parse_args()
    kept = Kept(args.out, train, args.root, args.workers)
    rows = []
    for graph in args.graphs.split(","):
        seeds, models = SEEDS[graph in CITATIONS], OF_CITATIONS if graph in CITATIONS else OF_OTHERS
        for name, options in models.items():
            both = [{**options, "classifier": kind} for kind in ("linear", "fixed")]
            kept.make([(graph, one, seed) for one in both for seed in seeds])
            linear, fixed = (kept.values(graph, one, seeds, "val") for one in both)
            gains = [after - before for before, after in zip(linear, fixed)]
            rows.append(
                {
                    "graph": graph,
                    "model": name,
                    "linear": f"{statistics.fmean(linear):.2f}",
                    "fixed": f"{statistics.fmean(fixed):.2f}",
                    "gain": f"{statistics.fmean(gains):+.2f}",
                    "smallest to largest": f"{min(gains):+.2f} to {max(gains):+.2f}",
                }
            )
    print(render(rows, "markdown"))


if __name__ == "__main__":
    main()
