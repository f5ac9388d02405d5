"""The counter against an interpreter that executes every operation, one number at a time, and counts as it goes."""

import math
from collections import Counter

import pytest
import torch
from counting_machine import Machine
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.nn import GCN, GraphSAGE

from msg.energy import OPERATIONS, count
from msg.neurons import ALIF, IF, LIF, ClippedReLU, QuantizedReLU, ReLU
from msg.nn import MSG, SpikingGCN, SpikingGNN


def with_loops(edges, nodes):
    return [(j, i) for j, i in edges if j != i] + [(i, i) for i in range(nodes)]


def gcn_scales(edges, nodes):
    """Of sources, before sending, and of targets, after: D^-1/2 with in-degrees."""
    degree = Counter(i for _, i in edges)
    scale = [degree[i] ** -0.5 for i in range(nodes)]
    return scale, scale


def mean_scales(edges, nodes):
    degree = Counter(i for _, i in edges)
    return None, [1 / max(1, degree[i]) for i in range(nodes)]


def rows_of(m, x, weight):
    """Products of what is not zero; of normalised bags of words sums, which are scaled."""
    out, bag = [], m.events and all(len({abs(value) for value in row if value}) <= 1 for row in x)
    for row in x:
        sums, there = [0.0] * len(weight), [value for value in row if value]
        factor = abs(there[0]) if bag and len(there) > 1 else 1
        for c, value in enumerate(row):
            if value != 0:
                sums = [m.product(total, value / factor, weight[k][c]) for k, total in enumerate(sums)]
        out.append(sums if factor == 1 else [m.mul(total, factor) for total in sums])
    return out


def aggregate(m, h, edges, scales):
    before, after = scales
    if before is not None:
        h = [[m.mul(value, before[j]) for value in row] for j, row in enumerate(h)]
    out = [[0.0] * len(h[0]) for _ in h]
    for j, i in edges:
        out[i] = [m.add(total, value) for total, value in zip(out[i], h[j])]
    return [[m.mul(value, after[i]) for value in row] for i, row in enumerate(out)]


def add_rows(m, a, b):
    return [[m.add(x, y) for x, y in zip(row, other)] for row, other in zip(a, b)]


def biased(m, h, bias):
    return [[m.add(value, b) for value, b in zip(row, bias)] for row in h]


def relu(m, h):
    return [[value if m.more(value, 0) else 0.0 for value in row] for row in h]


def numbers(tensor):
    return tensor.detach().tolist()


def gcn_layer(m, x, edges, conv, rows=rows_of):
    looped = with_loops(edges, len(x))
    h = aggregate(m, rows(m, x, numbers(conv.lin.weight)), looped, gcn_scales(looped, len(x)))
    return biased(m, h, numbers(conv.bias))


def sage_layer(m, x, edges, conv):
    h = aggregate(m, rows_of(m, x, numbers(conv.lin_l.weight)), edges, mean_scales(edges, len(x)))
    h = add_rows(m, h, rows_of(m, x, numbers(conv.lin_r.weight)))
    return biased(m, h, numbers(conv.lin_l.bias))


class Leaky:
    """One IF or LIF neuron."""

    def __init__(self, neuron):
        self.neuron, self.v = neuron, 0.0

    def step(self, m, current):
        left = self.v if isinstance(self.neuron, IF) else m.mul(self.v, 1 - 1 / self.neuron.tau)
        self.v = m._count("state_update", left + current)
        if fired := m.more(self.v, self.neuron.threshold):
            self.v = m.add(self.v, -self.neuron.threshold)
        return fired


class Adaptive:
    """One ALIF neuron; leak, decay, rise and reset prepare the next step."""

    def __init__(self, neuron):
        self.neuron, self.v, self.threshold, self.wait = neuron, 0.0, neuron.threshold, 0
        self.alpha = math.exp(-neuron.dt / neuron.tau)
        self.rho = math.exp(-neuron.dt / neuron.tau_adaptation)

    def step(self, m, current):
        neuron = self.neuron
        v = m._count("state_update", self.v + (1 - self.alpha) * current)
        fired = m.more(v, self.threshold)
        if neuron.refractory:
            fired = m.more(1, self.wait) and fired
            self.wait = max(m.add(self.wait, -1), 0)
        self.v = m.mul(v, self.alpha)
        self.threshold = m.add(m.mul(self.threshold, self.rho), (1 - self.rho) * neuron.threshold)
        if fired:
            self.threshold = m.add(self.threshold, neuron.beta * (1 - self.rho))
            self.v = m.add(self.v, -self.threshold)
            self.wait = neuron.refractory
        return fired


