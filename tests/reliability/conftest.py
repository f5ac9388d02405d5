"""What the outside tests of reliability share."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """For modules that train graphs too small to gain from threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
