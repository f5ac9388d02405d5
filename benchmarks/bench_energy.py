"""Time of a counted forward as a multiple of a plain one; or time of an inference beside what a sum of operations says.

    python benchmarks/bench_energy.py --root DIR
    python benchmarks/bench_energy.py --root DIR --search energy.json

Evaluation mode, no gradient, one thread, taken in turns after a warm-up. SpikingGCN keeps what it propagates, so its
plain forward is a single product: its row says what counting adds to that, and to a forward on a new graph.

``--search`` takes what ``msg energy --models`` kept and trains, with the second seed, the cheapest setting of each
model at equal accuracy (or, where none is accurate enough, its best on validation): median and quartiles of an
inference's processor time (so that little depends on what else runs), and joules where a counter can be read.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from kept import trained
from torch_geometric.nn import GAT, GCN

from msg.datasets import load_graph
from msg.energy import count, measure, report
from msg.experiments import EnergyStudy, RunConfig
from msg.experiments.forms import form
from msg.nn import MSG, SpikingGCN
from msg.report.tables import render
from msg.training import count_inference

ROUNDS, WARM_UP = 41, 5


def counted(dataset: str, root: str) -> None:
    """Print what counting adds."""
    data = load_graph(dataset, root=root, features="dense")
    x, edges, classes = data["x"], data["edge_index"], data.num_classes
    models = {
        "GCN": GCN(x.size(1), 32, 2, classes, cached=True),
        "GAT": GAT(x.size(1), 32, 2, classes, heads=4),
        "MSG, 2 convolutions": MSG(x.size(1), classes, "H32", num_layers=2),
        "MSG, 3 convolutions": MSG(x.size(1), classes, "H32", num_layers=3),
        "SpikingGCN": SpikingGCN(x.size(1), classes),
        "SpikingGCN, new graph": SpikingGCN(x.size(1), classes),
    }
    for name, model in models.items():
        model.eval()
        plain, counted = [], []
        for turn in range(18):
            features = x.clone() if "new" in name else x
            for times, counting in ((plain, False), (counted, True)):
                features = features.clone() if "new" in name else features
                start = time.perf_counter()
                with torch.no_grad():
                    if counting:
                        with count(model):
                            model(features, edges)
                    else:
                        model(features, edges)
                if turn >= 3:
                    times.append(time.perf_counter() - start)
        before, after = statistics.median(plain), statistics.median(counted)
        print(f"{dataset}, {name:22} {1e3 * before:8.1f} ms, counted {1e3 * after:8.1f} ms: {after / before:.2f}x")


def settings(search: dict[str, Any]) -> dict[str, str]:
    """The cheapest setting of each model at equal accuracy as its search read it, or its best."""
    first = next(
        one
        for one in search["equal_accuracy"]["cheapest"]
        if (one["costs"], one["inputs"], one["memory"]) == ("45 nm, FP32", search["inputs"], False)
    )
    return {
        model: search["best"][model] if found is None else found["setting"] for model, found in first["models"].items()
    }


def inference(path: Path, root: str) -> None:
    """Print time and energy of one inference of each model of a search."""
    search = json.loads(path.read_text(encoding="utf-8"))
    base = RunConfig.from_dict({**search["config"], "root": root})
    study = EnergyStudy(tuple(search["best"]), base)
    tried = {_name(trial): trial for trial in search["trials"]}
    runs: dict[str, Callable[[], Any]] = {}
    rows = {}
    for name in settings(search).values():
        trial = tried[name]
        model, task, training = trained(study.configure(form(trial["model"]), trial["settings"]), base.seeds[1])
        training.conclude()
        model.eval()
        runs[name] = lambda model=model, task=task: model(task.x, task.edge_index)
        found = report(count_inference(model, task))
        rows[name] = {
            "model": name,
            "events, µJ": f"{1e3 * found.energy_mj('events'):.2f}",
            "with memory, µJ": f"{1e3 * found.energy_mj('events', memory=True):.0f}",
        }
    times: dict[str, list[float]] = {name: [] for name in runs}
    with torch.no_grad():
        for turn in range(WARM_UP + ROUNDS):
            for name, run in runs.items():
                start = time.process_time()
                run()
                if turn >= WARM_UP:
                    times[name].append(1e3 * (time.process_time() - start))
        joules = [(name, one) for name, run in runs.items() for one in measure(run, seconds=5, idle_seconds=2)]
    for name, taken in times.items():
        low, middle, high = statistics.quantiles(taken, n=4)
        rows[name]["ms, median (quartiles)"] = f"{middle:.2f} ({low:.2f} to {high:.2f})"
    print(render(list(rows.values()), "markdown"))
    for line in dict.fromkeys(str(one) if one.reason else f"{name}: {one}" for name, one in joules):
        print(line)


def _name(trial: dict[str, Any]) -> str:
    return " ".join([trial["model"], *(f"{name}={value}" for name, value in trial["settings"].items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--dataset", default="photo")
    parser.add_argument("--search", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.search is None:
        counted(args.dataset, args.root)
    else:
        inference(args.search, args.root)


if __name__ == "__main__":
    main()