def fire(m, neuron, currents, silent):
    """Trains of spikes of neurons under currents of each step, ``[T][N][d]``."""
    kind = Adaptive if isinstance(neuron, ALIF) else Leaky
    nodes, width = len(currents[0]), len(currents[0][0])
    cells = [[kind(neuron) for _ in range(width)] for _ in range(nodes)]
    train = []
    for now in currents:
        spikes = [[0] * width for _ in range(nodes)]
        for j in range(nodes):
            for c in range(width):
                if not (silent and now[j][c] == 0):
                    spikes[j][c] = int(cells[j][c].step(m, now[j][c]))
        train.append(spikes)
    return train


def rows_of_spikes(m, spikes, weight, scale=None):
    """Each node's sum of the rows of its spikes."""
    out = []
    for row in spikes:
        sums = [0.0] * len(weight)
        for c, times in enumerate(row):
            for _ in range(times):
                sums = [m.add(total, weight[k][c]) for k, total in enumerate(sums)]
        out.append(sums)
    return out


def deliver(m, spikes, weight, edges, before):
    out = [[0.0] * len(weight) for _ in spikes]
    for j, row in enumerate(spikes):
        for c, times in enumerate(row):
            for _ in range(times):
                scaled = [m.mul(weight[k][c], before[j]) for k in range(len(weight))]
                for source, i in edges:
                    if source == j:
                        out[i] = [m.add(total, value) for total, value in zip(out[i], scaled)]
    return out


def cheapest(m, ways):
    """Run every way on a machine of its own; all must agree, and the cheapest is what counts."""
    runs = []
    for way in ways:
        machine = Machine(m.events)
        runs.append((way(machine), machine))
    flat = [[v for step in steps for row in step for v in row] for steps, _ in runs]
    assert all(math.isclose(a, b, abs_tol=1e-9) for other in flat for a, b in zip(flat[0], other))
    return min(runs, key=lambda run: run[1].effort())


def hidden_synapse(m, train, edges, conv):
    looped = with_loops(edges, len(train[0]))
    before, after = gcn_scales(looped, len(train[0]))
    weight = numbers(conv.lin.weight)

    def shared(m):
        return [aggregate(m, rows_of_spikes(m, now, weight), looped, (before, after)) for now in train]

    def delivered(m):
        sums = [deliver(m, now, weight, looped, before) for now in train]
        return [[[m.mul(value, after[i]) for value in row] for i, row in enumerate(step)] for step in sums]

    currents, machine = cheapest(m, [shared, delivered])
    m.counts += machine.counts
    return [biased(m, now, numbers(conv.bias)) for now in currents]


def last_synapse(m, train, edges, conv):
    steps, nodes = len(train), len(train[0])
    looped = with_loops(edges, nodes)
    before, after = gcn_scales(looped, nodes)
    folded = before, [scale / steps for scale in after]  # the 1/T costs nothing
    weight = numbers(conv.lin.weight)
    total = [[sum(now[j][c] for now in train) for c in range(len(train[0][0]))] for j in range(nodes)]

    def shared(m):
        return [aggregate(m, rows_of_spikes(m, total, weight), looped, folded)]

    def delivered(m):
        sums = deliver(m, total, weight, looped, before)
        return [[[m.mul(value, folded[1][i]) for value in row] for i, row in enumerate(sums)]]

    def rates(m):
        rate = [[n / steps for n in row] for row in total]
        return [aggregate(m, rows_of(m, rate, weight), looped, (before, after))]

    (current,), machine = cheapest(m, [shared, delivered, rates])
    m.counts += machine.counts
    return biased(m, current, numbers(conv.bias))


def bounded_step(m, model, current):
    v = [m.mul(value, model.path.step_size) for value in current]
    u = m.mul(m.dot(v, v), 1 / model.path.max_step**2)
    n = m.function(math.sqrt, u)
    factor = m.function(lambda t, n: t / n if n else 1.0, m.function(math.tanh, n), n)
    return [m.mul(value, factor) for value in v]


def hyperbolic_start(m, v):
    """From the origin: what a coordinate of zero would multiply is not computed."""
    n = m.function(math.sqrt, m.dot(v, v))
    factor = m.function(lambda s, n: s / n if n else 1.0, m.function(math.sinh, n), n)
    moved = [m.mul(value, factor) for value in v]
    squared = m.dot(moved, moved)
    assert not m.more(squared, math.sinh(10.0) ** 2)
    return m.function(math.sqrt, m.add(1.0, squared)), moved


