"""Runs of ``msg ARGUMENTS`` that start at once: a process imports all that the commands need, and forks for each.

What a fork does from then on is what ``python -m msg`` does, but for the seconds of importing, in which nothing is
touched. On request its disk fails, or the process is killed, at the n-th call that touches its folder.
"""

import atexit
import contextlib
import errno
import gc
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

CALLS = ("mkdir", "open", "write", "fsync", "replace", "unlink")
"""What a run does to its folder: all of it can be made to fail."""
_READ_ONLY = errno.EROFS


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        code: its status, negative for a signal.
        out: what it printed.
        err: the same to the standard error.
        seconds: how long it took.
        calls: what it did to its folder, in order, as ``"write jobs/msg-0.json"``, if it was asked to tell.
        before: files and digests at the moment of the fault, if there was one.
    """

    code: int
    out: str
    err: str
    seconds: float
    calls: tuple[str, ...] = ()
    before: dict[str, str] | None = None


class Forks:
    """The process that forks, as the tests see it.

    Args:
        scratch: a folder for what the runs print.
        within: a command that runs the process, such as one that gives it a file system of its own.
    """

    def __init__(self, scratch: Path, within: tuple[str, ...] = ()):
        self.scratch, self.number = scratch, 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        with (scratch / "server").open("w") as log:
            self.process = subprocess.Popen(
                [*within, sys.executable, __file__],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._ask({"do": "hello"}) == "ready"

    def _ask(self, order):
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, (self.scratch / "server").read_text()
        return json.loads(line)

    def start(self, *arguments, fault=None) -> "Run":
        """Start ``msg ARGUMENTS``, in a group of its own, as a shell does.

        Args:
            arguments: of the command.
            fault: ``folder``; ``number`` of the call that fails, from 1; ``what`` happens then: the name of an error,
                ``"kill"``, or ``"vanish"``, which moves the folder away; and whether it ``stays`` so. Without a number
                all calls are told, and none fails.
        """
        self.number += 1
        stem = str(self.scratch / str(self.number))
        pid = self._ask({"do": "start", "arguments": [str(one) for one in arguments], "stem": stem, "fault": fault})
        return Run(self, pid, stem)

    def run(self, *arguments, fault=None) -> Ended:
        """The same, until it ends."""
        return self.start(*arguments, fault=fault).wait()

    def do(self, order):
        """Run a shell command where the runs run, and return its status."""
        return self._ask({"do": "shell", "command": order})

    def stop(self):
        """End the process."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class Run:
    """A run that goes on."""

    def __init__(self, forks, pid, stem):
        self.forks, self.pid, self.stem = forks, pid, stem

    def kill(self, number=signal.SIGKILL, group=False):
        """Send a signal: to the process, or to its group, as a terminal does. One that is over takes no harm."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def wait(self) -> Ended:
        """Until it ends; a run that hangs is killed."""
        code, seconds = self.forks._ask({"do": "wait", "pid": self.pid})
        told = [Path(f"{self.stem}.{part}") for part in ("out", "err", "calls", "before")]
        out, err, calls, before = (path.read_text() if path.exists() else "" for path in told)
        return Ended(code, out, err, seconds, tuple(calls.splitlines()), json.loads(before) if before else None)


def snapshot(folder: Path) -> dict[str, str]:
    """Files below a folder with their digests, without what only a living process keeps there."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", ".owner") and not path.name.endswith(".partial")
    }


