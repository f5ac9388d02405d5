import builtins
import csv

import pytest

from msg.experiments import Experiment, Progress, TrainStudy
from msg.experiments.logs import logger_of


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def begun(tmp_path, small):
    config = small(model="sgc", timesteps=None, epochs=5, checkpoint_every=2, seeds=(0, 1), baseline="none")
    return Experiment.begin(TrainStudy(config), tmp_path / "r")


def test_each_epoch_is_there_once_and_at_once(begun, tmp_path, interrupt):
    path, seen = tmp_path / "r" / "log.csv", []

    class Reader(Progress):
        def epoch(self, job, row):
            seen.append(len(rows(path)))

    begun.execute(logger_of("csv", begun.store)(Reader()))
    assert seen == list(range(1, 11))
    found = rows(path)
    assert [(row["job"], row["epoch"]) for row in found] == [(f"sgc-{s}", str(e)) for s in (0, 1) for e in range(1, 6)]
    with (tmp_path / "r" / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [(row["loss"], row["val"]) for row in found] == [(row["loss"], row["val"]) for row in history]


def test_a_log_goes_on_after_a_kill(begun, tmp_path, interrupt):
    with pytest.raises(KeyboardInterrupt):
        begun.execute(logger_of("csv", begun.store)(interrupt(epochs=8)))
    assert len(rows(tmp_path / "r" / "log.csv")) == 8  # the last one is after the checkpoint, and is done again
    again = Experiment.resume(tmp_path / "r")
    again.execute(logger_of("csv", again.store)(Progress()))
    found = rows(tmp_path / "r" / "log.csv")
    assert [(row["job"], row["epoch"]) for row in found] == [(f"sgc-{s}", str(e)) for s in (0, 1) for e in range(1, 6)]


def test_tensorboard_reads_it(begun, tmp_path):
    pytest.importorskip("tensorboard", reason='needs pip install "msg-graph[integrations]"')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    begun.execute(logger_of("tensorboard", begun.store)(Progress()))
    events = EventAccumulator(str(tmp_path / "r" / "tensorboard" / "sgc-1")).Reload()
    found = [(event.step, event.value) for event in events.Scalars("metric/validation")]
    with (tmp_path / "r" / "history.csv").open() as file:
        want = [(int(row["epoch"]), float(row["val"])) for row in csv.DictReader(file) if row["seed"] == "1"]
    assert dict(found) == pytest.approx(dict(want), rel=1e-6)
    (tmp_path / "r" / "tensorboard" / "sgc-2").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="is a link, and nothing is read or written through one"):
        logger_of("tensorboard", begun.store)


def test_what_cannot_be_logged(begun, monkeypatch):
    with pytest.raises(ValueError, match="unknown log 'wandb': use 'csv' or 'tensorboard'"):
        logger_of("wandb", begun.store)
    found = builtins.__import__

    def missing(name, *arguments):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return found(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match="needs TensorBoard: pip install tensorboard"):
        logger_of("tensorboard", begun.store)
