"""A thousand flipped bits in each kind of file of a run folder: refused, or the same; never another run, or a crash."""

import collections
import random
from pathlib import Path

import pytest
from received import KINDS, check, content, copy, equal, is_read, make, outcome, readers

pytestmark = [pytest.mark.reliability, pytest.mark.usefixtures("one_thread")]

FLIPS, FLIPS_UNREAD, CUTS = 1000, 100, 50
FILES = [(kind, name) for kind, names in KINDS.items() for name in names]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One folder of each kind, and what is read of it."""
    parent = tmp_path_factory.mktemp("received")
    made = {kind: make(kind, parent / kind) for kind in KINDS}
    return {kind: (folder, {of: read() for of, read in readers(kind, folder).items()}) for kind, folder in made.items()}


def flipped(sound: bytes, count: int) -> list[bytes]:
    """The content with one bit flipped each, half of them in the first and last 512 bytes, an archive's records."""
    draw, size, found = random.Random(0), len(sound), []
    edges = [*range(min(512, size)), *range(max(0, size - 512), size)]
    for number in range(count):
        changed = bytearray(sound)
        changed[draw.choice(edges) if number % 2 else draw.randrange(size)] ^= 1 << draw.randrange(8)
        found.append(bytes(changed))
    return found


def damaged(sound: bytes) -> list[bytes]:
    """The content cut at fifty lengths, nothing at all, and with something appended."""
    cuts = [sound[: len(sound) * number // CUTS] for number in range(CUTS)]
    return [*cuts, sound[:-1], sound + b"\0", sound + b"}", sound + sound]


def outcomes(kind: str, folder: Path, name: str, sound: dict, changes: list[bytes]) -> collections.Counter:
    """What every reader did with each change of a file, which is as before afterwards."""
    path, found = folder / name, collections.Counter()
    before = path.read_bytes()
    for changed in changes:
        path.write_bytes(changed)
        told = [outcome(read, sound[of], name) for of, read in readers(kind, folder).items()]
        # a reader that does not read this file says "same"; what counts is the worst that any of them did
        found[max(told, key=lambda one: {"same": 0, "refused": 1}.get(one, 2))] += 1
    path.write_bytes(before)
    return found


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_flips(folders, kind, name):
    folder, sound = folders[kind]
    count = FLIPS if is_read(kind, name) else FLIPS_UNREAD
    found = outcomes(kind, folder, name, sound, flipped((folder / name).read_bytes(), count))
    check(found, count, FLIPS // 2 if is_read(kind, name) else 0)


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_cut_off_and_appended(folders, kind, name):
    folder, sound = folders[kind]
    changes = damaged((folder / name).read_bytes())
    found = outcomes(kind, folder, name, sound, changes)
    check(found, len(changes), CUTS if is_read(kind, name) else 0)


def test_reading_changes_nothing(folders, tmp_path):
    """Nor do the thousands above leave anything behind."""
    for kind, (folder, sound) in folders.items():
        again = copy(folder, tmp_path / "copy")
        before = content(again)
        assert all(equal(read(), sound[of]) for of, read in readers(kind, again).items())
        assert content(again) == before
