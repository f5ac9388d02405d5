"""Files that are whole whenever the program is killed, that say so themselves, and that execute nothing.

A file replaces another in one step. JSON and tensors carry a SHA-256 of their content, so that a single changed bit is
seen when they are read; what a file from a stranger could do besides (links, pickles, deep nesting) is refused.
"""

import hashlib
import io
import json
import math
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SEAL = "sha256"
"""Key of the digest in files of JSON and of tensors."""

_RATIO = 100
"""What a file holds may take so many times the file's own bytes. A tensor in it takes as many, more only where several
names share one; a file of a stranger can name one tensor a million times."""


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file in one step: killed at any time, the old content or the new one is there.

    Raises:
        OSError: naming the file and the mend; what was there stays.
    """
    # one fixed name, so that what a killed program leaves behind is replaced by the next write
    temporary = path.with_name(f".{path.name}.partial")
    with written(path):
        try:
            # removed, not opened: a link that stands there would lead the write elsewhere
            temporary.unlink(missing_ok=True)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Say of what the system refuses which file it is, why, and what can be done.

    Raises:
        OSError: with one line.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        mend = "bring its folder back" if isinstance(error, FileNotFoundError) else "make room"
        raise OSError(
            f"{path} cannot be written ({reason}): {mend} or choose another folder; what was there stays"
        ) from error


def refuse_links(folder: Path, names: Iterator[Path] | None = None) -> None:
    """Refuse a folder in which something would be read or written elsewhere, or wait for ever: a link, pipe or device.

    Raises:
        ValueError: naming the first.
    """
    for path in sorted(folder.iterdir()) if names is None else names:
        if path.is_symlink():
            raise ValueError(f"{path} is a link, and nothing is read or written through one: remove it")
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError(f"{path} is a pipe, socket or device, and nothing is read from one: remove it")


def read_bytes(path: Path, mend: str = "take another copy of it") -> bytes:
    """The content of a plain file. Anything else is refused before it is read: a pipe would never end.

    Raises:
        ValueError: if it is something else.
        OSError: if it cannot be read, naming the file and the mend.
    """
    try:
        # opening a pipe waits for its other end, unless told not to
        with os.fdopen(
            os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb"
        ) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read()
    except OSError as error:
        # a folder cannot be opened as a file
        if not path.is_dir():
            raise type(error)(f"{path} cannot be read ({error.strerror or error}): {mend}") from error
    raise ValueError(f"{path} is no plain file: remove it, or {mend}")


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """A file's content; what JSON cannot say, such as a number that is not finite, is a ``ValueError``."""
    return (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def sealed_json(value: Mapping[str, Any]) -> bytes:
    """The content of a file that is read again, with its seal."""
    return json_bytes({**value, SEAL: _json_digest(value)})


def read_json(path: Path) -> dict[str, Any]:
    """What :func:`sealed_json` made.

    Raises:
        ValueError: if it is something else, or was changed.
        OSError: if it cannot be read.
    """
    content = read_bytes(path)
    try:
        found = json.loads(content.decode("utf-8"))
        seal = found.pop(SEAL, None) if isinstance(found, dict) else None
        whole = seal == _json_digest(found)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: delete it, or take back what was changed") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} cannot be read, it is no object: delete it, or take back what was changed")
    if not whole:
        raise ValueError(f"{path} was changed after it was written: take that back, or delete the file")
    return found


def _json_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def torch_bytes(state: Mapping[str, Any]) -> bytes:
    """A file's content, with its seal: a dictionary of tensors and plain values."""
    state, buffer = _plain(state), io.BytesIO()
    torch.save({**state, SEAL: digest(state)}, buffer)
    return buffer.getvalue()


def read_tensors(path: Path, mend: str = "take another copy of it") -> dict[str, Any]:
    """What :func:`torch_bytes` made, on the CPU; nothing that it holds is executed.

    Raises:
        OSError: if the system refuses to read it, which does not make it damaged.
        ValueError: if it is something else, or was changed.
    """
    content = read_bytes(path, mend)
    try:
        _check_archive(content)
        state = dict(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))
        seal = state.pop(SEAL, None)
        whole = seal == digest(state, _RATIO * len(content))
    except Exception as error:  # unpickling can raise anything
        # without torch's own message, which advises to load it unsafely
        raise ValueError(f"{path} is damaged, or not a file of msg: {mend}") from error
    if not whole:
        raise ValueError(f"{path} was changed after it was written: {mend}")
    return _plain(state)


def _check_archive(content: bytes) -> None:
    """Refuse what torch would read, but never writes: its old formats, and members that are packed or overlap."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("it is packed")
    if sum(member.file_size for member in members) > len(content):
        raise ValueError("it unpacks to more than it is")


def _plain(value: Any) -> Any:
    """The same with nothing besides its content, which the seal covers: no attributes of mappings, and no gradients."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [_plain(part) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def digest(value: Any, most: float = math.inf) -> str:
    """SHA-256 of nested plain values and tensors.

    Args:
        value: the whole.
        most: bytes that it may take.

    Raises:
        ValueError: if it takes more.
    """
    whole = hashlib.sha256()
    for part in _parts(value, most):
        most -= len(part)
        if most < 0:
            raise ValueError("it holds more than it may")
        whole.update(part)
    return whole.hexdigest()


def _parts(value: Any, most: float) -> Iterator[Any]:
    """The content of nested plain values and tensors, unambiguous and in one order."""
    if isinstance(value, Tensor):
        if value.numel() * value.element_size() > most:  # one number can be said to be a large tensor
            raise ValueError("it holds more than it may")
        tensor = value.detach().cpu().contiguous()
        yield f"tensor {tensor.dtype} {tuple(tensor.shape)}\n".encode()
        yield tensor.reshape(-1).view(torch.uint8).numpy().data
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}\n".encode()
        for key in sorted(value, key=repr):
            yield f"{key!r}\n".encode()
            yield from _parts(value[key], most)
    elif isinstance(value, list | tuple):
        yield f"sequence {len(value)}\n".encode()
        for part in value:
            yield from _parts(part, most)
    elif value is None or isinstance(value, bool | int | float | str):
        yield f"{type(value).__name__} {value!r}\n".encode()
    else:  # what torch lets in besides, such as a neuron
        raise ValueError(f"it holds a {type(value).__name__}")


def check_finite(path: Path, tensors: Mapping[str, Any]) -> None:
    """Refuse weights that are not numbers.

    Raises:
        ValueError: naming the first.
    """
    name = not_finite(tensors)
    if name:
        raise ValueError(f"{path} holds weights that are not finite numbers ({name}): take another copy of it")


def not_finite(tensors: Mapping[Any, Any]) -> str:
    """Name of the first tensor that is not all numbers; empty if there is none."""
    for name, value in tensors.items():
        if isinstance(value, Mapping):
            if found := not_finite(value):
                return found
        elif isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            return str(name)
    return ""
