"""What an experiment shows on a terminal; plain lines where there is none."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from msg.cli.screen import shown
from msg.experiments import Job, Progress
from msg.report.tables import called, count, fixed, fixed_all, mean_std, render, significant
from msg.report.text import one_line
from msg.training import Epoch


class Display(Progress):
    """A progress bar a training that goes on, and a line when it is over.

    Args:
        console: where to show it.
    """

    def __init__(self, console: Console):
        self.console = console
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=14),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[seen]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        # of several experiments at once, whose jobs may have the same names
        self.shown: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> "Display":
        self.bars.start()
        return self

    def __exit__(self, *exception) -> None:
        if not self.bars.disable:  # bars that were never shown end with an empty line, up to rich 14.2
            self.bars.stop()

    def started(self, job: Job, model: str, history: Sequence[Epoch]) -> None:
        """Begin a bar."""
        label = f"{job.title or model} {job.seed}"
        self.shown[job.title, job.name] = self.bars.add_task(
            label, total=job.config.epochs * job.config.generations, completed=len(history), seen=""
        )

    def epoch(self, job: Job, row: Epoch) -> None:
        """Move the bar."""
        seen = [f"loss {row.loss:.3f}, val {row.val_loss:.3f}", f"metric {row.val:.4f}"]
        if row.rates:
            seen.append(f"rate {sum(row.rates) / len(row.rates):.2f}")
        if row.radius is not None:
            seen.append(f"radius {row.radius:.2f}")
        self.bars.update(self.shown[job.title, job.name], completed=row.epoch, seen=" · ".join(seen))

    def note(self, line: str) -> None:
        """A line."""
        with shown():
            self.console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)

    def finished(self, job: Job, record: Mapping[str, Any]) -> None:
        """Replace the bar by a line."""
        if (job.title, job.name) in self.shown:
            self.bars.remove_task(self.shown.pop((job.title, job.name)))
        if "line" in record:
            self.note(str(record["line"]))


def report(results: Mapping[str, Any]) -> str:
    """A run's results as tables: every seed, then the comparison.

    Args:
        results: the content of ``results.json``.
    """
    models = [results] + ([results["baseline"]] if results["baseline"] else [])
    parts = {"validation": "val", "test": "test"}
    columns = {f"{model['model']} {part}": model[key] for model in models for part, key in parts.items()}
    rows = [
        {"seed": str(seed), **{name: fixed(100 * part["per_seed"][number], 2) for name, part in columns.items()}}
        for number, seed in enumerate(results["seeds"])
    ]
    rows.append({"seed": "mean ± std", **{name: mean_std(part["per_seed"]) for name, part in columns.items()}})
    metric = called(results["metric"])
    title = f"{results['dataset']} · {results['task']} · {results['split']} · {metric}, %"
    what = [results["manifold"] or "Euclidean", results["gradient"], results["neuron"]]
    what += [f"T={results['timesteps']}"] if results["timesteps"] else []
    about = f"{results['model']}: {', '.join(word for word in what if word)}"
    return f"{title}\n\n{render(rows)}\n\n{about}\n\n{render(_besides(models, results['metric']))}"


def _besides(models: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, str]]:
    shown = {
        "energy of one inference, mJ": lambda model: significant(model["energy"]["energy_mj"], 4),
        "the same with memory traffic, mJ": lambda model: significant(model["energy"]["energy_with_memory_mj"], 4),
        "seconds per epoch (median)": lambda model: fixed(model["seconds_per_epoch"], 4),
        "epochs": lambda model: ", ".join(map(str, model["epochs"])),
        "learnable parameters": lambda model: count(model["parameters"]),
        "firing rate by layer": lambda model: fixed_all(model["firing_rate"], 3, ", "),
        "largest radius": lambda model: fixed(model["max_radius"], 2),
    }
    names = [name for name in models[0].get("metrics", {}) if name != metric]
    further = {f"test {called(name)}, %": _further(name) for name in names}
    return [{"": name, **{model["model"]: show(model) for model in models}} for name, show in (further | shown).items()]


def _further(name: str) -> Callable[[Mapping[str, Any]], str]:
    def show(model: Mapping[str, Any]) -> str:
        found = model.get("metrics", {}).get(name)
        return mean_std(found["test"]["per_seed"]) if found else "–"

    return show
