"""Rows shared out to threads: all of them, once, whoever calls, and after a fork."""

import multiprocessing
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from msg.kernels import operators, pack, threads
from msg.kernels.threads import over_rows

NEURON, NO_SLOPE = (1.0, 1.0, True), (-1, 0.0, 0.0, True)


@pytest.fixture(params=[1, 2, 5])
def several(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 129, 1000])
def test_every_row_once(several, rows):
    done = Counter()
    over_rows(rows, lambda first, last: done.update(range(first, last)))
    assert done == Counter(range(rows))


def test_an_error_is_not_lost(several):
    def fail(first, last):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        over_rows(1000, fail)


def encoded(seed):
    torch.manual_seed(seed)
    return operators.encode(torch.randn(500, 40), 9, *NEURON, *NO_SLOPE)[0]


def test_callers_at_once_do_not_meet(several):
    want = [encoded(seed) for seed in range(4)]
    currents = []
    for seed in range(4):
        torch.manual_seed(seed)
        currents.append(torch.randn(500, 40))
    with ThreadPoolExecutor(4) as callers:
        jobs = [(n % 4, callers.submit(operators.encode, currents[n % 4], 9, *NEURON, *NO_SLOPE)) for n in range(200)]
        assert all(torch.equal(job.result()[0], want[n]) for n, job in jobs)


def _child(queue):
    torch.set_num_threads(2)
    queue.put((threads._POOL.executor is None, encoded(3).tolist()))


@pytest.mark.usefixtures("compiled")  # torch's own threads do not survive a fork
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork(several):
    want = encoded(3)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    fresh, found = queue.get(timeout=60)
    child.join(60)
    assert fresh
    assert found == want.tolist()


def test_rows_do_not_depend_on_threads():
    before, words = torch.get_num_threads(), pack(torch.rand(400, 5, 32) < 0.5).words
    weight, found = torch.randn(32, 32), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            args = (words, 32, None, None, None, 1.0, weight, None, None, *NEURON, *NO_SLOPE)
            found.append(operators.layer(*args)[:2])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other))
