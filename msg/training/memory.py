"""Peak memory of some work, measured in a process of its own, where nothing else has raised the peak before."""

import multiprocessing
import pickle
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from msg.process import start

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MB = 2**20


def peak_memory(
    begin: Callable[..., Callable[[], Any]], *arguments: Any, times: int = 10, device: str = "cpu"
) -> float | None:
    """Peak memory of some work in a fresh process, in MB (2**20 bytes) above what the process held before it.

    ``work = begin(*arguments)`` prepares it, which does not count; ``work()`` is then called ``times`` times. On a CPU
    it is the peak resident set, which Linux alone can measure anew; on a GPU what torch allocated there.

    Args:
        begin: a function at the top level of a module, since the other process imports it.
        arguments: for it, picklable.
        times: number of calls.
        device: where the work's tensors are.

    Returns:
        The peak, or ``None`` where the system does not report it.

    Raises:
        MemoryError: if the other process was killed, as by a system that is short of memory.
        RuntimeError: if it ended otherwise before it had measured, as where it cannot import ``begin``; or, in place of
            an error that cannot be sent, with its traceback.
        Exception: what ``begin`` or the work raised.
    """
    if torch.device(device).type == "cpu" and not _reported():
        return None
    connection, other = multiprocessing.Pipe()
    process = start(_tell, begin, arguments, times, device, connection=other)
    try:
        peak, error = connection.recv()
    except (EOFError, ConnectionError) as gone:
        process.join()
        if process.exitcode is not None and process.exitcode < 0:  # by a signal
            raise MemoryError("the process that measured memory was killed: there may be too little of it") from gone
        raise RuntimeError(
            f"the process that measured memory ended with code {process.exitcode}; what it said of that is on standard "
            "error. It has to import begin, which a notebook or python -c cannot give: write it in a module"
        ) from gone
    finally:
        process.terminate()  # by an interrupt it is in the middle of its work
        process.join()
        connection.close()
    if error is not None:
        raise error
    return peak


def _tell(connection: Connection, *arguments: Any) -> None:
    """Measure, and send the peak or an error."""
    try:
        told = _measure(*arguments), None
    except Exception as error:
        told = None, error
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # it holds what no other process can have, or cannot be made again
            told = None, RuntimeError("".join(traceback.format_exception(error)))
    connection.send(told)


def _measure(begin: Callable[..., Callable[[], Any]], arguments: tuple, times: int, device: str) -> float:
    work = begin(*arguments)
    if torch.device(device).type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        before = _status()["VmRSS"]
        _CLEAR.write_text("5")  # forget the peak of preparing
    for _ in range(times):
        work()
    peak = torch.cuda.max_memory_allocated(device) if torch.device(device).type == "cuda" else _status()["VmHWM"]
    return (peak - before) / _MB


def _status() -> dict[str, int]:
    """Sizes in this process's memory status, in bytes."""
    lines = (line.split() for line in _STATUS.read_text().splitlines())
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[-1] == "kB"}


def _reported() -> bool:
    """Whether this system has a peak resident set that can be reset."""
    try:
        _CLEAR.write_text("5")
        return {"VmRSS", "VmHWM"} <= _status().keys()
    except OSError:
        return False
