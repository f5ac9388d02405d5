"""What a single change to MSG adds on the validation part of a graph, where nothing else is searched.

    python benchmarks/bench_ablation.py --root DIR --out FILE.jsonl [--dataset photo] [--workers 2]

Each setting (``SETTINGS``) differs in what its name says from the one that it is compared with, and is trained with the
seeds 0 to 3, at most 300 epochs a generation with a patience of 100, under the split 10/10/80. The test part is not
read. What is done is kept in FILE, and not done again. Text goes to the terminal.
"""

import statistics
from typing import Any

from kept import Kept, parser_of, trained

from msg.experiments.config import RunConfig
from msg.report.tables import render

SEEDS = (0, 1, 2, 3)
DEFAULT = {
    "model": "msg", "conv": "sage", "gradient": "rate", "threshold": "auto", "layers": 2, "timesteps": 5,
    "dropout": 0.5, "weight_decay": 5e-4, "lr": 0.01, "manifold": "H32",
}  # fmt: skip
"""What `msg train` takes where a setting is chosen by hand, its first recipe."""
WIDE = {**DEFAULT, "manifold": "H128", "input_dropout": 0.3}
GCN = {"model": "cached-gcn", "hidden": 64, "layers": 2, "dropout": 0.5, "input_dropout": 0.35, "weight_decay": 5e-4}
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "GCN of width 64, input dropout 0.35": (DEFAULT, GCN | {"lr": 0.01}),
    "taught twice": (DEFAULT, DEFAULT | {"generations": 3}),
    "width 128": (DEFAULT, DEFAULT | {"manifold": "H128"}),
    "width 128, sphere": (DEFAULT, DEFAULT | {"manifold": "S128"}),
    "width 128, flat": (DEFAULT, DEFAULT | {"manifold": "E128"}),
    "width 128, input dropout 0.3": (DEFAULT, WIDE),
    "learning rate 0.003": (WIDE, WIDE | {"lr": 0.003}),
    "T = 8, layer norm": (WIDE, WIDE | {"norm": "layer", "timesteps": 8}),
    "three convolutions, all points read": (WIDE, WIDE | {"layers": 3, "jumping": "cat"}),
    "3 hops of predictions, teleport 0.3": (WIDE, WIDE | {"propagate": 3, "teleport": 0.3}),
    "10 hops of predictions, teleport 0.1": (WIDE, WIDE | {"propagate": 10, "teleport": 0.1}),
    "label smoothing 0.1": (WIDE, WIDE | {"label_smoothing": 0.1}),
    "weight decay 1e-4": (WIDE, WIDE | {"weight_decay": 1e-4}),
    "weight decay 2e-3": (WIDE, WIDE | {"weight_decay": 2e-3}),
    "step size 0.5": (WIDE, WIDE | {"step_size": 0.5}),
    "no residual current (GCN synapse)": (WIDE, WIDE | {"conv": "gcn"}),
}
"""By name: what a setting is compared with, and what it is."""


def train(graph: str, options: dict[str, Any], seed: int, root: str, measured: bool) -> dict[str, Any]:
    """One training: best validation metric in percent."""
    own = {"root": root, "split": "random:10/10/80", "baseline": "none", "epochs": 300, "patience": 100}
    try:
        _, _, training = trained(RunConfig(dataset=graph).with_options(**own, seeds=(seed,), **options), seed)
    except FloatingPointError as error:
        return {"val": 0.0, "failed": str(error)}
    return {"val": 100 * max(epoch.val for epoch in training.history)}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--dataset", default="photo")
    args = parser.parse_args()
    kept = Kept(args.out, train, args.root, args.workers)
    wanted = [DEFAULT, *(options for _, options in SETTINGS.values())]
    kept.make([(args.dataset, options, seed) for options in wanted for seed in SEEDS])

    def vals(options: dict[str, Any]) -> list[float]:
        return kept.values(args.dataset, options, SEEDS, "val")

    rows = [{"change": "MSG, default", "to": "–", "validation, %": f"{statistics.fmean(vals(DEFAULT)):.2f}"}]
    for name, (former, options) in SETTINGS.items():
        gains = [after - before for before, after in zip(vals(former), vals(options))]
        rows.append(
            {
                "change": name,
                "to": "default" if former is DEFAULT else "width 128, input dropout 0.3",
                "validation, %": f"{statistics.fmean(vals(options)):.2f}",
                "gain": f"{statistics.fmean(gains):+.2f}",
                "smallest and largest": f"{min(gains):+.2f} to {max(gains):+.2f}",
            }
        )
    print(render(rows, "markdown"))


if __name__ == "__main__":
    main()
