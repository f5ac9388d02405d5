import os
import signal

import pytest

from msg.experiments import Progress
from msg.experiments.at_once import at_once

pytestmark = pytest.mark.slow  # each process imports torch


def _squares(offset):
    def do(task, progress):
        if task == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        progress.note(f"at {task}")
        if task < 0:
            raise ValueError("no root")
        return task**2 + offset

    return do


class Notes(Progress):
    def __init__(self):
        self.lines = []

    def note(self, line):
        self.lines.append(line)


def work(workers, tasks, told):
    waiting = list(tasks)
    return at_once(workers, _squares, (1,), lambda: waiting.pop(0) if waiting else None, told)


def test_a_killed_process_is_told_and_another_goes_on():
    told = Notes()
    (first, lost), (second, found) = work(1, ["killed", 3], told)
    assert (first, type(lost)) == ("killed", MemoryError)
    assert "killed: there may be too little memory" in str(lost)
    assert (second, found) == (3, 10)
    assert told.lines == ["at 3"]


def test_what_a_task_raises_ends_all():
    with pytest.raises(ValueError, match="no root"):
        list(work(2, [2, -1, 5, 7, 9, 11], Notes()))


def test_a_task_can_wait_for_another():
    order, ready = [], ["first"]
    tasks = {"first": 1, "then": 2}

    def following():
        return tasks[ready.pop()] if ready else None

    for task, found in at_once(2, _squares, (0,), following, Progress()):
        order.append((task, found))
        if task == 1:
            ready.append("then")
    assert order == [(1, 1), (2, 4)]
