"""Files that are whole whenever the program is killed, that say so themselves, and that execute nothing.

A file replaces another in one step. JSON and tensors carry a SHA-256 of their content, so that a single changed bit is
seen when they are read; what a file from a stranger could do besides (links, pickles, deep nesting) is refused.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SEAL = "sha256"
"""Key of the digest in files of JSON and of tensors."""


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
    """Refuse a folder in which a file or folder is a link, since it would be read or written elsewhere.

    Raises:
        ValueError: naming the first.
    """
    for path in sorted(folder.iterdir()) if names is None else names:
        if path.is_symlink():
            raise ValueError(f"{path} is a link, and nothing is read or written through one: remove it")


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
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: delete it, or take back what was changed") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} cannot be read: it is no object")
    seal = content.pop(SEAL, None)
    if seal != _json_digest(content):
        raise ValueError(f"{path} was changed after it was written: take that back, or delete the file")
    return content


def _json_digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def torch_bytes(state: Mapping[str, Any]) -> bytes:
    """A file's content, with its seal: a dictionary of tensors and plain values."""
    buffer = io.BytesIO()
    torch.save({**state, SEAL: _digest(dict(state))}, buffer)
    return buffer.getvalue()


def read_tensors(path: Path, mend: str = "take another copy of it") -> dict[str, Any]:
    """What :func:`torch_bytes` made, on the CPU; nothing that it holds is executed.

    Raises:
        OSError: if the system refuses to read it, which does not make it damaged.
        ValueError: if it is something else, or was changed.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        state = dict(torch.load(content, weights_only=True, map_location="cpu"))
        seal = state.pop(SEAL, None)
        whole = seal == _digest(state)
    except Exception as error:  # unpickling can raise anything
        # without torch's own message, which advises to load it unsafely
        raise ValueError(f"{path} is damaged, or not a file of msg: {mend}") from error
    if not whole:
        raise ValueError(f"{path} was changed after it was written: {mend}")
    return state


def _digest(value: Any) -> str:
    whole = hashlib.sha256()
    for part in _parts(value):
        whole.update(part)
    return whole.hexdigest()


def _parts(value: Any) -> Iterator[Any]:
    """The content of nested plain values and tensors, unambiguous and in one order."""
    if isinstance(value, Tensor):
        tensor = value.detach().cpu().contiguous()
        yield f"tensor {tensor.dtype} {tuple(tensor.shape)}\n".encode()
        yield tensor.reshape(-1).view(torch.uint8).numpy().data
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}\n".encode()
        for key in sorted(value, key=repr):
            yield f"{key!r}\n".encode()
            yield from _parts(value[key])
    elif isinstance(value, list | tuple):
        yield f"sequence {len(value)}\n".encode()
        for part in value:
            yield from _parts(part)
    else:
        yield f"{type(value).__name__} {value!r}\n".encode()


def check_finite(path: Path, state_dict: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not numbers.

    Raises:
        ValueError: naming the first.
    """
    for name, tensor in state_dict.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{path} holds weights that are not finite numbers ({name}): take another copy of it")