def hyperbolic_move(m, z0, z, v):
    n = m.function(math.sqrt, m.dot(v, v))
    cosh = m.function(math.cosh, n)
    factor = m.function(lambda s, n: s / n if n else 1.0, m.function(math.sinh, n), n)
    inner = m.mul(factor, m.dot(z, v))
    along = m.add(cosh, m.function(lambda a, b: a / b, inner, m.add(1.0, z0)))
    moved = [m.mac(m.mul(factor, a), b, along) for a, b in zip(v, z)]
    squared = m.dot(moved, moved)
    assert not m.more(squared, math.sinh(10.0) ** 2)
    return m.function(math.sqrt, m.add(1.0, squared)), moved


def hyperbolic_log(m, z):
    n = m.function(math.sqrt, m.dot(z, z))
    factor = m.function(lambda a, n: a / n if n else 1.0, m.function(math.asinh, n), n)
    return [m.mul(value, factor) for value in z]


def run_msg(m, model, x, edges):
    *spiking, last = model.stack.layers
    steps = model.timesteps
    current = gcn_layer(m, x, edges, spiking[0].synapse.conv)
    means, currents = [current], [current] * steps
    for index, layer in enumerate(spiking):
        train = fire(m, layer.neuron, currents, silent=index == 0)
        if index + 1 < len(spiking):
            currents = hidden_synapse(m, train, edges, spiking[index + 1].synapse.conv)
            total = [[0.0] * model.hidden_channels for _ in x]
            for now in currents:
                total = add_rows(m, total, now)
            means.append([[value / steps for value in row] for row in total])
    means.append(last_synapse(m, train, edges, last.synapse.conv))
    logits = []
    for i in range(len(x)):
        z0, z = hyperbolic_start(m, bounded_step(m, model, means[0][i]))
        for mean in means[1:]:
            z0, z = hyperbolic_move(m, z0, z, bounded_step(m, model, mean[i]))
        tangent = hyperbolic_log(m, z)
        weight, bias = numbers(model.head.lin.weight), numbers(model.head.lin.bias)
        logits.append([m.add(m.dot(tangent, weight[k]), bias[k]) for k in range(len(bias))])
    return logits


def run_spiking_gcn(m, model, x, edges):
    encoder, readout = model.stack.layers
    looped = with_loops(edges, len(x))
    before, after = gcn_scales(looped, len(x))
    h = x
    for _ in range(model.num_hops):
        sent = [[m.mul(value, before[j]) if value else 0.0 for value in row] for j, row in enumerate(h)]
        out = [[0.0] * len(h[0]) for _ in h]
        for j, i in looped:
            out[i] = [m.add(total, value) if value else total for total, value in zip(out[i], sent[j])]
        h = [[m.mul(value, after[i]) if value else 0.0 for value in row] for i, row in enumerate(out)]
    if encoder.synapse.conv.signed:
        h = [row + [-value for value in row] for row in h]
    train = fire(m, encoder.neuron, [h] * model.timesteps, silent=True)
    total = [[sum(now[j][c] for now in train) for c in range(len(h[0]))] for j in range(len(x))]
    weight = numbers(readout.synapse.conv.weight)

    def rows(m):
        scaled = [[w / model.timesteps for w in row] for row in weight]
        return [rows_of_spikes(m, total, scaled)]

    def rates(m):
        return [rows_of(m, [[n / model.timesteps for n in row] for row in total], weight)]

    (logits,), machine = cheapest(m, [rows, rates])
    m.counts += machine.counts
    return biased(m, logits, numbers(readout.synapse.conv.bias))


@st.composite
def graphs(draw):
    nodes = draw(st.integers(1, 5))
    ends = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.tuples(ends, ends), max_size=10))
    torch.manual_seed(draw(st.integers(0, 1000)))
    kind = torch.rand(nodes, 4)  # zeros, ones of both signs, and other numbers
    x = torch.rand(nodes, 4, dtype=torch.float64) * (kind > 0.4)
    return x.masked_fill(kind > 0.7, 1.0).masked_fill(kind > 0.9, -1.0), edges


def check(model, x, edges, run):
    model = model.double().eval()
    edge_index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T.contiguous()
    with torch.no_grad(), count(model) as ops:
        logits = model(x, edge_index)
    assert not ops.unknown
    for convention in ("nonzero", "events"):
        m = Machine(convention == "events")
        assert torch.allclose(torch.tensor(run(m, model, numbers(x), edges), dtype=torch.float64), logits, atol=1e-8)
        found = ops.total(convention)
        assert {kind: found[kind] for kind in OPERATIONS} == {kind: m.counts[kind] for kind in OPERATIONS}


