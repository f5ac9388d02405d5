"""Packed files of strangers: nothing in them is unpickled, and they say what they unpack to before memory is taken."""

import contextlib
import gzip
import io
import math
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from msg.datasets.errors import DatasetError

MAX_BYTES = 2**31
"""A packed file may unpack to so many bytes, or to a hundred times its own size where that is more."""

_RATIO = 100
_CHUNK = 2**20
_END = struct.Struct("<4s4H2LH")  # a zip's last record; its fifth field counts the members
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def _limit(file: Any, max_bytes: int) -> int:
    return max(max_bytes, _RATIO * os.fstat(file.fileno()).st_size)


def too_large(path: Path, size: str, limit: int) -> DatasetError:
    """The error for a file that unpacks to more than it may."""
    return DatasetError(
        f"{path} unpacks to {size}, more than {limit:,} bytes: fetch a sound copy; a .npz of your own that you trust "
        "can be packed less (np.savez, not np.savez_compressed), or load_graph be given a larger max_bytes"
    )


class Arrays:
    """The arrays of an open ``.npz``, by name. Reading one checks its header, its size and its check sum.

    Args:
        archive: The open archive.
        path: Its file, for messages.
        limit: How many bytes an array may have, each element counted as four or more: it becomes that at least.
    """

    def __init__(self, archive: zipfile.ZipFile, path: Path, limit: int):
        self._archive, self._path, self._limit = archive, path, limit
        self._names = set(archive.namelist())

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._names

    def __getitem__(self, name: str) -> np.ndarray:
        with self._open(name, self._limit) as (member, shape, by_columns, dtype):
            # the array's own memory, so that it is never held twice
            content = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
            _fill(content.data, member, name)
        return content.view(dtype).reshape(shape, order="F" if by_columns else "C")

    def stream(self, name: str, rows: int, outer: int | None = None) -> Iterator[np.ndarray]:
        """Read an array part by part, whatever its size.

        Args:
            name: Of the array, of numbers, stored row by row.
            rows: How many of the first dimension a part has; the last may have fewer.
            outer: Which of the first dimension to take; then ``rows`` counts the second.
        """
        with self._open(name) as (member, shape, by_columns, dtype):
            if by_columns or (outer is not None and len(shape) < 2):
                raise ValueError(f"{name} of shape {shape} is not stored row by row")
            if outer is not None:
                shape = shape[1:]
                _skip(member, outer * math.prod(shape) * dtype.itemsize, name)
            for start in range(0, shape[0], rows):
                part = (min(rows, shape[0] - start), *shape[1:])
                content = np.empty(math.prod(part) * dtype.itemsize, np.uint8)
                _fill(content.data, member, name)
                yield content.view(dtype).reshape(part)

    @contextlib.contextmanager
    def _open(self, name: str, limit: float = math.inf) -> Iterator[tuple[Any, tuple[int, ...], bool, np.dtype]]:
        """The content of an array, after its header was checked; its shape, order and type."""
        if name not in self:
            found = sorted(name.removesuffix(".npy") for name in self._names)
            raise KeyError(f"no array {name} among {found[:10]}")
        info = self._archive.getinfo(f"{name}.npy")
        with self._archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            if version not in _HEADERS:
                raise ValueError(f"{name} is an array of the unknown version {version}")
            shape, by_columns, dtype = _HEADERS[version](member)
            if dtype.hasobject:
                raise ValueError(f"{name} holds Python objects, which are never unpickled (allow_pickle=False)")
            if math.prod(shape) * 4 > limit:
                raise too_large(self._path, f"{math.prod(shape):,} numbers ({name})", int(limit))
            size = math.prod(shape) * dtype.itemsize
            if min(shape, default=0) < 0 or size != info.file_size - member.tell():
                raise ValueError(f"{name} has not the {size:,} bytes of its shape {shape} and type {dtype}")
            yield member, shape, by_columns, dtype

    def damaged(self) -> str | None:
        """Return the name of a member, of any kind, that fails its check sum, or ``None``."""
        return self._archive.testzip()


def _fill(free: memoryview, member: Any, name: str) -> None:
    while free:
        count = member.readinto(free[:_CHUNK])
        if not count:
            raise EOFError(f"{name} ends too early")
        free = free[count:]


def _skip(member: Any, size: int, name: str) -> None:
    while size:
        count = len(member.read(min(size, _CHUNK)))
        if not count:
            raise EOFError(f"{name} ends too early")
        size -= count


@contextlib.contextmanager
def open_npz(path: Path, max_bytes: int = MAX_BYTES) -> Iterator[Arrays]:
    """Open a ``.npz`` that unpacks to no more than it may.

    Args:
        path: The file.
        max_bytes: See :data:`MAX_BYTES`.

    Raises:
        DatasetError: If it unpacks to more.
        zipfile.BadZipFile: If it is no archive, or its directory lists fewer members than it says: a damaged length in
            one entry can swallow those that follow, and a graph would silently lose its masks.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        listed = _number_of_members(file, archive)
        if listed != len(archive.infolist()):
            raise zipfile.BadZipFile(f"its directory has {len(archive.infolist())} of {listed} members")
        size, limit = sum(member.file_size for member in archive.infolist()), _limit(file, max_bytes)
        if size > limit:
            raise too_large(path, f"{size:,} bytes", limit)
        yield Arrays(archive, path, limit)


def _number_of_members(file: Any, archive: zipfile.ZipFile) -> int:
    file.seek(-_END.size - len(archive.comment), os.SEEK_END)
    return _END.unpack(file.read(_END.size))[4]


class _Bounded(io.RawIOBase):
    def __init__(self, file: gzip.GzipFile, path: Path, limit: int):
        self._file, self._path, self._limit, self._left = file, path, limit, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise too_large(self._path, "too much", self._limit)
        return count


@contextlib.contextmanager
def open_gzip(path: Path, max_bytes: int = MAX_BYTES) -> Iterator[io.BufferedReader]:
    """Open a ``.gz`` to be read to its end, where its check sum is compared.

    Args:
        path: The file.
        max_bytes: See :data:`MAX_BYTES`.

    Raises:
        DatasetError: Once it has unpacked to more.
    """
    with path.open("rb") as packed, gzip.open(packed) as file:
        yield io.BufferedReader(_Bounded(file, path, _limit(packed, max_bytes)))
