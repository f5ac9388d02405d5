import pytest

from msg.experiments import Progress, RunConfig
from msg.names import MODELS, TABLES


@pytest.fixture
def small():
    """Options of a run that takes a second."""

    def make(**options) -> RunConfig:
        defaults = {"dataset": "karate", "seeds": (0, 1), "epochs": 12, "timesteps": 3, "layers": 2}
        if options.get("model", "msg") == "msg":
            defaults["manifold"] = "H4"
        return RunConfig(**{**defaults, **options})

    return make


class Interrupt(Progress):
    """Ctrl-C after so many epochs, or jobs."""

    def __init__(self, epochs: int = -1, jobs: int = -1):
        self.epochs, self.jobs = epochs, jobs

    def epoch(self, job, row):
        self.epochs -= 1
        if self.epochs == 0:
            raise KeyboardInterrupt

    def finished(self, job, record):
        self.jobs -= 1
        if self.jobs == 0:
            raise KeyboardInterrupt


class Lines(Progress):
    """Remembers what was told."""

    def __init__(self):
        self.lines, self.jobs = [], []

    def finished(self, job, record):
        self.jobs.append(job)
        self.lines += [record["line"]] if "line" in record else []


@pytest.fixture
def interrupt():
    return Interrupt


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def tiny_table(tmp_path, monkeypatch):
    """A table of models that are trained in no time, registered while a test runs, in an empty folder."""
    from tiny import MODELS as TINY
    from tiny import TABLE

    monkeypatch.chdir(tmp_path)
    for name, spec in TINY.items():
        MODELS.register(name, spec)
    TABLES.register(TABLE.name, TABLE)
    yield TABLE
    TABLES.remove(TABLE.name)
    for name in TINY:
        MODELS.remove(name)