def two_layers(layer):
    def run(m, model, x, edges):
        first, second = model.convs
        return layer(m, relu(m, layer(m, x, edges, first)), edges, second)

    return run


@settings(max_examples=25, deadline=None)
@given(graphs())
def test_gcn(graph):
    check(GCN(4, 3, 2, 2), *graph, two_layers(gcn_layer))


def activate(m, neuron, h):
    """What stands in a neuron's place, number by number; thresholds are one."""

    def value(c):
        if isinstance(neuron, QuantizedReLU):  # the number of levels is folded into the weights below
            scaled = c * neuron.levels
            if neuron.bits == 1:
                return 1.0 if m.more(scaled, 0.5) else 0.0
            scaled = 0.0 if m.more(0, scaled) else scaled
            scaled = neuron.levels if m.more(scaled, neuron.levels) else scaled
            # halves round to even, as torch does
            whole = math.floor(m.add(scaled, 0.5))
            return (whole - (whole - scaled == 0.5 and whole % 2)) / neuron.levels
        c = c if m.more(c, 0) else 0.0
        if isinstance(neuron, ClippedReLU):
            c = 1.0 if m.more(c, 1) else c
        return c

    return [[value(c) for c in row] for row in h]


def run_twin(m, model, x, edges):
    """Two convolutions and a linear read-out; products of integers are as narrow as they are."""
    *convolutions, readout = model.stack.layers

    def narrow(m, x, weight):
        out, bits = [], convolutions[0].neuron.bits
        for row in x:
            sums = [0.0] * len(weight)
            for c, value in enumerate(row):
                if value:
                    sums = [m.narrow(total, value, weight[k][c], bits) for k, total in enumerate(sums)]
            out.append(sums)
        return out

    rows = narrow if isinstance(convolutions[0].neuron, QuantizedReLU) else rows_of
    h = gcn_layer(m, x, edges, convolutions[0].synapse.conv)
    h = activate(m, convolutions[0].neuron, h)
    h = gcn_layer(m, h, edges, convolutions[1].synapse.conv, rows)
    h = activate(m, convolutions[1].neuron, h)
    return biased(m, rows(m, h, numbers(readout.synapse.conv.weight)), numbers(readout.synapse.conv.bias))


@pytest.mark.parametrize("neuron", [ReLU(), ClippedReLU(), QuantizedReLU(1), QuantizedReLU(3)], ids=repr)
@settings(max_examples=12, deadline=None)
@given(graph=graphs())
def test_twins_that_do_not_spike(neuron, graph):
    model = SpikingGNN(4, 2, hidden_channels=3, num_layers=2, timesteps=1, neuron=neuron)
    for layer in model.stack.layers:
        nn.init.constant_(layer.synapse.conv.bias, 0.4)  # so that some values are clipped
    check(model, *graph, run_twin)


@settings(max_examples=25, deadline=None)
@given(graphs())
def test_sage(graph):
    check(GraphSAGE(4, 3, 2, 2), *graph, two_layers(sage_layer))


NEURONS = [
    IF(threshold=0.3),
    LIF(tau=3.0, threshold=0.3),
    ALIF(tau=2.0, tau_adaptation=5.0, beta=0.7, threshold=0.1),
    ALIF(tau=2.0, tau_adaptation=5.0, threshold=0.1, refractory=1),
]


@pytest.mark.parametrize("neuron", NEURONS, ids=repr)
@pytest.mark.parametrize("layers", [2, 3, 4])
@settings(max_examples=12, deadline=None)
@given(graph=graphs())
def test_msg(layers, neuron, graph):
    check(MSG(4, 2, "H3", num_layers=layers, timesteps=4, neuron=neuron), *graph, run_msg)


@settings(max_examples=25, deadline=None)
@given(graph=graphs(), hops=st.integers(1, 3), signed=st.booleans())
def test_spiking_gcn(graph, hops, signed):
    x, edges = graph
    x = x - 2 * x[:, [1, 0, 2, 3]] if signed else x
    # of features that are one, a few steps' currents are fractions of small numbers: rounding would decide at 0.3
    model = SpikingGCN(4, 2, num_hops=hops, timesteps=4, neuron=IF(threshold=0.2999), signed=signed)
    check(model, x, edges, run_spiking_gcn)
