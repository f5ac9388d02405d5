"""Two processes that want one folder at once: one has it, the other says who; and the folder is as if it were alone."""

import collections
import re
import time

import pytest
from folders import COMMANDS, content

pytestmark = pytest.mark.reliability

TRIES = 20
# longer than anybody waits for a folder
ARGUMENTS = (*COMMANDS["train"], "--epochs", "60", "--seeds", "0-1")
IN_USE = re.compile(r"error: \S+ is in use by process (\d+) on \S+: wait until it ends, or choose another --out")


def outcome(both):
    """How two runs ended that were started at once."""
    winners = [run for run, ended in both if ended.code == 0]
    refused = [ended for _, ended in both if ended.code == 2]
    if len(winners) != 1 or len(refused) != 1:
        return str([ended for _, ended in both])
    said = IN_USE.fullmatch(refused[0].err.strip())
    if not said:
        return refused[0].err
    return "one wins" if int(said[1]) == winners[0].pid else "another is named"


def check(found):
    print(dict(found))
    assert found == {"one wins": TRIES, "different": 0, "lost": 0}, found


def together(forks, *arguments):
    runs = [forks.start(*arguments) for _ in range(2)]
    return [(run, run.wait()) for run in runs]


def test_a_new_folder(forks, tmp_path):
    assert forks.run(*ARGUMENTS, "--out", tmp_path / "whole").code == 0
    expected, found = content(tmp_path / "whole"), collections.Counter(different=0, lost=0)
    for number in range(TRIES):
        out = tmp_path / str(number)
        found[outcome(together(forks, *ARGUMENTS, "--out", out))] += 1
        found["different"] += content(out) != expected
    check(found)


def test_a_folder_to_go_on_with(forks, tmp_path):
    assert forks.run(*ARGUMENTS, "--out", tmp_path / "whole").code == 0
    expected, found = content(tmp_path / "whole"), collections.Counter(different=0, lost=0)
    for number in range(TRIES):
        out = tmp_path / str(number)
        begun = forks.start(*ARGUMENTS, "--out", out)
        while not (out / "history.csv").exists():
            time.sleep(0.005)
        # a killed process has nothing any more, and names nobody
        begun.kill()
        begun.wait()
        found["lost"] += not (out / "history.csv").exists()
        found[outcome(together(forks, "train", "--resume", out))] += 1
        found["different"] += content(out) != expected
    check(found)


def test_one_that_comes_in_the_middle(forks, tmp_path):
    assert forks.run(*ARGUMENTS, "--out", tmp_path / "whole").code == 0
    expected, found = content(tmp_path / "whole"), collections.Counter(different=0, lost=0)
    for number in range(TRIES):
        out = tmp_path / str(number)
        first = forks.start(*ARGUMENTS, "--out", out)
        while not (out / "config.json").exists():
            time.sleep(0.005)
        second = forks.start("train", "--resume", out) if number % 2 else forks.start(*ARGUMENTS, "--out", out)
        found[outcome([(run, run.wait()) for run in (first, second)])] += 1
        found["different"] += content(out) != expected
    check(found)
