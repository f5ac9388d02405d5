"""What tests of processes share: one process that forks, and what is in a folder."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if not hasattr(__import__("os"), "fork"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    """Starts runs that need no time to start."""
    from forks import Forks

    forks = Forks(tmp_path_factory.mktemp("forks"))
    yield forks
    forks.stop()
