"""Loops over packed spike trains, compiled by numba for the machine they run on.

A node's train is ``K = T * words`` 32-bit words, one after another; the kernels take ``K`` words as they come and pay
no heed to which step a word belongs to. LLVM does not vectorise a loop over bits, so the three things that touch bits
are written for it as one vector operation each: a word is a vector of 32 booleans, which selects what is added.

Each kernel does rows ``first`` to ``last`` alone and holds no lock of the interpreter, so that threads share rows.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from msg.kernels.jit import compiled, inlined, operation, prefetcher, unrolled

LANES = 32
"""Bits of a word, and numbers in a vector."""

# Sums that are held in registers at once: AVX-512 has 32 registers of 16 floats, others 16 of 8 or 32 of 4.
BLOCK = 5 if binding.get_host_cpu_features().get("avx512f", False) else 3
_AHEAD = 8  # how many edges before it is read a row is asked for from memory

_BITS = ir.VectorType(ir.IntType(1), LANES)
_LONG = ir.IntType(64)


def _vector(array: Any) -> tuple[ir.VectorType, int]:
    """LLVM's vector of the elements of an array, and the alignment that an element has."""
    wide = array.dtype == types.float64
    return ir.VectorType(ir.DoubleType() if wide else ir.FloatType(), LANES), 8 if wide else 4


class _Pointer:
    """The elements of an array, as vectors of 32."""

    def __init__(self, context, builder, array: Any, value: Any):
        self.builder, self.start = builder, context.make_array(array)(context, builder, value).data
        self.array = array

    def scalar(self, index):
        return self.builder.load(self.builder.gep(self.start, [index]))

    def at(self, index):
        vector, _ = _vector(self.array)
        return self.builder.bitcast(self.builder.gep(self.start, [index]), vector.as_pointer())

    def load(self, index):
        loaded = self.builder.load(self.at(index))
        loaded.align = _vector(self.array)[1]
        return loaded

    def store(self, vector, index):
        self.builder.store(vector, self.at(index)).align = _vector(self.array)[1]


def _splat(builder, value, vector: ir.VectorType):
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _plus(builder, index, constant: int):
    return builder.add(index, ir.Constant(_LONG, constant))


def _zeros(builder, vector: ir.VectorType, count: int) -> list[Any]:
    """Sums that LLVM keeps in registers."""
    sums = [cgutils.alloca_once(builder, vector) for _ in range(count)]
    for one in sums:
        builder.store(ir.Constant(vector, [0.0] * LANES), one)
    return sums


def _soon(builder, edge, last):
    """An edge some steps ahead, or the row's last."""
    ahead = _plus(builder, edge, _AHEAD)
    return builder.select(builder.icmp_signed("<", ahead, last), ahead, last)


@unrolled
def _add_words(typing, words, each, skip, col, weight, start, stop, out, at, count):
    """``out[at + 32 b:][:32] = sum_e weight[e] * bits(words[col[e] * each + skip + b])`` for ``b < count``.

    ``weight`` may be a number, the same for all edges.
    """
    number = count.literal_value
    signature = types.void(words, types.intp, types.intp, col, weight, types.intp, types.intp, out, types.intp, count)

    def generate(context, builder, signature, args):
        words, each, skip, col, weight, start, stop, out, at, _ = args
        trains, sources, result = (
            _Pointer(context, builder, kind, value)
            for kind, value in zip((signature.args[0], signature.args[3], signature.args[7]), (words, col, out))
        )
        vector, _ = _vector(signature.args[7])
        weighted = isinstance(signature.args[4], types.Array)
        weights = _Pointer(context, builder, signature.args[4], weight) if weighted else None
        sums, silent = _zeros(builder, vector, number), ir.Constant(vector, [0.0] * LANES)
        prefetch = prefetcher(builder)
        last = _plus(builder, stop, -1)

        def row(edge):
            source = sources.scalar(edge)
            source = builder.sext(source, _LONG) if source.type.width < _LONG.width else source
            return builder.add(builder.mul(source, each), skip)

        with cgutils.for_range(builder, builder.sub(stop, start)) as loop:
            edge = builder.add(start, loop.index)
            prefetch(builder.gep(trains.start, [row(_soon(builder, edge, last))]))
            factor = _splat(builder, weights.scalar(edge) if weights else weight, vector)
            base = row(edge)
            for b, total in enumerate(sums):
                fired = builder.bitcast(trains.scalar(_plus(builder, base, b)), _BITS)
                builder.store(builder.fadd(builder.load(total), builder.select(fired, factor, silent)), total)
        for b, total in enumerate(sums):
            result.store(builder.load(total), _plus(builder, at, b * LANES))
        return context.get_dummy_value()

    return signature, generate


