"""Rows shared out to threads, as many as torch uses.

The kernels hold no lock of the interpreter, so ordinary threads run them side by side: any number of callers at once,
and after a fork, which the thread pools of OpenMP and TBB do not survive.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import torch

_SHARES = 4  # of rows for each thread: the one that meets the heavy rows is left the fewer shares
_WORTH = 64  # rows: fewer are done before another thread wakes


class _Pool:
    """Threads that wait for work; a process that was forked begins anew."""

    def __init__(self):
        self.forget()

    def forget(self) -> None:
        self.lock, self.threads, self.executor = Lock(), 0, None

    def get(self, threads: int) -> ThreadPoolExecutor:
        with self.lock:
            if self.executor is None or self.threads < threads:
                self.threads, self.executor = threads, ThreadPoolExecutor(threads, "msg-kernels")
            return self.executor


_POOL = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.forget)


def over_rows(rows: int, kernel: Callable[[int, int], None], worth: int = _WORTH) -> None:
    """Call ``kernel(first, last)`` until every row was in one call, on ``torch.get_num_threads()`` threads, each of
    which has ``worth`` rows at least.
    """
    threads = min(torch.get_num_threads(), rows // worth)
    if threads <= 1:
        kernel(0, rows)
        return
    share = -(-rows // (threads * _SHARES))
    starts = iter(range(0, rows, share))

    def work() -> None:
        for start in starts:
            kernel(start, min(start + share, rows))

    # one iterator for all: next() of a range's is one step of the interpreter
    others = [_POOL.get(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for other in others:
            other.result()
