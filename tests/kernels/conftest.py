"""What the kernels are given, and how they are forced or forbidden."""

import pytest
import torch

from msg.kernels import status


@pytest.fixture
def compiled():
    """Kernels compiled by numba; a test that needs them is skipped where they are not."""
    if status().backend != "numba":
        pytest.skip(f"no compiled kernels: {status().reason}")


@pytest.fixture
def seeded():
    torch.manual_seed(0)
