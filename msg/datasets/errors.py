"""What is said of a graph's files that cannot be used: one line that names the file, the fault and the mend."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from msg.report.text import one_line

MEND = "replace it by a sound copy (in a dataset root: delete it and load again, or import one)"
"""What to do about a damaged file of a known graph."""

_MENDS = {
    errno.ENOSPC: "free space on its disk, or give another folder",
    errno.EDQUOT: "free space on its disk, or give another folder",
    errno.EFBIG: "free space on its disk, or give another folder",
    errno.EROFS: "give a folder that you may write to",
    errno.EACCES: "ask for the right to it, or give another folder",
    errno.EPERM: "ask for the right to it, or give another folder",
    errno.ENOENT: "it vanished while it was used: bring it back and try again",
    errno.ESTALE: "it vanished while it was used: bring it back and try again",
    errno.EISDIR: "a file was expected there: move the folder away",
    errno.EEXIST: "a folder was expected there: move the file away",
    errno.ENOTDIR: "a folder was expected there: move the file away",
    errno.ENOTEMPTY: "a file was expected there: move the folder away",
    errno.ELOOP: "its links lead in a circle: replace them by the file",
}


class DatasetError(ValueError):
    """A graph's files are missing, damaged or not what its card says. The message names the file and the fix.

    It is one line of printable characters: line breaks and escape sequences that a file's name or content brings along
    are shown, not obeyed by the terminal.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))


def reason(error: BaseException, length: int = 200) -> str:
    """Return what an exception says on one line of at most ``length`` characters, or its type if it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else text[:length] + " ..."


def mend_of(error: BaseException, otherwise: str) -> str:
    """Return what to do about an error of the file system, or ``otherwise`` if it is none that is known."""
    return _MENDS.get(getattr(error, "errno", None) or 0, otherwise)


@contextlib.contextmanager
def file_errors(place: Path | str | None = None) -> Iterator[None]:
    """Turn what the system says of a file or folder into a :class:`DatasetError`.

    Args:
        place: What the message names; the file that the system names if ``None``.
    """
    try:
        yield
    except OSError as error:
        mend = mend_of(error, "check its disk and try again")
        where = place or error.filename or "a file of the graph"  # of a file that is open the system says no name
        raise DatasetError(f"{where}: {error.strerror or reason(error)}; {mend}") from error
