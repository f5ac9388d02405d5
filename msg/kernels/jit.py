"""How the kernels are compiled by numba."""

from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import cgutils
from numba.extending import intrinsic

_OPTIONS = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


def compiled(function: Any) -> Any:
    """Compile at the first call, and keep the result on disk where there is a place for it."""
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(**_OPTIONS)(function)


def operation(function: Any) -> Any:
    """An operation that is written for LLVM itself."""
    return intrinsic(function)


def unrolled(function: Any) -> Any:
    """As :func:`operation`; integers in a call are known when it is compiled."""
    return intrinsic(prefer_literal=True)(function)


def inlined(function: Any) -> Any:
    """Compiled into the kernels that call it: what is done for one row costs no more than a call."""
    return njit(forceinline=True, **_OPTIONS)(function)


def reordering(function: Any) -> Any:
    """Inlined, with sums taken in any order, which lets LLVM use vectors."""
    return njit(forceinline=True, fastmath={"reassoc", "contract", "nsz"}, **_OPTIONS)(function)


def prefetcher(builder) -> Any:
    """A function that asks for the memory at a pointer."""
    byte = ir.IntType(8).as_pointer()
    hint = ir.FunctionType(ir.VoidType(), [byte, *[ir.IntType(32)] * 3])
    function = cgutils.get_or_insert_function(builder.module, hint, "llvm.prefetch.p0i8")
    for_reading = [ir.Constant(ir.IntType(32), n) for n in (0, 3, 1)]
    return lambda pointer: builder.call(function, [builder.bitcast(pointer, byte), *for_reading])
