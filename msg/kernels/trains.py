"""Loops over packed spike trains, compiled by numba for the machine they run on.

A node's train is ``K = T * words`` 32-bit words, one after another; the kernels take ``K`` words as they come and pay
no heed to which step a word belongs to. LLVM does not vectorise a loop over bits, so the three things that touch bits
are written for it as one vector operation each: a word is a vector of 32 booleans, which selects what is added.

Where edges have no weight, spikes are counted before they become numbers: bit ``p`` of all counts is kept in a plane,
and a full adder, a few operations on words, adds two spikes to each of hundreds of counts at once.

Each kernel does rows ``first`` to ``last`` alone and holds no lock of the interpreter, so that threads share rows.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from msg.kernels.jit import compiled, inlined, operation, prefetcher, unrolled
from msg.kernels.parts import part
from msg.kernels.vectors import (
    LANES,
    absolute,
    ceiling,
    exponential,
    llvm_splat,
    llvm_vector,
    load,
    mask,
    nearest,
    select,
    splat,
    store,
    store_bytes,
    word,
)

# Sums that are held in registers at once: AVX-512 has 32 registers of 16 floats, others 16 of 8 or 32 of 4.
BLOCK = 5 if binding.get_host_cpu_features().get("avx512f", False) else 3
_PLANES = 8  # bits of a count
_COUNTED = 2**_PLANES - 1  # edges
_DEPTHS = (4, 6, _PLANES)  # of which a row reads no more than its edges can have filled
_GROUPS = (8, 4, 1)  # edges whose words are added at once
_FEW = 5  # edges for which adding numbers is as fast as counting
_AHEAD = 8  # how many edges before it is read a row is asked for from memory

_BITS = ir.VectorType(ir.IntType(1), LANES)
_LONG = ir.IntType(64)


class _Pointer:
    """The elements of an array, as vectors of 32."""

    def __init__(self, context, builder, array: Any, value: Any):
        self.builder, self.start = builder, context.make_array(array)(context, builder, value).data
        self.array = array

    def scalar(self, index):
        return self.builder.load(self.builder.gep(self.start, [index]))

    def at(self, index):
        vector, _ = llvm_vector(self.array.dtype)
        return self.builder.bitcast(self.builder.gep(self.start, [index]), vector.as_pointer())

    def load(self, index):
        loaded = self.builder.load(self.at(index))
        loaded.align = llvm_vector(self.array.dtype)[1]
        return loaded

    def store(self, vector, index):
        self.builder.store(vector, self.at(index)).align = llvm_vector(self.array.dtype)[1]


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
def _add_words(typing, words, each, skip, col, weight, factor, start, stop, out, at, count):
    """``out[at + 32 b:][:32] = factor * sum_e weight[e] * bits(words[col[e] * each + skip + b])`` for ``b < count``.

    ``weight`` may be a number, the same for all edges.
    """
    number = count.literal_value
    size = types.intp
    signature = types.void(words, size, size, col, weight, out.dtype, size, size, out, size, count)

    def generate(context, builder, signature, args):
        words, each, skip, col, weight, factor, start, stop, out, at, _ = args
        trains, sources, result = (
            _Pointer(context, builder, kind, value)
            for kind, value in zip((signature.args[0], signature.args[3], signature.args[8]), (words, col, out))
        )
        vector, _ = llvm_vector(signature.args[8].dtype)
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
            sent = llvm_splat(builder, weights.scalar(edge) if weights else weight, vector)
            base = row(edge)
            for b, total in enumerate(sums):
                fired = builder.bitcast(trains.scalar(_plus(builder, base, b)), _BITS)
                builder.store(builder.fadd(builder.load(total), builder.select(fired, sent, silent)), total)
        times = llvm_splat(builder, factor, vector)
        for b, total in enumerate(sums):
            result.store(builder.fmul(times, builder.load(total)), _plus(builder, at, b * LANES))
        return context.get_dummy_value()

    return signature, generate


@unrolled
def _count_words(typing, words, each, skip, col, start, stop, begun, factor, out, at, count):
    """``out[at + 32 b:][:32] = factor * (before + sum_e bits(words[col[e] * each + skip + b]))`` for ``b < count``.

    ``before`` is what stood there if it is ``begun``, else zero. There are at most 255 edges.
    """
    number, size = count.literal_value, types.intp
    signature = types.void(words, size, size, col, size, size, types.boolean, out.dtype, out, size, count)

    def generate(context, builder, signature, args):
        words, each, skip, col, start, stop, begun, factor, out, at, _ = args
        trains, sources, result = (
            _Pointer(context, builder, kind, value)
            for kind, value in zip((signature.args[0], signature.args[3], signature.args[8]), (words, col, out))
        )
        row = ir.VectorType(ir.IntType(32), number)
        nothing = ir.Constant(row, [0] * number)
        planes = [cgutils.alloca_once(builder, row) for _ in range(_PLANES)]
        for plane in planes:
            builder.store(nothing, plane)
        prefetch, last = prefetcher(builder), _plus(builder, stop, -1)

        def place(edge):
            source = sources.scalar(edge)
            source = builder.sext(source, _LONG) if source.type.width < _LONG.width else source
            return builder.gep(trains.start, [builder.add(builder.mul(source, each), skip)])

        def sent(edge):
            prefetch(place(_soon(builder, edge, last)))
            loaded = builder.load(builder.bitcast(place(edge), row.as_pointer()))
            loaded.align = 4
            return loaded

        def add(rows):
            for plane in planes:
                bits, carried = builder.load(plane), []
                while rows:
                    a, b = rows.pop(), rows.pop() if rows else nothing
                    differ = builder.xor(a, b)
                    carried.append(builder.or_(builder.and_(a, b), builder.and_(differ, bits)))
                    bits = builder.xor(differ, bits)
                builder.store(bits, plane)
                rows = carried

        edge = cgutils.alloca_once_value(builder, start)
        for group in _GROUPS:
            rest = builder.sub(stop, builder.load(edge))
            with cgutils.for_range(builder, builder.sdiv(rest, ir.Constant(_LONG, group))):
                now = builder.load(edge)
                add([sent(_plus(builder, now, k)) for k in range(group)])
                builder.store(_plus(builder, now, group), edge)

        # through memory: a word of a vector becomes a mask by two moves, one in memory by one
        kept = [cgutils.alloca_once(builder, ir.ArrayType(ir.IntType(32), number)) for _ in planes]
        for plane, room in zip(planes, kept):
            builder.store(builder.load(plane), builder.bitcast(room, row.as_pointer())).align = 4
        vector, _ = llvm_vector(signature.args[8].dtype)
        bytes_, wide = (ir.VectorType(ir.IntType(bits), LANES) for bits in (8, 32))
        silent, none = ir.Constant(vector, [0.0] * LANES), ir.Constant(bytes_, [0] * LANES)
        times = llvm_splat(builder, factor, vector)

        def finish(depth):
            with cgutils.for_range(builder, ir.Constant(_LONG, number)) as loop:
                total = none
                for p, room in enumerate(kept[:depth]):
                    word = builder.load(builder.gep(room, [ir.Constant(_LONG, 0), loop.index]))
                    bit = ir.Constant(bytes_, [1 << p] * LANES)
                    total = builder.or_(total, builder.select(builder.bitcast(word, _BITS), bit, none))
                to = builder.add(at, builder.mul(loop.index, ir.Constant(_LONG, LANES)))
                before = builder.select(begun, result.load(to), silent)
                numbers = builder.uitofp(builder.zext(total, wide), vector)
                result.store(builder.fmul(times, builder.fadd(before, numbers)), to)

        def finish_by(depths):
            depth, *deeper = depths
            if not deeper:
                finish(depth)
                return
            fits = builder.icmp_signed("<", builder.sub(stop, start), ir.Constant(_LONG, 1 << depth))
            with builder.if_else(fits) as (then, otherwise):
                with then:
                    finish(depth)
                with otherwise:
                    finish_by(deeper)

        finish_by(_DEPTHS)
        return context.get_dummy_value()

    return signature, generate


@operation
def _add_counts(typing, counts, each, skip, col, weight, factor, start, stop, out, at):
    """``out[at:][:32] = factor * sum_e weight[e] * counts[col[e] * each + skip:][:32]`` for counts of one byte."""
    size = types.intp
    signature = types.void(counts, size, size, col, weight, out.dtype, size, size, out, size)

    def generate(context, builder, signature, args):
        counts, each, skip, col, weight, factor, start, stop, out, at = args
        sent, sources, result = (
            _Pointer(context, builder, kind, value)
            for kind, value in zip((signature.args[0], signature.args[3], signature.args[8]), (counts, col, out))
        )
        vector, align = llvm_vector(signature.args[8].dtype)
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
            times = llvm_splat(builder, weights.scalar(edge) if weights else weight, vector)
            loaded = builder.load(builder.bitcast(row(edge), bytes_.as_pointer()))
            loaded.align = 1
            numbers = builder.uitofp(builder.zext(loaded, wide), vector)
            builder.store(builder.call(fma, [times, numbers, builder.load(total)]), total)
        result.store(builder.fmul(llvm_splat(builder, factor, vector), builder.load(total)), at)
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
        vector, align = llvm_vector(signature.args[8].dtype)
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
                factor = llvm_splat(builder, left.scalar(builder.add(start, builder.mul(loop.index, step))), vector)
                builder.store(builder.call(fma, [factor, row, builder.load(total)]), total)
        for total, place in zip(sums, places):
            result.store(builder.load(total), place)
        return context.get_dummy_value()

    return signature, generate


@inlined
def _add_bits(bits, factor, out, at):
    """``out[at:][:32] += factor * bits``."""
    added = select(mask(bits), splat(factor, out), splat(out.dtype.type(0), out))
    store(load(out, at) + added, out, at)


@inlined
def _receive(words, each, col, weight, factor, start, stop, out, at):
    """What a node receives along its edges, ``factor`` times: ``out[at:][:32 each]``."""
    if weight is None:
        if each >= 4 and stop - start > _FEW:
            _count(words, each, col, factor, start, stop, out, at)
        else:
            _sum(words, each, col, out.dtype.type(1), factor, start, stop, out, at)
    else:
        _sum(words, each, col, weight, factor, start, stop, out, at)


@inlined
def _sum(words, each, col, weight, factor, start, stop, out, at):
    """Numbers added edge by edge."""
    k = 0
    while each - k >= BLOCK:
        _add_words(words, each, k, col, weight, factor, start, stop, out, at + k * LANES, BLOCK)
        k += BLOCK
    if each - k == 4:
        _add_words(words, each, k, col, weight, factor, start, stop, out, at + k * LANES, 4)
    elif each - k == 3:
        _add_words(words, each, k, col, weight, factor, start, stop, out, at + k * LANES, 3)
    elif each - k == 2:
        _add_words(words, each, k, col, weight, factor, start, stop, out, at + k * LANES, 2)
    elif each - k == 1:
        _add_words(words, each, k, col, weight, factor, start, stop, out, at + k * LANES, 1)


@inlined
def _count(words, each, col, factor, start, stop, out, at):
    """Spikes counted, for four words and more. The last vector ends with the train: some of it may be counted twice."""
    k = 0
    while k < each:
        if each >= 16:
            k = min(k, each - 16)
            _count_all(words, each, k, col, factor, start, stop, out, at + k * LANES, 16)
            k += 16
        elif each >= 8:
            k = min(k, each - 8)
            _count_all(words, each, k, col, factor, start, stop, out, at + k * LANES, 8)
            k += 8
        else:
            k = min(k, each - 4)
            _count_all(words, each, k, col, factor, start, stop, out, at + k * LANES, 4)
            k += 4


@inlined
def _count_all(words, each, k, col, factor, start, stop, out, at, count):
    edge, one = start, out.dtype.type(1)
    while stop - edge > _COUNTED:
        _count_words(words, each, k, col, edge, edge + _COUNTED, edge > start, one, out, at, count)
        edge += _COUNTED
    _count_words(words, each, k, col, edge, stop, edge > start, factor, out, at, count)


@inlined
def _factor(left, row, out):
    """What a row's sum is multiplied by."""
    return left[row] if left.size else out.dtype.type(1)


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