class _Fault:
    """Counts what is done to a folder, in this process, and lets one of it fail."""

    def __init__(self, stem, folder, number=None, what="", stays=False):
        self.folder, self.number, self.what, self.stays, self.stem = folder, number, what, stays, stem
        self.names = {}
        self.count = 0
        self.failing = False
        self.calls = os.open(f"{stem}.calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.real = {name: getattr(os, name) for name in ("mkdir", "open", "fsync", "replace", "unlink", "write")}
        for name in ("mkdir", "replace", "unlink"):
            setattr(os, name, self._of_a_path(name))
        os.open, os.fsync, os.fdopen = self._open, self._fsync, self._fdopen

    def _of_a_path(self, call):
        def act(path, *arguments, **options):
            self.touch(call, path)
            return self.real[call](path, *arguments, **options)

        return act

    def _open(self, path, flags, *arguments, **options):
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            self.touch("open", path)
        fd = self.real["open"](path, flags, *arguments, **options)
        self.names[fd] = path
        return fd

    def _fsync(self, fd):
        self.touch("fsync", self.names.get(fd, ""))
        return self.real["fsync"](fd)

    def _fdopen(self, fd, mode="r", *_, **__):
        fault = self

        class Raw(io.FileIO):
            def write(self, content):
                with memoryview(content) as view:
                    if len(view) > 1:  # a disk that fills up takes the first part
                        super().write(view[: len(view) // 2])
                        fault.touch("write", fault.names.get(fd, ""))
                        super().write(view[len(view) // 2 :])
                    return len(view)

        return io.BufferedWriter(Raw(fd, mode.replace("b", "")))

    def touch(self, call, path):
        path = os.path.abspath(path) if path else ""
        if path != self.folder and not path.startswith(self.folder + os.sep):
            return
        self.count += 1
        self.real["write"](self.calls, f"{call} {os.path.relpath(path, self.folder)}\n".encode())
        if self.count == self.number:
            self._begin(path)
        # a full disk still lets files go
        if self.failing and (self.what == "EROFS" or call != "unlink" or self.count == self.number):
            self.failing = self.stays
            number = getattr(errno, self.what)
            raise OSError(number, os.strerror(number), path)

    def _begin(self, path):
        with open(f"{self.stem}.before", "w") as file:
            json.dump(snapshot(Path(self.folder)), file)
        if self.what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.what == "vanish":
            os.rename(self.folder, self.folder + ".away")
        else:
            self.failing = True


def _serve():
    import matplotlib.pyplot
    import sklearn.datasets

    from msg.names import CONVS, GRADIENTS, JOBS, MODELS, NEURONS, STUDIES, SURROGATES
    from msg.report.figures import to_png

    for registry in (CONVS, GRADIENTS, JOBS, MODELS, NEURONS, STUDIES, SURROGATES):
        for name in registry:
            registry[name]
    to_png(matplotlib.pyplot.figure())
    sklearn.datasets.load_digits()
    started = {}
    gc.collect()
    gc.freeze()  # what the forks share is not copied by their collections
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "start":
            # an interrupt waits until there is a command that answers it
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            pid = os.fork()
            if pid == 0:
                _become(order)
                return order["arguments"]
            started[pid] = time.monotonic()
            answer = pid
        elif order["do"] == "wait":
            answer = _wait(order["pid"], started.pop(order["pid"]))
        elif order["do"] == "shell":
            answer = os.waitstatus_to_exitcode(os.system(order["command"]))
        else:
            answer = "ready"
        print(json.dumps(answer), flush=True)
    return None


def _wait(pid, began, limit=120):
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), time.monotonic() - began
        if time.monotonic() - began > limit:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _become(order):
    """Be a process of its own, that reads nothing and prints to files."""
    os.setpgid(0, 0)
    names = {0: os.devnull, 1: order["stem"] + ".out", 2: order["stem"] + ".err"}
    for fd, name in names.items():
        new = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        os.dup2(new, fd)
        os.close(new)
    if order["fault"]:
        _Fault(order["stem"], **order["fault"])


def _end(arguments):
    """Do the command and end as an interpreter does, but for freeing every object that was ever imported."""
    from msg.cli import main

    code, begun = 0, False
    # a shell without jobs lets what runs in the background ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        begun = True
        main(arguments)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except SystemExit as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = error.code
    except BaseException as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if begun or not isinstance(error, KeyboardInterrupt):
            traceback.print_exc()
            code = 1
        else:  # it came before the command began
            print("interrupted", file=sys.stderr)
            code = 130
    threading._shutdown()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError as error:
        print(f"Exception ignored: {error}", file=sys.stderr)
        code = 120
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    given = _serve()
    if given is not None:
        _end(given)
