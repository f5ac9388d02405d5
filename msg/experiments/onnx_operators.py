"""A program of torch as ONNX, in operators that onnxruntime has for float64 too.

Geometry is computed in float64, for which onnxruntime has no hyperbolic and inverse functions, and torch's translation
rounds numbers of a formula to float32. Both are mended before the translation: functions are spelt out in exponentials,
logarithms and roots, accurate to a few units in the last place, and numbers become tensors of float64.
"""

import importlib
import io
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from msg.report.text import first_line

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def _log1p(y: Tensor) -> Tensor:
    # Kahan: what is lost in 1 + y is lost in (1 + y) - 1 as well
    u = 1 + y
    same = u == 1
    return torch.where(same, y, y * u.log() / torch.where(same, 1.0, u - 1))


def _expm1(y: Tensor) -> Tensor:
    u = y.exp()
    same = u == 1
    return torch.where(same, y, (u - 1) * y / torch.where(same, 1.0, u.log()))


def _sinh(x: Tensor) -> Tensor:
    grown = _expm1(x.abs())
    return x.sign() * (grown + grown / (grown + 1)) / 2


def _cosh(x: Tensor) -> Tensor:
    return (x.exp() + (-x).exp()) / 2


def _asinh(x: Tensor) -> Tensor:
    size = x.abs()
    return x.sign() * _log1p(size + size * size / (1 + (size * size + 1).sqrt()))


def _acosh(x: Tensor) -> Tensor:
    return _log1p((x - 1) + ((x - 1) * (x + 1)).sqrt())


def _atanh(x: Tensor) -> Tensor:
    return _log1p(2 * x / (1 - x)) / 2


def _atan(x: Tensor) -> Tensor:
    size = x.abs()
    far = size > 1
    t = torch.where(far, 1 / torch.where(far, size, 1.0), size)
    y = t.float().atan().double()
    y = y - (y.sin() - t * y.cos()) * y.cos()  # a step of Newton's squares the error of float32
    return x.sign() * torch.where(far, math.pi / 2 - y, y)


def _atan2(y: Tensor, x: Tensor) -> Tensor:
    # tan of half the angle; of its two forms that which subtracts nothing
    length = (x * x + y * y).sqrt()
    right, flat = x > 0, y == 0
    above, below = torch.where(right, y, length - x), torch.where(right, length + x, torch.where(flat, 1.0, y))
    left = torch.where(x < 0, math.pi, 0.0)
    return torch.where(flat & ~right, left, 2 * _atan(above / below))


def _tan(x: Tensor) -> Tensor:
    return x.sin() / x.cos()


FUNCTIONS = {
    "sinh": _sinh,
    "cosh": _cosh,
    "asinh": _asinh,
    "acosh": _acosh,
    "atanh": _atanh,
    "atan": _atan,
    "tan": _tan,
}
"""What is spelt out, by its name in torch."""


def _wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """Applied to float64 alone."""

    def apply(x: Any, *others: Any, **options: Any) -> Any:
        if not isinstance(x, Tensor) or x.dtype != torch.float64:
            return NotImplemented
        return function(x, *others, **options)

    return apply


def _number(number: float) -> Tensor:
    """A number of a formula in float64, made of such as the translation, which rounds to float32, leaves alone."""
    mantissa, exponent = math.frexp(number)
    high = math.trunc(mantissa * 2**24) / 2**24 if math.isfinite(number) else mantissa
    if high == mantissa and abs(exponent) < 100:
        return torch.full((), number, dtype=torch.float64)
    middle = math.trunc((mantissa - high) * 2**48) / 2**48
    power = math.copysign(100, exponent)  # those of float32 end at 127
    factors = [2.0**power] * (abs(exponent) // 100) + [2.0 ** math.fmod(exponent, 100)]
    parts, scales = (
        [torch.full((), n, dtype=torch.float64) for n in numbers]
        for numbers in ((high, middle, mantissa - high - middle), factors)
    )
    return math.prod(scales, start=parts[0] + parts[1] + parts[2])


def _clamp(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    # not minimum and maximum, which ONNX's optimizer joins into what onnxruntime refuses
    if low is not None:
        least = _number(low)
        x = torch.where(x < least, least, x)
    if high is not None:
        most = _number(high)
        x = torch.where(x > most, most, x)
    return x


def _by_number(operator: Any) -> Callable[..., Any]:
    def apply(x: Tensor, number: Any, **options: Any) -> Any:
        return operator(x, _number(number), **options) if isinstance(number, float) else NotImplemented

    return apply


def _where(condition: Tensor, one: Any, other: Any) -> Any:
    pair = [value if isinstance(value, Tensor) else _number(float(value)) for value in (one, other)]
    return torch.where(condition, *pair) if {each.dtype for each in pair} == {torch.float64} else NotImplemented


def _decompositions() -> dict[Any, Callable[..., Any]]:
    aten: Any = torch.ops.aten
    found = {getattr(aten, name).default: _wide(function) for name, function in FUNCTIONS.items()}
    found[aten.atan2.default] = _wide(_atan2)
    found[aten.clamp.default] = _wide(_clamp)
    found[aten.where.ScalarSelf] = found[aten.where.ScalarOther] = _where
    for operator in (aten.mul.Tensor, aten.add.Tensor, aten.sub.Tensor, aten.div.Tensor):
        found[operator] = _wide(_by_number(operator))
    found[aten.rsub.Scalar] = _wide(_by_number(lambda x, number: number - x))
    for compare in (aten.lt, aten.le, aten.gt, aten.ge):
        found[compare.Scalar] = _wide(_by_number(compare.Tensor))
    return found


def to_onnx(program: ExportedProgram) -> tuple[bytes, Callable[..., Tensor]]:
    """A program as ONNX, and what onnxruntime makes of it on a CPU.

    Raises:
        ImportError: where a package is not installed.
        ValueError: naming the operator that ONNX or onnxruntime lacks.
    """
    packages: dict[str, Any] = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.import_module(name)
        except ImportError as error:
            raise ImportError(f'ONNX needs {name}: pip install "msg-graph[onnx]"') from error
    onnxruntime = packages["onnxruntime"]
    program = program.run_decompositions(_decompositions())
    try:
        found: Any = torch.onnx.export(program, dynamo=True, verbose=False)
    except Exception as error:
        raise ValueError(f"torch.onnx has no translation: {_innermost(error)}; use --format pt2") from error
    content = io.BytesIO()
    found.save(content)
    try:
        session = onnxruntime.InferenceSession(content.getvalue(), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"onnxruntime cannot run it: {_innermost(error)}; use --format pt2") from error
    names = [one.name for one in session.get_inputs()]

    def ask(*given: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: one.numpy() for name, one in zip(names, given)})[0])

    return content.getvalue(), ask


def _innermost(error: BaseException) -> str:
    """What an exporter says last of a chain of errors, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
