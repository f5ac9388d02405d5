"""What a run shows on a terminal; plain lines where there is none."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from msg.energy.layout import percent
from msg.training import Epoch, Observer, Outcome


class Display(Observer):
    """A progress bar a training, and a line when it is over.

    Args:
        console: where to show it.
    """

    def __init__(self, console: Console):
        self.console = console
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=14),
            MofNCompleteColumn(),
            TextColumn("{task.fields[seen]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.bar = None

    def __enter__(self) -> "Display":
        self.progress.start()
        return self

    def __exit__(self, *exception) -> None:
        self.progress.stop()

    def started(self, model: str, seed: int, done: int, epochs: int) -> None:
        """Begin a bar."""
        self.bar = self.progress.add_task(f"{model} {seed}", total=epochs, completed=done, seen="")

    def epoch(self, row: Epoch) -> None:
        """Move the bar."""
        seen = [f"loss {row.loss:.3f}, val {row.val_loss:.3f}", f"metric {row.val:.4f}"]
        if row.rates:
            seen.append(f"rate {sum(row.rates) / len(row.rates):.2f}")
        if row.radius is not None:
            seen.append(f"radius {row.radius:.2f}")
        assert self.bar is not None
        self.progress.update(self.bar, completed=row.epoch, seen=" · ".join(seen))

    def finished(self, outcome: Outcome) -> None:
        """Replace the bar by a line."""
        assert self.bar is not None
        self.progress.remove_task(self.bar)
        self.console.print(
            f"{outcome.model}, seed {outcome.seed}: {len(outcome.history)} epochs, best {outcome.best_epoch}, "
            f"validation {outcome.val:.4f}, test {outcome.test:.4f}",
            highlight=False,
        )


def report(results: dict[str, Any], console: Console) -> None:
    """Print a run's results: every seed, then the comparison.

    Args:
        results: the content of ``results.json``.
        console: where to print.
    """
    models = [results] + ([results["baseline"]] if results["baseline"] else [])
    metric = "accuracy, %" if results["metric"] == "accuracy" else "ROC-AUC, %"
    title = f"{results['dataset']} · {results['task']} · {results['split']} · {metric}"
    table = Table(title=title, title_justify="left")
    table.add_column("seed")
    for model in models:
        table.add_column(f"{model['model']} validation", justify="right")
        table.add_column(f"{model['model']} test", justify="right")
    for number, seed in enumerate(results["seeds"]):
        cells = [f"{100 * model[part]['per_seed'][number]:.2f}" for model in models for part in ("val", "test")]
        table.add_row(str(seed), *cells, end_section=number == len(results["seeds"]) - 1)
    table.add_row("mean ± std", *[percent(model[part]["per_seed"]) for model in models for part in ("val", "test")])
    console.print(table)
    console.print(_comparison(results, models))


def _comparison(results: dict[str, Any], models: list[dict[str, Any]]) -> Table:
    what = [results["manifold"] or "Euclidean", results["gradient"], results["neuron"], f"T={results['timesteps']}"]
    table = Table(title=f"{results['model']}: {', '.join(what)}", title_justify="left")
    table.add_column("")
    for model in models:
        table.add_column(model["model"], justify="right")
    rows = {
        "energy of one inference, mJ": lambda model: f"{model['energy']['energy_mj']:.4g}",
        "the same with memory traffic, mJ": lambda model: f"{model['energy']['energy_with_memory_mj']:.4g}",
        "seconds per epoch (median)": lambda model: f"{model['seconds_per_epoch']:.4f}",
        "epochs": lambda model: ", ".join(map(str, model["epochs"])),
        "learnable parameters": lambda model: f"{model['parameters']:,}",
        "firing rate by layer": lambda model: ", ".join(f"{rate:.3f}" for rate in model["firing_rate"]) or "–",
        "largest radius": lambda model: "–" if model["max_radius"] is None else f"{model['max_radius']:.2f}",
    }
    for name, show in rows.items():
        table.add_row(name, *[show(model) for model in models])
    return table
