"""Processes that do not outlive the one that started them; importing this needs no torch, so they know it at once."""

import ctypes
import multiprocessing
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's ``mallopt``."""


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that ended; call it first of all."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)  # the work may be in the middle of anything, and there is nobody to tell

    threading.Thread(target=wait, daemon=True).start()


def ignore_scripting() -> None:
    """Say nothing of what geoopt and PyG script as they are imported, which torch 2.15 warns of: a user of a command
    can do nothing about it. Call it before they are.
    """
    warnings.filterwarnings("ignore", message="`torch.jit", category=FutureWarning)


def keep_freed_memory(largest: int = 2**28) -> None:
    """Keep large blocks that are freed for the next ones, rather than have the system clear new pages for each.

    glibc hands a block of more than 32 MB back as soon as it is freed, so that every such tensor of every epoch begins
    with thousands of page faults: up to half of a training's time. Elsewhere nothing is done, nor where an environment
    variable says how glibc is to do it (``MALLOC_...``, ``GLIBC_TUNABLES``). It is for a process of one's own: nothing
    is given back to the system any more until that ends, and its peak of memory grows, by a tenth or two.

    Args:
        largest: bytes, below 2**31; larger blocks are handed back as before. Of very large ones a few that wait for
            another of their size would take more memory than their time is worth.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    try:
        library = ctypes.CDLL(None)
        known = hasattr(library, "gnu_get_libc_version")
    except (OSError, TypeError):  # no C library can be had so
        return
    # before glibc 2.35 no larger block than 32 MB can be kept; any setting at all ends glibc's own adaptation
    if known and (library.mallopt(_M_MMAP_THRESHOLD, largest) or library.mallopt(_M_MMAP_THRESHOLD, 2**25)):
        library.mallopt(_M_TRIM_THRESHOLD, -1)


def wait_asleep() -> None:
    """Let the threads that torch computes with sleep soon after its operations: ``GOMP_SPINCOUNT=3000``.

    By default they wait by spinning, a hundred times as long, on processors that others could use: beside one process
    that computes, on two processors, a training then takes six times as long. It is for a process of one's own, and
    those that it starts, before torch is imported; a variable of the user's (``GOMP_SPINCOUNT``, ``OMP_WAIT_POLICY``,
    ``KMP_BLOCKTIME``) stays as it is. OpenMP that is not GNU's takes no notice.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "3000"


def start(function: Callable[..., object], *arguments: Any, connection: Connection) -> SpawnProcess:
    """Start a process that does some work, ends with this one, and leaves interrupts to it.

    Args:
        function: to call as ``function(connection, *arguments)``, at the top level of a module.
        arguments: picklable.
        connection: its end of a pipe, closed here.
    """
    # packed, so that nothing is imported before the process watches this one: torch takes seconds
    work = pickle.dumps((function, arguments))
    process = multiprocessing.get_context("spawn").Process(target=_begin, args=(work, connection))
    with _no_interrupt():
        process.start()
    connection.close()
    return process


def _begin(work: bytes, connection: Connection) -> None:
    end_with_parent()
    ignore_scripting()  # the process that started this one has said it, or keeps it to itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    function, arguments = pickle.loads(work)
    function(connection, *arguments)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Hold interrupts back, here for a moment, and in a process that starts now until it says what they mean to it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # made with the first process, and changes the mask itself
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