# Derivatives that stand in for the step's, of vectors. Kinds are numbered by :data:`msg.kernels.operators.KINDS`.


@inlined
def _arctangent(u, scale, height, one):
    x = scale * u
    return height / (one + x * x)


@inlined
def _sigmoid(u, scale, height, one):
    tail = exponential(scale * ((one - one) - absolute(u)))  # it is even, and so never overflows
    return height * tail / ((one + tail) * (one + tail))


@inlined
def _triangle(u, scale, height, one):
    low, zero = one - absolute(u), one - one
    return height * select(zero > low, zero, low)


@inlined
def _resume(rows, node, out):
    """``out`` becomes a row that is filled up with zeros; without rows it is zero."""
    out[:] = 0
    if rows.shape[0]:
        for j in range(rows.shape[1]):
            out[j] = rows[node, j]


@inlined
def _left(u, fired, threshold, zero, one, subtract):
    """The potential that a reset leaves."""
    # as the twin multiplies: minus infinity minus infinity times no spike is not a number
    return u - (select(fired, threshold, zero) if subtract else u * select(fired, one, zero))


@inlined
def _fire(current, steps, width, neuron, potential, words, node, rate, every, states):
    """Run a node's neurons: ``current [steps, width]`` becomes the potential before each reset, all flat.

    The ``potential`` is that after the step before; it is kept in ``states`` after ``every`` steps and after the last.
    """
    decay, threshold, one = splat(neuron[0], current), splat(neuron[1], current), splat(current.dtype.type(1), current)
    zero, subtract = one - one, neuron[2]
    for w in range(width // LANES):
        column = w * LANES
        v, total = load(potential, column), zero
        for t in range(steps):
            u = decay * v + load(current, t * width + column)
            store(u, current, t * width + column)
            fired = u > threshold
            words[node, t, w] = word(fired)
            total = total + select(fired, one, zero)
            v = _left(u, fired, threshold, zero, one, subtract)
            if every and ((t + 1) % every == 0 or t + 1 == steps):
                store(v, potential, column)
                for j in range(column, min(column + LANES, states.shape[2])):
                    states[t // every, node, j] = potential[j]
        store(v, potential, column)
        store(total, rate, column)


@inlined
def _differentiate(before, steps, width, neuron, surrogate, total):
    """Sum of the derivatives of a node's spikes in a constant increment of its current, from its potentials."""
    if surrogate[0] == 0:
        _differentiate_by(_arctangent, before, steps, width, neuron, surrogate, total)
    elif surrogate[0] == 1:
        _differentiate_by(_sigmoid, before, steps, width, neuron, surrogate, total)
    else:
        _differentiate_by(_triangle, before, steps, width, neuron, surrogate, total)


@inlined
def _differentiate_by(slope, before, steps, width, neuron, surrogate, total):
    decay, threshold, one = splat(neuron[0], before), splat(neuron[1], before), splat(before.dtype.type(1), before)
    scale, height = splat(surrogate[1], before), splat(surrogate[2], before)
    zero, subtract, detached = one - one, neuron[2], surrogate[3]
    for column in range(0, width, LANES):
        behind, found = zero, zero
        for t in range(steps):
            u = load(before, t * width + column)
            rho = decay * behind + one
            change = slope(u - threshold, scale, height, one) * rho
            found = found + change
            behind = rho if subtract else rho - select(u > threshold, rho, zero)
            if not detached:
                behind = behind - (threshold if subtract else u) * change
        store(found, total, column)


@inlined
def _keep_mean(total, steps, means, node):
    """``means[node] = total / steps``, where ``total`` is filled up to whole vectors."""
    duration = splat(total.dtype.type(steps), total)
    for column in range(0, total.size, LANES):
        store(load(total, column) / duration, total, column)
    for j in range(means.shape[1]):
        means[node, j] = total[j]


@inlined
def _currents_of(current, constant, i, steps, padded, now):
    """A node's currents, filled up with zeros; ``current`` is ``[N, 1, d]`` if constant, else ``[N, T, d]``."""
    channels = current.shape[2]
    for t in range(steps):
        row = part(current, (i if constant else i * steps + t) * channels, channels)
        to, rest = part(now, t * padded, channels), part(now, t * padded + channels, padded - channels)
        for j in range(channels):
            to[j] = row[j]
        for j in range(rest.size):
            rest[j] = 0


@compiled
def encode(
    current, constant, steps, neuron, surrogate, begin, every, first, last,
    words, rates, counts, slopes, states,
):  # fmt: skip
    """Neurons alone: ``current [N, 1, d]`` (constant) or ``[N, T, d]`` to packed spikes, rates, sums of derivatives.

    They begin with the potentials ``begin [N, d]``, or at zero; for ``states`` see :func:`_fire`.
    """
    padded = words.shape[2] * LANES
    now = np.zeros(steps * padded, rates.dtype)
    potential, rate = np.empty(padded, rates.dtype), np.empty(padded, rates.dtype)
    total = np.empty(padded, rates.dtype)
    for i in range(first, last):
        _currents_of(current, constant, i, steps, padded, now)
        _resume(begin, i, potential)
        _fire(now, steps, padded, neuron, potential, words, i, rate, every, states)
        if counts.shape[0]:
            for column in range(0, rate.size, LANES):
                store_bytes(load(rate, column), counts, i * rate.size + column)
        _keep_mean(rate, steps, rates, i)
        if surrogate[0] >= 0:
            _differentiate(now, steps, padded, neuron, surrogate, total)
            _keep_mean(total, steps, slopes, i)


@compiled
def constant_rates(current, steps, threshold, margin, first, last, rates, counts):
    """Rates of neurons without leak, with subtractive reset, under a constant ``current [N, d]``.

    The count is ``ceil(steps current / threshold) - 1``, between none and all; where rounding could decide, within
    ``margin`` of a whole number, the steps are run.
    """
    channels, padded = current.shape[1], -(-current.shape[1] // LANES) * LANES
    now, rate = np.zeros(padded, current.dtype), np.empty(padded, current.dtype)
    one, most = splat(current.dtype.type(1), current), splat(current.dtype.type(steps), current)
    zero, limit, near = one - one, splat(threshold, current), splat(margin, current)
    for i in range(first, last):
        row = part(current, i * channels, channels)
        for j in range(channels):
            now[j] = row[j]
        for column in range(0, padded, LANES):
            x = load(now, column)
            scaled = x * (most / limit)
            count = ceiling(scaled) - one
            count = select(count > zero, select(most > count, count, most), zero)
            open_ = select(x > zero, absolute(scaled - nearest(scaled)), one)
            if word(near > select(scaled > most + one, one, open_)):
                v, count = zero, zero
                for _ in range(steps):
                    u = v + x
                    spike = select(u > limit, one, zero)
                    count = count + spike
                    v = u - limit * spike
            store(count, rate, column)
            if counts.shape[0]:
                store_bytes(count, counts, i * padded + column)
        _keep_mean(rate, steps, rates, i)


@inlined
def _currents(
    words, i, pointers, col, weight, left, own, above, root, bias, steps, inner, outer, x, mine, current, received,
):  # fmt: skip
    """What node ``i`` gets in every step: its input ``x``, its own spikes where they have weights, its current.

    The mean of what comes along edges is kept in ``received``, where that has room.
    """
    each = steps * inner // LANES
    if pointers.size:
        _receive(words, each, col, weight, _factor(left, i, x), pointers[i], pointers[i + 1], x, 0)
    else:
        x[:] = 0
    if received.size:
        for column in range(0, inner, LANES):
            total = load(x, column)
            for t in range(1, steps):
                total = total + load(x, t * inner + column)
            store(total / splat(x.dtype.type(steps), x), current, 0)  # which is filled later
            for j in range(column, min(column + LANES, received.shape[1])):
                received[i, j] = current[j - column]
    if own != 0:
        for k in range(each):
            _add_bits(words[i * each + k], own, x, k * LANES)
    for t in range(steps):
        for column in range(0, outer, LANES):
            store(load(bias, column), current, t * outer + column)
    _multiply(x, inner, 1, steps, inner, above, outer, current)
    if root.size:
        mine[:] = 0
        unit = x.dtype.type(1)
        for k in range(each):
            _add_bits(words[i * each + k], unit, mine, k * LANES)
        _multiply(mine, inner, 1, steps, inner, root, outer, current)


@compiled
def layer(
    words, pointers, col, weight, left, own, weights, bias, neuron, surrogate, begin, every, first, last,
    fired, rates, counts, slopes, received, states,
):  # fmt: skip
    """Aggregate, multiply, fire: node by node from packed spikes to packed spikes; nothing in between is kept.

    ``weights`` is ``[32 words, 32 fired]`` or, where a node's own spikes have weights of their own, twice as high.
    Neurons begin and are kept as in :func:`encode`.
    """
    steps, inner, outer = words.shape[1], words.shape[2] * LANES, weights.shape[1]
    flat = words.reshape(-1)
    above, root = weights[:inner].reshape(-1), weights[inner:].reshape(-1)
    x, mine = np.zeros(steps * inner, rates.dtype), np.empty(steps * inner if root.size else 0, rates.dtype)
    current = np.empty(steps * outer, rates.dtype)
    potential, rate = np.empty(outer, rates.dtype), np.empty(outer, rates.dtype)
    total = np.empty(outer, rates.dtype)
    for i in range(first, last):
        _currents(
            flat,
            i,
            pointers,
            col,
            weight,
            left,
            own,
            above,
            root,
            bias,
            steps,
            inner,
            outer,
            x,
            mine,
            current,
            received,
        )
        _resume(begin, i, potential)
        _fire(current, steps, outer, neuron, potential, fired, i, rate, every, states)
        if counts.shape[0]:
            for column in range(0, rate.size, LANES):
                store_bytes(load(rate, column), counts, i * rate.size + column)
        _keep_mean(rate, steps, rates, i)
        if surrogate[0] >= 0:
            _differentiate(current, steps, outer, neuron, surrogate, total)
            _keep_mean(total, steps, slopes, i)


@inlined
def _potentials(current, steps, width, neuron, potential):
    """``current [steps, width]`` becomes the potential before each reset, from the ``potential`` to begin with."""
    decay, threshold, one = splat(neuron[0], current), splat(neuron[1], current), splat(current.dtype.type(1), current)
    zero, subtract = one - one, neuron[2]
    for column in range(0, width, LANES):
        v = load(potential, column)
        for t in range(steps):
            u = decay * v + load(current, t * width + column)
            store(u, current, t * width + column)
            v = _left(u, u > threshold, threshold, zero, one, subtract)


@inlined
def _backward(before, i, grad, rate_grad, steps, width, neuron, surrogate, later):
    """Potentials ``before [steps, width]`` become the gradients of the currents, from those of spikes and rates.

    ``later`` is the gradient of the potential after the last step, and becomes that of the one before the first.
    """
    if surrogate[0] == 0:
        _backward_by(_arctangent, before, i, grad, rate_grad, steps, width, neuron, surrogate, later)
    elif surrogate[0] == 1:
        _backward_by(_sigmoid, before, i, grad, rate_grad, steps, width, neuron, surrogate, later)
    else:
        _backward_by(_triangle, before, i, grad, rate_grad, steps, width, neuron, surrogate, later)


@inlined
def _backward_by(slope, before, i, grad, rate_grad, steps, width, neuron, surrogate, later):
    decay, threshold, one = splat(neuron[0], before), splat(neuron[1], before), splat(before.dtype.type(1), before)
    scale, height = splat(surrogate[1], before), splat(surrogate[2], before)
    zero, subtract, detached = one - one, neuron[2], surrogate[3]
    for column in range(0, width, LANES):
        state, mean = load(later, column), load(rate_grad, i * width + column)
        for t in range(steps - 1, -1, -1):
            u = load(before, t * width + column)
            spike = load(grad, (t * grad.shape[1] + i) * width + column) + mean
            if not detached:
                spike = spike - (threshold if subtract else u) * state
            stays = state if subtract else select(u > threshold, zero, state)
            now = stays + slope(u - threshold, scale, height, one) * spike
            store(now, before, t * width + column)
            state = decay * now
        store(state, later, column)


@compiled
def encode_back(current, constant, neuron, surrogate, grad, rate_grad, begin, later, first, last, to_current):
    """Derivatives of :func:`encode` in the current, from those of spikes ``[T, N, 32 words]`` and of rates.

    ``later [N, d]`` is the gradient of the potentials at the end, and becomes that of those at the beginning.
    """
    steps, padded, channels = grad.shape[0], grad.shape[2], current.shape[2]
    now, potential = np.zeros(steps * padded, grad.dtype), np.empty(padded, grad.dtype)
    for i in range(first, last):
        _currents_of(current, constant, i, steps, padded, now)
        _resume(begin, i, potential)
        _potentials(now, steps, padded, neuron, potential)
        _resume(later, i, potential)
        _backward(now, i, grad, rate_grad, steps, padded, neuron, surrogate, potential)
        for j in range(channels):
            later[i, j] = potential[j]
        length = to_current.shape[1]
        for t in range(length):
            row, back = part(to_current, (i * length + t) * channels, channels), part(now, t * padded, channels)
            for j in range(channels):
                row[j] = back[j]
        if constant:
            row = part(to_current, i * channels, channels)
            for t in range(1, steps):
                back = part(now, t * padded, channels)
                for j in range(channels):
                    row[j] += back[j]


@compiled
def layer_back(
    words, pointers, col, weight, left, own, weights, turned, bias, neuron, surrogate, grad, rate_grad, begin, later,
    first, last, to_input, to_mine, to_weights, to_bias,
):  # fmt: skip
    """Derivatives of :func:`layer`, whose currents are computed again: of the ``[T, N, 32 words]`` numbers that a node
    multiplied, of its own spikes apart from those, and sums over rows of those of weights and bias.

    ``turned`` is the transpose of ``weights``. What crosses edges is left to a product with the transposed matrix. For
    ``later`` see :func:`encode_back`.
    """
    steps, inner, outer = words.shape[1], words.shape[2] * LANES, weights.shape[1]
    flat, nodes = words.reshape(-1), later.shape[0]
    above, root = weights[:inner].reshape(-1), weights[inner:].reshape(-1)
    down, down_root = turned[:, :inner].copy().reshape(-1), turned[:, inner:].copy().reshape(-1)
    to_above, to_root = to_weights[:inner].reshape(-1), to_weights[inner:].reshape(-1)
    x, mine = np.zeros(steps * inner, grad.dtype), np.empty(steps * inner if root.size else 0, grad.dtype)
    current, potential = np.empty(steps * outer, grad.dtype), np.empty(outer, grad.dtype)
    back, nothing = np.empty(steps * inner, grad.dtype), np.empty((0, 0), grad.dtype)
    for i in range(first, last):
        _currents(
            flat, i, pointers, col, weight, left, own, above, root, bias, steps, inner, outer, x, mine, current, nothing
        )
        _resume(begin, i, potential)
        _potentials(current, steps, outer, neuron, potential)
        _resume(later, i, potential)
        _backward(current, i, grad, rate_grad, steps, outer, neuron, surrogate, potential)
        for j in range(later.shape[1]):
            later[i, j] = potential[j]
        for column in range(0, outer, LANES):
            total = load(to_bias, column)
            for t in range(steps):
                total = total + load(current, t * outer + column)
            store(total, to_bias, column)
        _multiply(x, 1, inner, inner, steps, current, outer, to_above)
        back[:] = 0
        _multiply(current, outer, 1, steps, outer, down, inner, back)
        for t in range(steps):
            for column in range(0, inner, LANES):
                store(load(back, t * inner + column), to_input, (t * nodes + i) * inner + column)
        if to_mine.size:
            for k in range(0, steps * inner, LANES):
                store(splat(own, back) * load(back, k), back, k)
            if root.size:
                _multiply(mine, 1, inner, inner, steps, current, outer, to_root)
                _multiply(current, outer, 1, steps, outer, down_root, inner, back)
            for t in range(steps):
                for column in range(0, inner, LANES):
                    store(load(back, t * inner + column), to_mine, (t * nodes + i) * inner + column)


@compiled
def aggregate(words, pointers, col, weight, left, first, last, out):
    """Sums along edges times ``left[i]``, ``out [N, T, 32 words]``; all one: ``weight`` is ``None``, ``left`` empty."""
    each = words.shape[1] * words.shape[2]
    flat, result = words.reshape(-1), out.reshape(-1)
    for i in range(first, last):
        at, factor = i * each * LANES, _factor(left, i, out)
        _receive(flat, each, col, weight, factor, pointers[i], pointers[i + 1], result, at)


@compiled
def aggregate_counts(counts, steps, pointers, col, weight, left, first, last, out):
    """Means along edges of spikes that were counted, ``out [N, 32 words]``; edges are as in :func:`aggregate`."""
    width, flat, result = counts.shape[1], counts.reshape(-1), out.reshape(-1)
    duration = out.dtype.type(steps)
    one = out.dtype.type(1)
    for i in range(first, last):
        start, stop, factor = pointers[i], pointers[i + 1], _factor(left, i, out)
        for column in range(0, width, LANES):
            at = i * width + column
            if weight is None:
                _add_counts(flat, width, column, col, one, factor, start, stop, result, at)
            else:
                _add_counts(flat, width, column, col, weight, factor, start, stop, result, at)
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
    zero = splat(spikes.dtype.type(0), spikes)
    for k in range(first * each, last * each):
        result[k] = word(load(flat, k * LANES) > zero)
