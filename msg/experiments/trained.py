"""The model that a run kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch_geometric.data import Data

from msg.energy import Operations
from msg.experiments.build import build_model, prepare, uncached
from msg.experiments.config import RunConfig
from msg.experiments.files import check_finite
from msg.experiments.recipes import came_of
from msg.experiments.store import Store
from msg.experiments.studies.recipes import RecipeStudy
from msg.experiments.study import load_again
from msg.training import Task, count_inference, load_weights, own_random_state


def load_model(path: str | Path) -> nn.Module:
    """The trained network from a run's ``best.pt``, in evaluation mode on the CPU.

    A network of a run with ``top_features`` reads those features only: see :func:`load_trained`, which selects them.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged.
    """
    path = Path(path)
    state = Store(path.parent).read_tensors(path.name)
    _check(path, state)
    return _network(path, _on_cpu(path, state), state)


@dataclass(frozen=True)
class Finished:
    """What the folder of a finished run holds, each file checked and one of the others.

    Attributes:
        path: the folder.
        config: of the run, on the CPU.
        seed: whose weights were best on the validation part.
        begun: its ``config.json``.
        results: its ``results.json``.
        best: its ``best.pt``.
    """

    path: Path
    config: RunConfig
    seed: int
    begun: dict[str, Any]
    results: dict[str, Any]
    best: dict[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> "Finished":
        """The run in a folder.

        Raises:
            FileNotFoundError: if the folder holds no finished run.
            ValueError: if a file in it is damaged, or a link.
        """
        store = Store(path)
        store.refuse_links()
        begun = store.read_config()
        best, results, path = store.read_tensors("best.pt"), store.read_json("results.json"), store.path / "best.pt"
        _check(path, best)
        config = _on_cpu(path, best)
        for name, options in (("best.pt", best["config"]), ("results.json", results.get("config"))):
            if options != best["config"] or not _began(store.path / "config.json", begun, options):
                raise ValueError(
                    f"{store.path / name} was not made with the config.json beside it: take another copy of it"
                )
        _check_results(store.path / "results.json", results)
        return cls(store.path, config, best["seed"], begun, results, best)

    def network(self) -> nn.Module:
        """The trained network, in evaluation mode; the graph is not needed."""
        return _network(self.path / "best.pt", self.config, self.best)

    def graph(self) -> Data:
        """The graph that it was trained on.

        Raises:
            ValueError: if it is another one now, or not where it was.
            DatasetError: for missing or damaged files.
        """
        return load_again(self.config, self.begun, f"the run in {self.path}")

    def prepared(self) -> tuple[nn.Module, Task]:
        """The trained network, and its task on its own graph; errors are those of :meth:`graph`."""
        with own_random_state(self.config.device):
            model, task = prepare(self.config, self.graph(), self.seed)
        return _filled(self.path / "best.pt", model, self.best).eval(), task


def load_run(path: str | Path) -> nn.Module:
    """The trained network of a finished run, of its best seed, in evaluation mode on the CPU.

    .. code-block:: python

        model = msg.load_run("runs/photo-node-classification")
        logits = model(x, edge_index)

    The graph is not needed. Features are read as the network does: after ``top_features`` and ``normalize_features``,
    where the run has them. :func:`predict` and :func:`export` do both themselves.

    Raises:
        FileNotFoundError: if the folder holds no finished run.
        ValueError: if a file in it is damaged, or a link.
    """
    return Finished.read(path).network()


@dataclass(frozen=True)
class Trained:
    """The model of a run, with what it needs to be run again.

    Attributes:
        model: with the best seed's weights, in evaluation mode.
        task: with the graph it reads.
        ops: what one inference does.
        results: the run's ``results.json``.
    """

    model: nn.Module
    task: Task
    ops: Operations
    results: dict[str, Any]


def load_trained(path: str | Path) -> Trained:
    """The model that a finished run kept, counted on the graph it was trained on, on the CPU.

    Raises:
        FileNotFoundError: if the folder holds no finished run.
        ValueError: if a file in it is damaged.
        DatasetError: for missing or damaged files of the graph.
    """
    run = Finished.read(path)
    model, task = run.prepared()
    return Trained(model, task, count_inference(model, task), run.results)


def _network(path: Path, config: RunConfig, state: dict[str, Any]) -> nn.Module:
    model = uncached(build_model(config, state["in_channels"], state["num_classes"]))  # of whatever graph comes
    return _filled(path, model, state).eval()


def _check(path: Path, state: dict[str, Any]) -> None:
    """Refuse a file that holds something else."""
    wanted = {"config": dict, "state_dict": dict, "in_channels": int, "num_classes": int, "seed": int}
    if any(not isinstance(state.get(name), kind) for name, kind in wanted.items()):
        raise ValueError(f"{path} is not the best.pt of a run: it needs {', '.join(wanted)}")


def _began(path: Path, begun: dict[str, Any], options: Any) -> bool:
    """Whether a run with these options is what was begun, or one of the recipes that were tried then."""
    if begun["study"] != RecipeStudy.kind:
        return options == begun["options"]
    try:
        return came_of(options, begun["options"])
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _check_results(path: Path, results: dict[str, Any]) -> None:
    """Refuse results in which what is shown of a run is missing."""
    per_seed = results["test"].get("per_seed") if isinstance(results.get("test"), dict) else None
    values = per_seed if isinstance(per_seed, list) else []
    numbers = values and all(type(value) in (int, float) and 0 <= value <= 1 for value in values)
    if not numbers or not isinstance(results.get("model"), str) or not isinstance(results.get("metric"), str):
        raise ValueError(f"{path} is not the results.json of a run: take another copy of it")


def _filled(path: Path, model: nn.Module, state: dict[str, Any]) -> nn.Module:
    """The model with the weights of a file."""
    check_finite(path, state["state_dict"])
    try:
        load_weights(model, state["state_dict"])
    except (RuntimeError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not fit the model of its own configuration: take another copy of it") from error
    return model


def _on_cpu(path: Path, state: dict[str, Any]) -> RunConfig:
    try:
        return RunConfig.from_dict({**state["config"], "device": "cpu"})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        mend = "take another copy of it"
        if str(error).startswith("unknown"):
            mend += ", or, of a name that a file of yours registers, run that file: python FILE.py predict FOLDER"
        raise ValueError(f"{path} holds no configuration of a run ({error}): {mend}") from error
