"""A hundred kills at random moments, and one at every write: nothing is lost, and nothing comes out different."""

import collections
import itertools
import random
import signal
import time

import pytest
from folders import COMMANDS, GRAPH, LONGER, SHORTER, content, done

pytestmark = pytest.mark.reliability

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WORKERS = ("train", *GRAPH, "--timesteps", "3", "--epochs", "40", "--seeds", "0-1", "--workers", "2")
MEASURED = ("compare", *GRAPH, "--timesteps", "3", *SHORTER, "--rules", "dvm", "--workers", "2")
HARMLESS = ("interrupted", "interrupted; go on with: msg ")


def carry_on(forks, arguments, out):
    """Start the command, or go on with it where its folder says that it began, as its user would."""
    if not (out / "config.json").exists():
        return forks.start(*arguments, "--out", out)
    workers = [text for pair in itertools.pairwise(arguments) if pair[0] == "--workers" for text in pair]
    return forks.start(arguments[0], "--resume", out, *workers)


def outcome(ended, number):
    """How a run ended that was sent a signal; it may have been over before that came."""
    lines = ended.err.split("\n") if number == signal.SIGINT else []
    if ended.code == 0:
        return "over"
    if ended.code == -number or (ended.code == 130 and any(line.startswith(HARMLESS) for line in lines)):
        return f"untidy: {ended.err[-3000:]}" if "Traceback" in ended.err or "Exception" in ended.err else "killed"
    return f"status {ended.code}: {ended.err[-2000:]}"


def kill(forks, arguments, kills, folder, seed):
    """Kill a command again and again until it is over, and begin anew, until it was killed so often."""
    whole = forks.run(*arguments, "--out", folder / "whole")
    assert whole.code == 0, whole.err
    expected, found = content(folder / "whole"), collections.Counter(lost=0, different=0)
    draw, signals = random.Random(seed), itertools.cycle(SIGNALS)
    for number in itertools.count():
        out, kept, ended = folder / str(number), {}, None
        while ended is None or ended.code != 0:
            run, sent = carry_on(forks, arguments, out), next(signals)
            if found["killed"] < kills:
                time.sleep(draw.uniform(0, whole.seconds))
                # a terminal sends an interrupt to all processes of a command, a system kills one
                run.kill(sent, group=sent == signal.SIGINT)
            ended = run.wait()
            found[outcome(ended, sent)] += 1
            now = done(out)
            found["lost"] += any(now.get(name) != file for name, file in kept.items())
            kept = now
            assert ended.code in (0, 130) or ended.code < 0, (ended, found)
        found["different"] += content(out) != expected
        if found["killed"] >= kills:
            return found


def check(found, kills):
    print(dict(found))
    assert found["lost"] == found["different"] == 0, found
    assert set(found) == {"killed", "over", "lost", "different"}, found
    assert found["killed"] == kills


@pytest.mark.parametrize(("command", "kills"), [("train", 34), ("compare", 28), ("energy", 28)])
def test_kills_at_random_moments(forks, tmp_path, command, kills):
    check(kill(forks, (*COMMANDS[command], *LONGER), kills, tmp_path, 1), kills)


@pytest.mark.parametrize(("arguments", "kills"), [(WORKERS, 6), (MEASURED, 4)], ids=["train", "compare"])
def test_kills_at_random_moments_while_other_processes_work(forks, tmp_path, arguments, kills):
    check(kill(forks, arguments, kills, tmp_path, 2), kills)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_kill_at_every_write(forks, tmp_path, command):
    arguments = (*COMMANDS[command], *SHORTER)
    fault = {"folder": str(tmp_path / "whole")}
    calls = forks.run(*arguments, "--out", tmp_path / "whole", fault=fault).calls
    expected, found = content(tmp_path / "whole"), collections.Counter(lost=0, different=0)
    for number in range(1, len(calls) + 1):
        out = tmp_path / str(number)
        fault = {"folder": str(out), "number": number, "what": "kill"}
        ended = forks.run(*arguments, "--out", out, fault=fault)
        found[outcome(ended, signal.SIGKILL)] += 1
        kept = done(out)
        ended = carry_on(forks, arguments, out).wait()
        assert ended.code == 0, (calls[number - 1], ended)
        now = done(out)
        found["lost"] += any(now.get(name) != file for name, file in kept.items())
        found["different"] += content(out) != expected
    print(len(calls), dict(found))
    assert found == {"killed": len(calls), "lost": 0, "different": 0}, found