@operation
def _add_counts(typing, counts, each, skip, col, weight, start, stop, out, at):
    """``out[at:][:32] = sum_e weight[e] * counts[col[e] * each + skip:][:32]`` for counts of one byte."""
    size = types.intp
    signature = types.void(counts, size, size, col, weight, size, size, out, size)

    def generate(context, builder, signature, args):
        counts, each, skip, col, weight, start, stop, out, at = args
        sent, sources, result = (
            _Pointer(context, builder, kind, value)
            for kind, value in zip((signature.args[0], signature.args[3], signature.args[7]), (counts, col, out))
        )
        vector, align = _vector(signature.args[7])
        bytes_, wide = (ir.VectorType(ir.IntType(bits), LANES) for bits in (8, 32))
        weighted = isinstance(signature.args[4], types.Array)
        weights = _Pointer(context, builder, signature.args[4], weight) if weighted else None
        total = _zeros(builder, vector, 1)[0]
        kind = ir.FunctionType(vector, [vector] * 3)
        fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f{8 * align}")
        prefetch = prefetcher(builder)
        last = _plus(builder, stop, -1)

        def row(edge):
            source = sources.scalar(edge)
            source = builder.sext(source, _LONG) if source.type.width < _LONG.width else source
            return builder.gep(sent.start, [builder.add(builder.mul(source, each), skip)])

        with cgutils.for_range(builder, builder.sub(stop, start)) as loop:
            edge = builder.add(start, loop.index)
            prefetch(row(_soon(builder, edge, last)))
            factor = _splat(builder, weights.scalar(edge) if weights else weight, vector)
            loaded = builder.load(builder.bitcast(row(edge), bytes_.as_pointer()))
            loaded.align = 1
            numbers = builder.uitofp(builder.zext(loaded, wide), vector)
            builder.store(builder.call(fma, [factor, numbers, builder.load(total)]), total)
        result.store(builder.load(total), at)
        return context.get_dummy_value()

    return signature, generate


@unrolled
def _add_products(typing, x, at, each, step, inner, weight, column, outer, out, to, count):
    """``out[to + b outer:][:32] += sum_k x[at + b each + k step] * weight[k outer + column:][:32]``, ``k < inner``."""
    number = count.literal_value
    size = types.intp
    signature = types.void(x, size, size, size, size, weight, size, size, out, size, count)

    def generate(context, builder, signature, args):
        x, at, each, step, inner, weight, column, outer, out, to, _ = args
        left, right, result = (
            _Pointer(context, builder, kind, value)
            for kind, value in zip((signature.args[0], signature.args[5], signature.args[8]), (x, weight, out))
        )
        vector, align = _vector(signature.args[8])
        kind = ir.FunctionType(vector, [vector] * 3)
        fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f{8 * align}")
        sums = [cgutils.alloca_once(builder, vector) for _ in range(number)]
        places = [builder.add(to, builder.mul(outer, ir.Constant(_LONG, b))) for b in range(number)]
        starts = [builder.add(at, builder.mul(each, ir.Constant(_LONG, b))) for b in range(number)]
        for total, place in zip(sums, places):
            builder.store(result.load(place), total)
        with cgutils.for_range(builder, inner) as loop:
            row = right.load(builder.add(builder.mul(loop.index, outer), column))
            for total, start in zip(sums, starts):
                factor = _splat(builder, left.scalar(builder.add(start, builder.mul(loop.index, step))), vector)
                builder.store(builder.call(fma, [factor, row, builder.load(total)]), total)
        for total, place in zip(sums, places):
            result.store(builder.load(total), place)
        return context.get_dummy_value()

    return signature, generate


