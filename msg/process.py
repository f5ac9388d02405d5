"""Processes that do not outlive the one that started them; importing this needs no torch, so they know it at once."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from typing import Any


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that ended; call it first of all."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)  # the work may be in the middle of anything, and there is nobody to tell

    threading.Thread(target=wait, daemon=True).start()


def packed(function: Callable[..., object], *arguments: Any) -> bytes:
    """What :func:`begin` needs, with nothing in it that is imported before it is opened."""
    return pickle.dumps((function, arguments))


def begin(work: bytes, *first: Any) -> None:
    """Do some work in a process of its own: the target of that process.

    Importing what the work needs takes seconds. If the parent goes in the meantime, this process goes too; an interrupt
    is for the parent.

    Args:
        work: from :func:`packed`.
        first: arguments before those of the work, such as connections, which only a process that starts can be given.
    """
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    function, arguments = pickle.loads(work)
    function(*first, *arguments)
