"""How the kernels are compiled by numba."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.extending import intrinsic, overload

_OPTIONS = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


def _digest() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_SOURCES = _digest()
"""Of all files of this folder as they are imported, whatever they become while the program runs."""


class _Cache(FunctionCache):
    """What was compiled before, of these sources: numba heeds the file of a function alone, and not those of what is
    compiled into it, so that a version of this library would run loops of the one before.
    """

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        return *super()._index_key(sig, codegen), _SOURCES


def compiled(function: Any) -> Any:
    """Compile at the first call, and keep the result on disk where there is a place for it."""
    kernel: Any = njit(**_OPTIONS)(function)
    with suppress(RuntimeError):  # neither the package's folder nor the user's cache can be written
        kernel._cache = _Cache(function)
    return kernel


def operation(function: Any) -> Any:
    """An operation that is written for LLVM itself."""
    return intrinsic(function)


def unrolled(function: Any) -> Any:
    """As :func:`operation`; integers in a call are known when it is compiled."""
    return intrinsic(prefer_literal=True)(function)


def inlined(function: Any) -> Any:
    """Compiled into the kernels that call it: what is done for one row costs no more than a call."""
    return _part_of_kernels(function, _OPTIONS)


def reordering(function: Any) -> Any:
    """Inlined, with sums taken in any order, which lets LLVM use vectors."""
    return _part_of_kernels(function, {"fastmath": {"reassoc", "contract", "nsz"}, **_OPTIONS})


def _part_of_kernels(function: Any, options: Any) -> Any:
    # what Python can call takes a quarter longer to compile, by two wrappers each; `unrolled` needs literals
    inside: Any = {"forceinline": True, **options}

    @overload(function, inside, strict=False, prefer_literal=True)
    def implementation(*_: Any) -> Any:
        return function

    return function


def prefetcher(builder) -> Any:
    """A function that asks for the memory at a pointer."""
    byte = ir.IntType(8).as_pointer()
    hint = ir.FunctionType(ir.VoidType(), [byte, *[ir.IntType(32)] * 3])
    function = cgutils.get_or_insert_function(builder.module, hint, "llvm.prefetch.p0i8")
    for_reading = [ir.Constant(ir.IntType(32), n) for n in (0, 3, 1)]
    return lambda pointer: builder.call(function, [builder.bitcast(pointer, byte), *for_reading])