@operation
def _above(typing, x, at, threshold):
    """The word whose bits say which of ``x[at:][:32]`` are above a threshold; NaN is not."""
    signature = types.int32(x, types.intp, x.dtype)

    def generate(context, builder, signature, args):
        x, at, threshold = args
        vector, _ = _vector(signature.args[0])
        potential = _Pointer(context, builder, signature.args[0], x).load(at)
        return builder.bitcast(builder.fcmp_ordered(">", potential, _splat(builder, threshold, vector)), ir.IntType(32))

    return signature, generate


@operation
def _add_bits(typing, word, factor, out, at):
    """``out[at:][:32] += factor * bits(word)``."""
    signature = types.void(types.int32, out.dtype, out, types.intp)

    def generate(context, builder, signature, args):
        word, factor, out, at = args
        vector, _ = _vector(signature.args[2])
        result, silent = _Pointer(context, builder, signature.args[2], out), ir.Constant(vector, [0.0] * LANES)
        added = builder.select(builder.bitcast(word, _BITS), _splat(builder, factor, vector), silent)
        result.store(builder.fadd(result.load(at), added), at)
        return context.get_dummy_value()

    return signature, generate


@inlined
def _receive(words, each, col, weight, start, stop, out, at):
    """What a node receives along its edges: ``out[at:][:32 each]``."""
    k = 0
    while each - k >= BLOCK:
        _add_words(words, each, k, col, weight, start, stop, out, at + k * LANES, BLOCK)
        k += BLOCK
    if each - k == 4:
        _add_words(words, each, k, col, weight, start, stop, out, at + k * LANES, 4)
    elif each - k == 3:
        _add_words(words, each, k, col, weight, start, stop, out, at + k * LANES, 3)
    elif each - k == 2:
        _add_words(words, each, k, col, weight, start, stop, out, at + k * LANES, 2)
    elif each - k == 1:
        _add_words(words, each, k, col, weight, start, stop, out, at + k * LANES, 1)


@inlined
def _multiply(x, each, step, rows, inner, weight, outer, out):
    """``out[r] += sum_k x[r each + k step] weight[k]`` for ``inner`` rows of ``weight``, ``outer`` wide; all flat."""
    for column in range(0, outer, LANES):
        r = 0
        while rows - r >= BLOCK:
            _add_products(x, r * each, each, step, inner, weight, column, outer, out, r * outer + column, BLOCK)
            r += BLOCK
        if rows - r == 4:
            _add_products(x, r * each, each, step, inner, weight, column, outer, out, r * outer + column, 4)
        elif rows - r == 3:
            _add_products(x, r * each, each, step, inner, weight, column, outer, out, r * outer + column, 3)
        elif rows - r == 2:
            _add_products(x, r * each, each, step, inner, weight, column, outer, out, r * outer + column, 2)
        elif rows - r == 1:
            _add_products(x, r * each, each, step, inner, weight, column, outer, out, r * outer + column, 1)


# Numbers in the loops below are all of the arrays' type: a constant of another would turn a float32 loop into float64.


@inlined
def _slope(u, surrogate, one):
    """Derivative that stands in for the step's; kinds are numbered by :data:`msg.kernels.operators.KINDS`."""
    kind, scale, height, _ = surrogate
    if kind == 0:
        x = scale * u
        return height / (one + x * x)
    if kind == 1:
        s = one / (one + np.exp(-scale * u))
        return height * s * (one - s)
    return height * max(one - abs(u), one - one)


