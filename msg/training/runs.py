"""A run: every seed's spiking network and its baseline, trained, compared and kept; resumable after any kill."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Data

from msg.energy import report
from msg.training.build import Build, build_baseline, build_budget, build_model, load_data, own_random_state, prepare
from msg.training.config import NODES, RunConfig
from msg.training.energy import count_inference
from msg.training.folder import RunFolder, free_folder
from msg.training.loop import Epoch, Training
from msg.training.observation import observe
from msg.training.plots import draw, to_png
from msg.training.results import Outcome, history_header, history_rows, summarise


class Observer:
    """Told what a run does; this one ignores it. Override what you want to see."""

    def started(self, model: str, seed: int, done: int, epochs: int) -> None:
        """Training of a model begins, ``done`` of at most ``epochs`` epochs being restored from a checkpoint."""

    def epoch(self, row: Epoch) -> None:
        """An epoch is over."""

    def finished(self, outcome: Outcome) -> None:
        """Training of a model is over."""


@dataclass
class _Progress:
    """What a checkpoint holds: trainings that are over, the best weights among them, and the one that is going on."""

    content_hash: str
    finished: list[Outcome] = field(default_factory=list)
    best: dict[str, Any] | None = None
    current: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "finished": [outcome.as_dict() for outcome in self.finished]}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "_Progress":
        return cls(**{**state, "finished": [Outcome.from_dict(outcome) for outcome in state["finished"]]})


class Run:
    """A run that is ready to go: configuration, data and models have been checked, nothing is written yet.

    Make one with :meth:`begin` or :meth:`resume`.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, data: Data, progress: _Progress):
        self.config, self.folder = config, folder
        self._data = data
        self._progress = progress

    @classmethod
    def begin(cls, config: RunConfig, out: str | Path | None = None) -> "Run":
        """Prepare a new run.

        Args:
            config: of the run.
            out: its folder; ``None`` for the first free one of ``runs/DATASET-TASK``, ``runs/DATASET-TASK-2``, ...

        Raises:
            FileExistsError: if the folder holds a run already.
            ValueError: if graph, split and options do not fit together.
            DatasetError: for missing or damaged files.
        """
        folder = RunFolder(out if out is not None else free_folder(f"{Path(config.dataset).stem}-{config.task}"))
        folder.check_free()
        data = load_data(config)
        run = cls(config, folder, data, _Progress(data.content_hash))
        run._rehearse()
        return run

    @classmethod
    def resume(cls, out: str | Path) -> "Run":
        """Prepare to go on with the run in a folder, with the configuration kept there.

        Raises:
            FileNotFoundError: if the folder holds no run.
            ValueError: if a file in it is damaged, or the graph has changed.
        """
        folder = RunFolder(out)
        config = folder.load_config()
        state = folder.load_checkpoint()
        data = load_data(config)
        progress = _Progress.from_dict(state) if state else _Progress(data.content_hash)
        if progress.content_hash != data.content_hash:
            raise ValueError(f"{config.dataset} is no longer the graph that the run in {folder.path} began with")
        run = cls(config, folder, data, progress)
        run._rehearse()
        return run

    def execute(self, observer: Observer | None = None) -> dict[str, Any]:
        """Train what is not trained yet, write the results and return them.

        An interrupted run can be resumed from its last checkpoint and ends with the same result. The global random
        state is as before afterwards.

        Raises:
            FloatingPointError: if a training diverges.
        """
        observer = observer or Observer()
        self.folder.save_config(self.config)
        with own_random_state(self.config):
            for seed in self.config.seeds:
                for build in self._builders():
                    if not self._is_finished(build, seed):
                        self._train(build, seed, observer)
            self._save_history()  # the run may have been killed between its last checkpoint and this file
            metric = self._keep_best()
        results = summarise(self.config, self._data, metric, self._progress.finished)
        self.folder.save_results(results)
        return results

    def _builders(self) -> list[Build]:
        return [build_model, build_baseline] if self.config.baseline else [build_model]

    def _rehearse(self) -> None:
        """Build everything once, so that what cannot be built is refused before any work is done."""
        # whether links can be split does not depend on the seed, and splitting many links takes long
        seeds = self.config.seeds if self.config.task == NODES else self.config.seeds[:1]
        with own_random_state(self.config):
            for seed in seeds:
                for build in self._builders():
                    prepare(self.config, self._data, seed, build)

    def _is_finished(self, build: Build, seed: int) -> bool:
        baseline = build is build_baseline
        return any(done.seed == seed and done.baseline == baseline for done in self._progress.finished)

    def _train(self, build: Build, seed: int, observer: Observer) -> None:
        config, baseline = self.config, build is build_baseline
        model, task = prepare(self.config, self._data, seed, build)
        training = Training(model, task, build_budget(self.config))
        current = self._progress.current
        if current is not None:
            training.load_state_dict(current["training"])
            _set_rng(current["rng"])
        name = type(model).__name__
        observer.started(name, seed, len(training.history), config.epochs)
        while not training.finished:
            observer.epoch(training.step())
            if len(training.history) % config.checkpoint_every == 0:
                self._progress.current = {"training": training.state_dict(), "rng": _get_rng()}
                self.folder.save_checkpoint(self._progress.as_dict())
                self._save_history(name, seed, training.history)
        fit = training.conclude()
        energy = report(count_inference(model, task)).as_dict()
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        outcome = Outcome.of(fit, name, seed, baseline, energy, parameters)
        self._progress.current = None
        self._progress.finished.append(outcome)
        if not baseline and (self._progress.best is None or outcome.val > self._progress.best["val"]):
            self._progress.best = {"seed": seed, "val": outcome.val, "state_dict": model.state_dict()}
        self.folder.save_checkpoint(self._progress.as_dict())
        self._save_history()
        observer.finished(outcome)

    def _save_history(self, name: str = "", seed: int = 0, history: Sequence[Epoch] = ()) -> None:
        """Write all trainings that are over, and the epochs so far of the one that is going on."""
        layers = self.config.layers + 1
        rows = history_rows(name, seed, history, layers)
        for done in reversed(self._progress.finished):
            rows = history_rows(done.model, done.seed, done.history, layers) + rows
        self.folder.save_history(history_header(layers), rows)

    def _keep_best(self) -> str:
        """Write the best seed's weights, and the picture of its embedding and of all trainings; name the metric."""
        best = self._progress.best
        assert best is not None
        model, task = prepare(self.config, self._data, best["seed"])
        model.load_state_dict(best["state_dict"])
        sizes = {"in_channels": task.x.size(1), "num_classes": self._data.num_classes}
        self.folder.save_best({**best, **sizes, "config": self.config.as_dict()})
        tangent = observe(model, task.x, task.edge_index).tangent.double().cpu()
        manifold = getattr(model, "manifold", None)
        figure = draw(self._progress.finished, task.metric, tangent, self._data["y"].cpu(), manifold)
        self.folder.save_curves(to_png(figure))
        return task.metric


def run(config: RunConfig, out: str | Path | None = None, observer: Observer | None = None) -> dict[str, Any]:
    """Train, compare and keep: :meth:`Run.begin`, then :meth:`Run.execute`."""
    return Run.begin(config, out).execute(observer)


def resume(out: str | Path, observer: Observer | None = None) -> dict[str, Any]:
    """Go on with a run that was stopped: :meth:`Run.resume`, then :meth:`Run.execute`."""
    return Run.resume(out).execute(observer)


def load_model(path: str | Path) -> nn.Module:
    """The trained network from a run's ``best.pt``, in evaluation mode on the CPU.

    A network of a run with ``top_features`` reads those features only: see :func:`load_trained`, which selects them.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    state = torch.load(Path(path), weights_only=True, map_location="cpu")
    config = RunConfig.from_dict({**state["config"], "device": "cpu"})
    model = build_model(config, state["in_channels"], state["num_classes"])
    model.load_state_dict(state["state_dict"])
    return model.eval()


def _get_rng() -> list[torch.Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


def _set_rng(states: list[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states[1:])
