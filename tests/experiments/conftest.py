import pytest

from msg.experiments import Progress, RunConfig


@pytest.fixture
def small():
    """Options of a run that takes a second."""

    def make(**options) -> RunConfig:
        defaults = {"dataset": "karate", "epochs": 12, "timesteps": 3, "layers": 2}
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
