import pytest
import torch

from msg.datasets import load_graph
from msg.training import RunConfig


@pytest.fixture(autouse=True)
def _one_thread():
    """Graphs this small gain nothing from threads, and lose much where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def karate():
    return load_graph("karate", features="dense")


@pytest.fixture
def small():
    """Options of a run that takes a second."""

    def make(**options) -> RunConfig:
        defaults = {"dataset": "karate", "epochs": 12, "timesteps": 3, "layers": 1}
        if options.get("model") != "spiking-gnn":
            defaults["manifold"] = "H4"
        return RunConfig(**{**defaults, **options})

    return make
