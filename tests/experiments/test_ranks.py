"""Who is gone, as those that are left agree on it; with processes it is tested in ``tests/distributed``."""

import threading
import time

import pytest
import torch.distributed as dist

from msg.experiments.ranks import _missing

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without processes")


def test_rank_0_keeps_the_store_until_the_others_have_read_who_is_gone():
    store, found = dist.HashStore(), []
    store.set("msg/here/1", "yes")
    first = threading.Thread(target=lambda: found.append(_missing(store, 0, 3, 0.2)))
    first.start()
    deadline = time.monotonic() + 30
    while not store.check(["msg/lost"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.3)
    assert first.is_alive()
    assert _missing(store, 1, 3, 0.2) == [2]  # though it came later
    first.join(30)
    assert found == [[2]]


def test_where_all_are_there_nobody_is_missed():
    store, found = dist.HashStore(), {}
    crew = [threading.Thread(target=lambda r=rank: found.update({r: _missing(store, r, 3, 30)})) for rank in range(3)]
    for one in crew:
        one.start()
    for one in crew:
        one.join(30)
    assert found == {0: [], 1: [], 2: []}
