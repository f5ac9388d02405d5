import errno
import os
from pathlib import Path

import pytest

from msg.datasets import DatasetError
from msg.datasets.errors import file_errors, reason


def test_messages_are_one_printable_line():
    error = DatasetError("a\x1b[31m\nb\r\x07\x9b\u202e\udcff é 数")
    assert str(error) == "a\\x1b[31m\\nb\\r\\x07\\x9b\\u202e\\udcff é 数"
    assert isinstance(error, ValueError)
    assert str(DatasetError("plain text, as it is: ±½")) == "plain text, as it is: ±½"


def test_reason_is_short_and_never_empty():
    assert reason(ValueError("a\n\n  b")) == "a b"
    assert reason(MemoryError()) == "MemoryError"
    assert len(reason(ValueError("x" * 10_000))) < 250


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        (errno.ENOSPC, "No space left on device; free space"),
        (errno.EROFS, "Read-only file system; give a folder that you may write to"),
        (errno.EACCES, "Permission denied; ask for the right to it"),
        (errno.ENOENT, "No such file or directory; it vanished"),
        (errno.EIO, "Input/output error; check its disk"),
    ],
)
def test_file_fault_and_mend(code, mend):
    def fail():
        raise OSError(code, os.strerror(code), "theirs")

    with pytest.raises(DatasetError, match=f"^theirs: {mend}"), file_errors():
        fail()
    with pytest.raises(DatasetError, match=f"^ours: {mend}"), file_errors(Path("ours")):
        fail()


def test_a_file_that_the_system_does_not_name():
    with pytest.raises(DatasetError, match=r"^a file of the graph: Input/output error"), file_errors():
        raise OSError(errno.EIO, os.strerror(errno.EIO))
