import pytest

from msg.datasets import load_graph


@pytest.fixture
def karate():
    return load_graph("karate", features="dense")
