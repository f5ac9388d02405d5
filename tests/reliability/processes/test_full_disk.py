"""Disks that are full, read-only or gone at each write: one line says so, what was there stays, and the run goes on."""

import collections
import shutil

import pytest
from folders import COMMANDS, SHORTER, content
from forks import snapshot
from test_kills import carry_on

pytestmark = pytest.mark.reliability

REASONS = {"ENOSPC": "No space left on device", "EROFS": "Read-only file system", "vanish": "No such file or directory"}
FINE = {"refused", "finished"}


def outcome(ended, out, reason):
    """How a run ended whose disk failed."""
    lines = ended.err.splitlines()
    # a search tells of its work there, too
    told = [line for line in lines if ", seed " not in line and not line.startswith("search in ")]
    if ended.code == 0 and not told:
        return "finished"
    if ended.code != 2 or len(told) != 1 or not told[0].startswith("error: "):
        return f"status {ended.code}: {ended.err[-2000:]}"
    # file, fault and mend
    if str(out) not in told[0] or reason not in told[0] or "choose another folder" not in told[0]:
        return f"unclear: {told[0].replace(str(out.parent), '')}"
    return "refused"


def check(found, tried):
    print(tried, dict(found))
    assert found["lost"] == found["different"] == 0, found
    assert set(found) <= {*FINE, "lost", "different"}, found
    assert found["refused"] + found["finished"] == tried


def calls_of(forks, arguments, out):
    ended = forks.run(*arguments, "--out", out, fault={"folder": str(out)})
    assert ended.code == 0, ended.err
    return ended.calls, content(out)


@pytest.mark.parametrize(
    ("command", "what", "stays"),
    [*((command, "ENOSPC", True) for command in COMMANDS), ("train", "ENOSPC", False), ("train", "EROFS", True)],
)
def test_a_disk_that_fails_at_each_call(forks, tmp_path, command, what, stays):
    arguments = (*COMMANDS[command], *SHORTER)
    calls, expected = calls_of(forks, arguments, tmp_path / "whole")
    # a full disk lets files go
    numbers = [number for number, call in enumerate(calls, 1) if what != "ENOSPC" or not call.startswith("unlink")]
    found = collections.Counter(lost=0, different=0)
    for number in numbers:
        out = tmp_path / f"run-{number}"
        fault = {"folder": str(out), "number": number, "what": what, "stays": stays}
        ended = forks.run(*arguments, "--out", out, fault=fault)
        now = outcome(ended, out, REASONS[what])
        found[now if now in FINE else f"{calls[number - 1].split()[0]}: {now}"] += 1
        found["lost"] += now == "refused" and snapshot(out) != ended.before
        ended = carry_on(forks, arguments, out).wait()
        assert ended.code == 0, (calls[number - 1], ended)
        found["different"] += content(out) != expected
        shutil.rmtree(out)
    check(found, len(numbers))


@pytest.mark.parametrize("command", ["train", "energy"])
def test_a_folder_that_vanishes_at_each_call(forks, tmp_path, command):
    arguments = (*COMMANDS[command], *SHORTER)
    calls, expected = calls_of(forks, arguments, tmp_path / "whole")
    found, begun = collections.Counter(lost=0, different=0), False
    numbers = [number for number, call in enumerate(calls, 1) if (begun := begun or call.startswith("replace"))]
    for number in numbers:
        out, away = tmp_path / f"run-{number}", tmp_path / f"run-{number}.away"
        ended = forks.run(*arguments, "--out", out, fault={"folder": str(out), "number": number, "what": "vanish"})
        now = outcome(ended, out, REASONS["vanish"])
        found[now if now in FINE else f"{calls[number - 1]}: {now}"] += 1
        found["lost"] += snapshot(away) != ended.before
        # nothing is begun where the folder was: it can be brought back, and the run goes on
        found["different"] += out.exists() and bool(snapshot(out))
        shutil.rmtree(out, ignore_errors=True)
        away.rename(out)
        ended = carry_on(forks, arguments, out).wait()
        assert ended.code == 0, (calls[number - 1], ended)
        found["different"] += content(out) != expected
        shutil.rmtree(out)
    check(found, len(numbers))