@inlined
def _fire(current, steps, width, neuron, potential, words, node, rate):
    """Run a node's neurons: ``current [steps, width]`` becomes the potential before each reset, all flat."""
    decay, threshold, subtract = neuron
    one = current.dtype.type(1)
    zero = one - one
    potential[:] = zero
    rate[:] = zero
    for t in range(steps):
        now = current[t * width : (t + 1) * width]
        if subtract:
            for j in range(width):
                u = decay * potential[j] + now[j]
                spike = one if u > threshold else zero
                now[j] = u
                rate[j] += spike
                potential[j] = u - threshold * spike
        else:
            for j in range(width):
                u = decay * potential[j] + now[j]
                spike = one if u > threshold else zero
                now[j] = u
                rate[j] += spike
                potential[j] = u - u * spike
        for w in range(width // LANES):
            words[node, t, w] = _above(now, w * LANES, threshold)


@inlined
def _differentiate(before, steps, width, neuron, surrogate, tangent, total):
    """Sum of the derivatives of a node's spikes in a constant increment of its current, from its potentials."""
    decay, threshold, subtract = neuron
    detached = surrogate[3]
    one = before.dtype.type(1)
    zero = one - one
    tangent[:] = zero
    total[:] = zero
    for t in range(steps):
        for j in range(width):
            u = before[t * width + j]
            rho = decay * tangent[j] + one
            change = _slope(u - threshold, surrogate, one) * rho
            total[j] += change
            if subtract:
                tangent[j] = rho if detached else rho - threshold * change
            else:
                left = rho - (rho if u > threshold else zero)
                tangent[j] = left if detached else left - u * change


@compiled
def encode(current, constant, steps, neuron, surrogate, first, last, words, rates, counts, slopes):
    """Neurons alone: ``current [N, d]`` (constant) or ``[N, T, d]`` to packed spikes, rates and sums of derivatives."""
    channels, padded = rates.shape[1], words.shape[2] * LANES
    now = np.zeros(steps * padded, rates.dtype)
    potential, rate = np.empty(padded, rates.dtype), np.empty(padded, rates.dtype)
    tangent, total = np.empty(padded, rates.dtype), np.empty(padded, rates.dtype)
    duration = rates.dtype.type(steps)
    for i in range(first, last):
        for t in range(steps):
            for j in range(channels):
                now[t * padded + j] = current[i, 0 if constant else t, j]
            for j in range(channels, padded):
                now[t * padded + j] = 0
        _fire(now, steps, padded, neuron, potential, words, i, rate)
        for j in range(channels):
            rates[i, j] = rate[j] / duration
        for j in range(counts.shape[1]):
            counts[i, j] = np.uint8(rate[j])
        if surrogate[0] >= 0:
            _differentiate(now, steps, padded, neuron, surrogate, tangent, total)
            for j in range(channels):
                slopes[i, j] = total[j] / duration


@inlined
def _currents(words, i, pointers, col, weight, own, above, root, bias, steps, inner, outer, x, mine, current, received):
    """What node ``i`` gets in every step: its input ``x``, its own spikes where they have weights, its current.

    The mean of what comes along edges is kept in ``received``, where that has room.
    """
    each = steps * inner // LANES
    if pointers.size:
        _receive(words, each, col, weight, pointers[i], pointers[i + 1], x, 0)
    else:
        x[:] = 0
    if received.size:
        duration = x.dtype.type(steps)
        for j in range(received.shape[1]):
            received[i, j] = 0
        for t in range(steps):
            for j in range(received.shape[1]):
                received[i, j] += x[t * inner + j]
        for j in range(received.shape[1]):
            received[i, j] /= duration
    if own != 0:
        for k in range(each):
            _add_bits(words[i * each + k], own, x, k * LANES)
    for t in range(steps):
        for j in range(outer):
            current[t * outer + j] = bias[j]
    _multiply(x, inner, 1, steps, inner, above, outer, current)
    if root.size:
        mine[:] = 0
        unit = x.dtype.type(1)
        for k in range(each):
            _add_bits(words[i * each + k], unit, mine, k * LANES)
        _multiply(mine, inner, 1, steps, inner, root, outer, current)


@compiled
def layer(
    words, pointers, col, weight, own, weights, bias, neuron, surrogate, first, last,
    fired, rates, counts, slopes, received,
):  # fmt: skip
    """Aggregate, multiply, fire: node by node from packed spikes to packed spikes; nothing in between is kept.

    ``weights`` is ``[32 words, 32 fired]`` or, where a node's own spikes have weights of their own, twice as high.
    """
    steps, inner, outer = words.shape[1], words.shape[2] * LANES, weights.shape[1]
    flat, channels = words.reshape(-1), rates.shape[1]
    above, root = weights[:inner].reshape(-1), weights[inner:].reshape(-1)
    x, mine = np.zeros(steps * inner, rates.dtype), np.empty(steps * inner if root.size else 0, rates.dtype)
    current = np.empty(steps * outer, rates.dtype)
    potential, rate = np.empty(outer, rates.dtype), np.empty(outer, rates.dtype)
    tangent, total = np.empty(outer, rates.dtype), np.empty(outer, rates.dtype)
    duration = rates.dtype.type(steps)
    for i in range(first, last):
        _currents(
            flat, i, pointers, col, weight, own, above, root, bias, steps, inner, outer, x, mine, current, received
        )
        _fire(current, steps, outer, neuron, potential, fired, i, rate)
        for j in range(channels):
            rates[i, j] = rate[j] / duration
        for j in range(counts.shape[1]):
            counts[i, j] = np.uint8(rate[j])
        if surrogate[0] >= 0:
            _differentiate(current, steps, outer, neuron, surrogate, tangent, total)
            for j in range(channels):
                slopes[i, j] = total[j] / duration


@inlined
def _potentials(current, steps, width, neuron, potential):
    """``current [steps, width]`` becomes the potential before each reset."""
    decay, threshold, subtract = neuron
    zero = current.dtype.type(0)
    potential[:] = zero
    for t in range(steps):
        for j in range(width):
            u = decay * potential[j] + current[t * width + j]
            current[t * width + j] = u
            fired = u > threshold
            if subtract:
                potential[j] = u - (threshold if fired else zero)
            else:
                potential[j] = u - (u if fired else zero)


@inlined
def _backward(before, i, grad, rate_grad, steps, width, neuron, surrogate, later):
    """Potentials ``before [steps, width]`` become the gradients of the currents, from those of spikes and rates."""
    decay, threshold, subtract = neuron
    detached = surrogate[3]
    one = before.dtype.type(1)
    zero = one - one
    later[:] = zero
    for t in range(steps - 1, -1, -1):
        for j in range(width):
            u, state = before[t * width + j], later[j]
            spike = grad[t, i, j] + rate_grad[i, j]
            slope = _slope(u - threshold, surrogate, one)
            if subtract:
                now = state + slope * (spike if detached else spike - threshold * state)
            else:
                left = zero if u > threshold else state
                now = left + slope * (spike if detached else spike - u * state)
            before[t * width + j] = now
            later[j] = decay * now


@compiled
def encode_back(current, constant, neuron, surrogate, grad, rate_grad, first, last, to_current):
    """Derivatives of :func:`encode` in the current, from those of spikes ``[T, N, 32 words]`` and of rates."""
    steps, padded, channels = grad.shape[0], grad.shape[2], current.shape[2]
    now, potential = np.zeros(steps * padded, grad.dtype), np.empty(padded, grad.dtype)
    for i in range(first, last):
        for t in range(steps):
            for j in range(channels):
                now[t * padded + j] = current[i, 0 if constant else t, j]
            for j in range(channels, padded):
                now[t * padded + j] = 0
        _potentials(now, steps, padded, neuron, potential)
        _backward(now, i, grad, rate_grad, steps, padded, neuron, surrogate, potential)
        if constant:
            for j in range(channels):
                to_current[i, 0, j] = 0
            for t in range(steps):
                for j in range(channels):
                    to_current[i, 0, j] += now[t * padded + j]
        else:
            for t in range(steps):
                for j in range(channels):
                    to_current[i, t, j] = now[t * padded + j]


@compiled
def layer_back(
    words, pointers, col, weight, own, weights, turned, bias, neuron, surrogate, grad, rate_grad, first, last,
    to_input, to_mine, to_weights, to_bias,
):  # fmt: skip
    """Derivatives of :func:`layer`, whose currents are computed again: of the ``[T, N, 32 words]`` numbers that a node
    multiplied, of its own spikes apart from those, and sums over rows of those of weights and bias.

    ``turned`` is the transpose of ``weights``. What crosses edges is left to a product with the transposed matrix.
    """
    steps, inner, outer = words.shape[1], words.shape[2] * LANES, weights.shape[1]
    flat = words.reshape(-1)
    above, root = weights[:inner].reshape(-1), weights[inner:].reshape(-1)
    down, down_root = turned[:, :inner].copy().reshape(-1), turned[:, inner:].copy().reshape(-1)
    to_above, to_root = to_weights[:inner].reshape(-1), to_weights[inner:].reshape(-1)
    x, mine = np.zeros(steps * inner, grad.dtype), np.empty(steps * inner if root.size else 0, grad.dtype)
    current, potential = np.empty(steps * outer, grad.dtype), np.empty(outer, grad.dtype)
    back, nothing = np.empty(steps * inner, grad.dtype), np.empty((0, 0), grad.dtype)
    for i in range(first, last):
        _currents(
            flat, i, pointers, col, weight, own, above, root, bias, steps, inner, outer, x, mine, current, nothing
        )
        _potentials(current, steps, outer, neuron, potential)
        _backward(current, i, grad, rate_grad, steps, outer, neuron, surrogate, potential)
        for t in range(steps):
            for j in range(outer):
                to_bias[j] += current[t * outer + j]
        _multiply(x, 1, inner, inner, steps, current, outer, to_above)
        back[:] = 0
        _multiply(current, outer, 1, steps, outer, down, inner, back)
        for t in range(steps):
            for j in range(inner):
                to_input[t, i, j] = back[t * inner + j]
        if to_mine.size:
            for t in range(steps):
                for j in range(inner):
                    back[t * inner + j] *= own
            if root.size:
                _multiply(mine, 1, inner, inner, steps, current, outer, to_root)
                _multiply(current, outer, 1, steps, outer, down_root, inner, back)
            for t in range(steps):
                for j in range(inner):
                    to_mine[t, i, j] = back[t * inner + j]


@compiled
def aggregate(words, pointers, col, weight, first, last, out):
    """Sums along edges, ``out [N, T, 32 words]``."""
    each = words.shape[1] * words.shape[2]
    flat, result = words.reshape(-1), out.reshape(-1)
    for i in range(first, last):
        _receive(flat, each, col, weight, pointers[i], pointers[i + 1], result, i * each * LANES)


@compiled
def aggregate_counts(counts, steps, pointers, col, weight, first, last, out):
    """Means along edges of spikes that were counted, ``out [N, 32 words]``."""
    width, flat, result = counts.shape[1], counts.reshape(-1), out.reshape(-1)
    duration = out.dtype.type(steps)
    for i in range(first, last):
        for column in range(0, width, LANES):
            _add_counts(flat, width, column, col, weight, pointers[i], pointers[i + 1], result, i * width + column)
        for j in range(width):
            out[i, j] /= duration


@compiled
def unpack(words, first, last, out):
    """Bits as numbers, ``out [N, T, 32 words]``, which is zero."""
    each = words.shape[1] * words.shape[2]
    flat, result = words.reshape(-1), out.reshape(-1)
    unit = out.dtype.type(1)
    for k in range(first * each, last * each):
        _add_bits(flat[k], unit, result, k * LANES)


@compiled
def pack(spikes, first, last, words):
    """Numbers ``spikes [N, T, 32 words]`` as bits: those above zero."""
    each = words.shape[1] * words.shape[2]
    flat, result = spikes.reshape(-1), words.reshape(-1)
    zero = spikes.dtype.type(0)
    for k in range(first * each, last * each):
        result[k] = _above(flat, k * LANES, zero)
