"""The work of a comparison: every rule at every number of time steps, kept as soon as it is finished."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch_geometric.data import Data

from msg.nn.network import SpikingNetwork
from msg.training.alignment import gradient_alignment
from msg.training.build import build_budget, build_gradient, build_model, load_data, own_random_state, prepare
from msg.training.comparison import Comparison, ComparisonConfig, Row
from msg.training.comparison_plot import draw_comparison
from msg.training.config import LINKS, NODES, RunConfig
from msg.training.folder import free_folder, json_bytes, replace_file
from msg.training.loop import Training, fit
from msg.training.memory import peak_memory
from msg.training.plots import to_png
from msg.training.results import mean_and_std

_JSON, _TABLE, _PICTURE = "comparison.json", "comparison.md", "comparison.png"
_WARM_UP, _TURNS = 2, 10

Progress = Callable[[str], None]
"""Told in a line what has been finished."""


class ComparisonRun:
    """A comparison that is ready to go: options, data and models have been checked, nothing is written yet.

    Make one with :meth:`begin` or :meth:`resume`.
    """

    def __init__(self, folder: Path, data: Data, comparison: Comparison):
        self.folder, self.comparison = folder, comparison
        self._data = data

    @classmethod
    def begin(cls, config: ComparisonConfig, out: str | Path | None = None) -> "ComparisonRun":
        """Prepare a new comparison.

        Args:
            config: what to compare.
            out: its folder; ``None`` for the first free one of ``runs/compare-DATASET``, ``runs/compare-DATASET-2``...

        Raises:
            FileExistsError: if the folder holds a comparison already.
            ValueError: if graph, split and options do not fit together.
            DatasetError: for missing or damaged files.
        """
        folder = free_folder(f"compare-{Path(config.base.dataset).stem}") if out is None else Path(out).expanduser()
        _check_free(folder)
        base = config.base
        data = load_data(base)
        with own_random_state(base):
            # whether links can be split does not depend on the seed, and splitting many links takes long
            tasks = [prepare(base, data, seed)[1] for seed in (base.seeds if base.task == NODES else base.seeds[:1])]
            for run in config.runs():
                build_model(run, data["x"].size(1), data.num_classes)
        split = str(base.split) if base.task == LINKS else data.split
        return cls(folder, data, Comparison(config, data.name, data.content_hash, split, tasks[0].metric))

    @classmethod
    def resume(cls, out: str | Path) -> "ComparisonRun":
        """Prepare to go on with the comparison in a folder.

        Raises:
            FileNotFoundError: if the folder holds no comparison.
            ValueError: if its file is damaged, or the graph has changed.
        """
        folder = Path(out).expanduser()
        path = folder / _JSON
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no comparison: it has no {_JSON}")
        try:
            comparison = Comparison.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        base = comparison.config.base
        data = load_data(base)
        if data.content_hash != comparison.content_hash:
            raise ValueError(f"{base.dataset} is no longer the graph that the comparison in {folder} began with")
        return cls(folder, data, comparison)

    def execute(self, progress: Progress = lambda line: None) -> Comparison:
        """Do what is not done yet, write table and picture and return what was found.

        Every finished row is kept, so that an interrupted comparison can be resumed; but for times and memory it ends
        with the same result. The global random state is as before afterwards.

        Args:
            progress: told in a line what has been finished.

        Raises:
            FloatingPointError: if a training diverges.
            MemoryError: if the process that measures memory is killed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keep(self.comparison.rows)
        done = {(row.rule, row.timesteps) for row in self.comparison.rows}
        with own_random_state(self.comparison.config.base):
            for run in self.comparison.config.runs():
                if (run.gradient, run.timesteps) not in done:
                    self._keep([*self.comparison.rows, self._row(run, progress)])
            if not self.comparison.finished:
                self._keep(self._timed())
        replace_file(self.folder / _TABLE, self.comparison.to_markdown().encode())
        replace_file(self.folder / _PICTURE, to_png(draw_comparison(self.comparison)))
        return self.comparison

    def _keep(self, rows: Sequence[Row]) -> None:
        self.comparison = replace(self.comparison, rows=tuple(rows))
        replace_file(self.folder / _JSON, json_bytes(self.comparison.as_dict()))

    def _row(self, run: RunConfig, progress: Progress) -> Row:
        """Train one rule at one number of time steps with every seed."""
        exact = self.comparison.config.exact
        before, after, fits = [], [], []
        for seed in run.seeds:
            name = f"{run.gradient}, T={run.timesteps}, seed {seed}"
            model, task = prepare(run, self._data, seed)
            assert isinstance(model, SpikingNetwork)
            # what it draws would shift the random numbers of the training
            with own_random_state(run):
                before.append(gradient_alignment(model, task, exact))
            try:
                found = fit(model, task, build_budget(run))
            except FloatingPointError as error:
                raise FloatingPointError(f"{name}: {error}") from error
            after.append(gradient_alignment(model, task, exact))
            fits.append(found)
            parts = f"validation {found.val.metric:.4f}, test {found.test.metric:.4f}"
            progress(f"{name}: {len(found.history)} epochs, best {found.best_epoch}, {parts}")
        memory = None
        if self.comparison.config.memory:
            memory = peak_memory(_training, run, device=run.device)
        return Row(
            rule=str(run.gradient),
            timesteps=run.timesteps,
            val=mean_and_std([found.val.metric for found in fits]),
            test=mean_and_std([found.test.metric for found in fits]),
            best_epoch=[found.best_epoch for found in fits],
            firing_rate=_means([found.val.rates for found in fits], statistics.fmean),
            cosine_before=_means(before, _mean_of_known),
            cosine_after=_means(after, _mean_of_known),
            memory_mb=memory,
        )

    def _timed(self) -> list[Row]:
        """The rows with the median time of an update, all in turns on one model.

        So all see the same machine, caches and allocator, whatever else the machine does meanwhile; every update goes
        on from the weights that the one before left. The first turns warm up and are not counted.
        """
        runs = self.comparison.config.runs()
        model, task = prepare(runs[0], self._data, runs[0].seeds[0])
        assert isinstance(model, SpikingNetwork)
        training = Training(model, task, build_budget(runs[0]))
        seconds: list[list[float]] = [[] for _ in runs]
        for turn in range(_WARM_UP + _TURNS):
            for run, times in zip(runs, seconds):
                model.gradient, model.timesteps = build_gradient(run), run.timesteps
                epoch = training.step()
                if turn >= _WARM_UP:
                    times.append(epoch.seconds)
        return [replace(row, seconds_per_epoch=statistics.median(t)) for row, t in zip(self.comparison.rows, seconds)]


def compare(
    config: ComparisonConfig, out: str | Path | None = None, progress: Progress = lambda line: None
) -> Comparison:
    """Compare gradient rules and keep what was found: :meth:`ComparisonRun.begin`, then ``execute``."""
    return ComparisonRun.begin(config, out).execute(progress)


def _check_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: choose another folder with --out")
    found = [name for name in (_JSON, _TABLE, _PICTURE) if (folder / name).exists()]
    if found:
        raise FileExistsError(
            f"{folder} already holds a comparison ({', '.join(found)}): go on with --resume {folder}, or choose "
            "another --out"
        )


def _training(run: RunConfig) -> Callable[[], object]:
    """One epoch of a run's first seed, to be called again and again in a process of its own."""
    model, task = prepare(run, load_data(run), run.seeds[0])
    return Training(model, task, build_budget(run)).step


def _means(per_seed: Sequence[Sequence], mean: Callable) -> list:
    """Means over seeds, layer by layer."""
    return [mean(values) for values in zip(*per_seed)]


def _mean_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
