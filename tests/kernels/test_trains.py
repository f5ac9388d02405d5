"""The kernels on packed spikes against their twins in plain torch, and these against slow loops."""

import itertools
import math

import pytest
import torch

from msg.graph import SparseMatrix
from msg.kernels import operators, pack, reference

# widths and step counts that fill words and blocks, and that do not; T above 32 and 64
SIZES = [(6, 1, 1, 1), (9, 5, 32, 32), (40, 7, 33, 40), (30, 65, 8, 64), (130, 4, 70, 3)]
NEURONS = [(1.0, 1.0, True), (0.5, 0.7, True), (0.5, 0.7, False)]
NO_SLOPE = (-1, 0.0, 0.0, True)
# kernels of their own, which only a graph of 2^31 edges needs
INDICES = [torch.int32, pytest.param(torch.int64, marks=pytest.mark.slow)]
SLOPES = [(0, math.pi, 1.0, True), (0, math.pi, 1.0, False), (1, 4.0, 4.0, False), (2, 1.0, 0.5, True)]

pytestmark = [pytest.mark.usefixtures("compiled", "seeded"), pytest.mark.covering]


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def dtype(request):
    return request.param


def matrix(nodes, dtype, weighted=True, index=torch.int32):
    """Five edges a node but for the first and the last, which have none."""
    if nodes < 3:
        row = col = torch.zeros(0, dtype=torch.int64)
    else:
        row, col = torch.randint(1, nodes - 1, (5 * nodes,)), torch.randint(0, nodes, (5 * nodes,))
    # multiples of 1/16: sums are exact in any order
    value = torch.randint(-16, 17, (len(row),)).to(dtype) / 16
    sparse = SparseMatrix(row, col, value, (nodes, nodes))
    return sparse.pointers.to(index), sparse.columns.to(index), sparse.values if weighted else None


def factors(nodes, dtype):
    """Of rows, powers of two."""
    return 2.0 ** torch.randint(-3, 2, (nodes,)).to(dtype)


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_aggregate(size, weighted, index, dtype):
    nodes, steps, channels, _ = size
    spikes = (torch.rand(nodes, steps, channels) < 0.4).to(dtype)
    pointers, col, value = matrix(nodes, dtype, weighted, index)
    words = pack(spikes).words
    found = operators.aggregate(words, channels, pointers, col, value, dtype)
    want = torch.zeros_like(spikes)
    for i in range(nodes):
        for e in range(int(pointers[i]), int(pointers[i + 1])):
            want[i] += spikes[col[e]] * (1 if value is None else value[e])
    assert torch.equal(found, want)
    assert torch.equal(reference.aggregate(words, channels, pointers, col, value, dtype), want)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_aggregate_counts(size, weighted, dtype):
    nodes, steps, channels, _ = size
    edges = matrix(nodes, dtype, weighted)
    words, _, counts, *_ = operators.encode(torch.randn(nodes, channels, dtype=dtype), steps, *NEURONS[0], *NO_SLOPE)
    found = operators.aggregate_counts(counts, channels, steps, *edges, dtype)
    want = operators.aggregate(words, channels, *edges, dtype).sum(1) / steps
    torch.testing.assert_close(found, want)
    torch.testing.assert_close(reference.aggregate_counts(counts, channels, steps, *edges, dtype), want)


# around groups of edges, around the planes that a row reads, around what a byte counts
ROWS = [0, 1, 2, 5, 6, 7, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize(
    ("steps", "channels"), [(1, 1), (3, 32), (4, 1), (4, 33), (7, 32), (15, 32), (17, 33), (64, 31)]
)
def test_spikes_are_counted_where_edges_have_no_weight(steps, channels, index, scaled, dtype):
    nodes = len(ROWS)
    pointers = torch.tensor([0, *ROWS]).cumsum(0).to(index)
    col = torch.randint(0, nodes, (sum(ROWS),)).to(index)
    col[-50:] = nodes - 1  # nothing is read beyond the last node
    left = torch.rand(nodes, dtype=dtype) if scaled else None
    words = pack((torch.rand(nodes, steps, channels) < 0.7) | (torch.arange(nodes) % 5 == 0)[:, None, None]).words
    given = (words, channels, pointers, col, None, dtype, left)
    found, want = operators.aggregate(*given), reference.aggregate(*given)
    assert torch.equal(found, want)
    ones = torch.ones(len(col), dtype=dtype)
    assert torch.equal(operators.aggregate(words, channels, pointers, col, ones, dtype, left), want)
    spikes = reference.count(words, channels).to(torch.uint8)
    spikes = torch.nn.functional.pad(spikes, (0, -channels % 32))
    means = (spikes, channels, steps, pointers, col, None, dtype, left)
    torch.testing.assert_close(operators.aggregate_counts(*means), want.sum(1) / steps)
    assert torch.equal(operators.aggregate_counts(*means), reference.aggregate_counts(*means))


def test_more_steps_than_a_byte_counts():
    for steps, counted in ((255, True), (256, False)):
        arguments = torch.full((3, 5), 2.0), steps, *NEURONS[0], *NO_SLOPE
        assert (operators.encode(*arguments)[2].numel() > 0) is counted
        same(operators.encode(*arguments), reference.fire(*arguments[:2], NEURONS[0], None))


def loop(current, steps, neuron):
    """A neuron at a time, in Python's own numbers."""
    decay, threshold, subtract = neuron
    out = torch.zeros(len(current), steps, current.size(-1), dtype=current.dtype)
    for i, j in torch.cartesian_prod(torch.arange(len(current)), torch.arange(current.size(-1))).tolist():
        v = 0.0
        for t in range(steps):
            u = decay * v + float(current[i, j] if current.dim() == 2 else current[i, t, j])
            out[i, t, j] = u > threshold
            v = u - threshold * (u > threshold) if subtract else u * (u <= threshold)
    return out


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
def test_encode_against_a_loop(neuron):
    constant, varying = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 9, 3, dtype=torch.float64)
    for current in (constant, varying):
        words, rates, *_ = operators.encode(current, 9, *neuron, *NO_SLOPE)
        want = loop(current, 9, neuron)
        assert torch.equal(reference.unpack(words, 3, torch.float64), want)
        torch.testing.assert_close(rates, want.mean(1))


@pytest.mark.parametrize("slope", [NO_SLOPE, *SLOPES], ids=str)
@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_encode(size, neuron, slope, dtype):
    nodes, steps, channels, _ = size
    for current in (torch.randn(nodes, channels, dtype=dtype), torch.randn(nodes, steps, channels, dtype=dtype)):
        same(operators.encode(current, steps, *neuron, *slope), reference.fire(current, steps, neuron, given(slope)))


@pytest.mark.parametrize("slope", [NO_SLOPE, *SLOPES], ids=str)
@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_layer(size, neuron, slope, dtype):
    nodes, steps, channels, outer = size
    words = pack(torch.rand(nodes, steps, channels) < 0.4).words
    weight, root = (torch.randint(-8, 9, (outer, channels)).to(dtype) / 16 for _ in range(2))
    bias = torch.randint(-8, 9, (outer,)).to(dtype) / 16
    every = [
        (matrix(nodes, dtype), 0.0, None, bias),
        (matrix(nodes, dtype, weighted=False), 0.0, root, bias),
        (matrix(nodes, dtype, weighted=False), 1.5, None, None),
        ((None, None, None), 1.0, None, bias),
    ]
    for (edges, own, other, constant), left in itertools.product(every, (None, factors(nodes, dtype))):
        passed = (words, channels, *edges, own, weight, other, constant, *neuron, *slope)
        found = operators.layer(*passed, left=left)
        twin = (words, channels, None if edges[0] is None else (*edges, left), own, weight, other, constant, neuron)
        same(found, reference.layer(*twin, given(slope)))


def given(slope):
    return slope if slope[0] >= 0 else None


def same(found, want):
    """The same spikes, rates and counts; what is rounded, to rounding."""
    for a, b in zip(found[:3], want[:3]):
        assert torch.equal(a, b)
    exact = found[1].dtype == torch.float64
    for a, b in zip(found[3:], want[3:]):
        torch.testing.assert_close(a, b, rtol=1e-10 if exact else 1e-3, atol=1e-12 if exact else 1e-4)


def test_currents_that_are_no_numbers_fire_as_in_torch(dtype):
    current = torch.tensor([[torch.nan, torch.inf, -torch.inf, 3.0]], dtype=dtype)
    for neuron in NEURONS:
        found, want = operators.encode(current, 4, *neuron, *NO_SLOPE), reference.fire(current, 4, neuron, None)
        assert torch.equal(found[0], want[0])
        assert torch.equal(found[1], want[1])


def test_what_is_not_contiguous(dtype):
    current = torch.randn(8, 6, dtype=dtype).t()
    assert torch.equal(
        operators.encode(current, 3, *NEURONS[0], *NO_SLOPE)[0],
        operators.encode(current.contiguous(), 3, *NEURONS[0], *NO_SLOPE)[0],
    )
    weight = torch.randn(8, 6, dtype=dtype)
    words = pack(torch.rand(3, 4, 8) < 0.5).words.transpose(0, 1)
    args = (8, None, None, None, 1.0, weight.t(), None, None, *NEURONS[0], *NO_SLOPE)
    assert torch.equal(operators.layer(words, *args)[0], operators.layer(words.contiguous(), *args)[0])


def test_half_precision_takes_the_twin():
    current = torch.randn(4, 5, dtype=torch.bfloat16)
    words, rates, *_ = operators.encode(current, 4, *NEURONS[0], *NO_SLOPE)
    assert rates.dtype == torch.bfloat16
    assert torch.equal(words, reference.fire(current, 4, NEURONS[0], None)[0])


@pytest.mark.parametrize("slope", SLOPES, ids=str)
@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_way_back(size, neuron, slope, dtype):
    nodes, steps, channels, outer = size
    grad, rate = torch.randn(steps, nodes, outer, dtype=dtype), torch.randn(nodes, outer, dtype=dtype)
    for current in (torch.randn(nodes, outer, dtype=dtype), torch.randn(nodes, steps, outer, dtype=dtype)):
        found = operators.encode_back(current, grad, rate, *neuron, *slope)
        for a, b in zip(found, reference.fire_back(current, grad, rate, neuron, slope)):
            close(a, b)
    words = pack(torch.rand(nodes, steps, channels) < 0.4).words
    weight, root = (torch.randint(-8, 9, (outer, channels)).to(dtype) / 16 for _ in range(2))
    bias = torch.randint(-8, 9, (outer,)).to(dtype) / 16
    every = [
        (matrix(nodes, dtype), 0.0, None, bias),
        (matrix(nodes, dtype, weighted=False), 0.0, root, bias),
        (matrix(nodes, dtype, weighted=False), 1.5, None, None),
        ((None, None, None), 1.0, None, bias),
    ]
    for (edges, own, other, constant), left in itertools.product(every, (None, factors(nodes, dtype))):
        passed = (words, channels, *edges, own, weight, other, constant, grad, rate, *neuron, *slope)
        found = operators.layer_back(*passed, left=left)
        edges = None if edges[0] is None else (*edges, left)
        twin = (words, channels, edges, own, weight, other, constant, neuron, slope, grad, rate)
        for a, b in zip(found, reference.layer_back(*twin)):
            close(a, b)


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("size", SIZES[1:], ids=str)  # the first has one step
def test_steps_in_pieces(size, neuron, dtype):
    """From the potentials that others left, forth and back, as in one go."""
    nodes, steps, channels, outer = size
    half, slope = steps // 2, SLOPES[0]
    words = pack(torch.rand(nodes, steps, channels) < 0.4).words
    edges, weight = matrix(nodes, dtype), torch.randint(-8, 9, (outer, channels)).to(dtype) / 16
    for current in (torch.randn(nodes, outer, dtype=dtype), torch.randn(nodes, steps, outer, dtype=dtype)):
        whole = operators.encode(current, steps, *neuron, *NO_SLOPE, None, half)
        assert whole[-1].shape == (-(-steps // half), nodes, outer)
        assert torch.equal(whole[-1], reference.fire(current, steps, neuron, None, None, half)[-1])
        late = current if current.dim() == 2 else current[:, half:]
        rest = operators.encode(late, steps - half, *neuron, *NO_SLOPE, whole[-1][0], steps)
        assert torch.equal(rest[0], whole[0][:, half:])
        assert torch.equal(rest[-1][0], whole[-1][-1])
    given = (channels, *edges, 0.0, weight, None, None)
    whole = operators.layer(words, *given, *neuron, *NO_SLOPE, None, half)
    rest = operators.layer(words[:, half:], *given, *neuron, *NO_SLOPE, whole[-1][0], steps)
    assert torch.equal(rest[0], whole[0][:, half:])
    assert torch.equal(rest[-1][0], whole[-1][-1])
    twin = reference.layer(words, channels, (*edges, None), 0.0, weight, None, None, neuron, None, None, half)
    assert torch.equal(whole[0], twin[0])
    assert torch.equal(whole[-1], twin[-1])

    grad, rate = torch.randn(steps, nodes, outer, dtype=dtype), torch.randn(nodes, outer, dtype=dtype)
    current, state = torch.randn(nodes, steps, outer, dtype=dtype), whole[-1][0]
    passed = operators.encode(current, steps, *neuron, *NO_SLOPE, None, half)[-1][0]
    want, _ = operators.encode_back(current, grad, rate, *neuron, *slope)
    late, later = operators.encode_back(current[:, half:], grad[half:], rate, *neuron, *slope, passed)
    early, _ = operators.encode_back(current[:, :half], grad[:half], rate, *neuron, *slope, None, later)
    close(torch.cat([early, late], 1), want)
    want = operators.layer_back(words, *given, grad, rate, *neuron, *slope)
    late = operators.layer_back(words[:, half:], *given, grad[half:], rate, *neuron, *slope, state)
    early = operators.layer_back(words[:, :half], *given, grad[:half], rate, *neuron, *slope, None, late[-1])
    close(torch.cat([early[0], late[0]]), want[0])
    close(early[2] + late[2], want[2])
    twin = (words[:, :half], channels, (*edges, None), 0.0, weight, None, None, neuron, slope, grad[:half], rate)
    for a, b in zip(early, reference.layer_back(*twin, None, late[-1])):
        close(a, b)


@pytest.mark.parametrize("threshold", [1.0, 0.3])
@pytest.mark.parametrize("steps", [1, 4, 15, 300])
def test_rates_under_a_constant_current(steps, threshold, dtype):
    """Those of the steps, also where rounding decides."""
    whole = torch.arange(-3, steps + 4, dtype=dtype) * (threshold / steps)
    close_by = torch.stack([whole, whole * (1 + 1e-7), torch.nextafter(whole, whole + 1)])
    odd = torch.tensor([[torch.nan, torch.inf, -torch.inf, 1e30, -0.0, 1e-40]], dtype=dtype)
    for current in (torch.randn(50, 33, dtype=dtype), close_by, odd, torch.randn(0, 5, dtype=dtype)):
        rates, counts = operators.constant_rates(current, steps, threshold)
        _, want, counted, *_ = operators.encode(current, steps, 1.0, threshold, True, *NO_SLOPE)
        assert torch.equal(rates, want)
        assert torch.equal(counts, counted)


def close(found, want):
    exact = found.dtype == torch.float64
    scale = 1 + float(want.abs().max()) if want.numel() else 1.0
    torch.testing.assert_close(found, want, rtol=0, atol=scale * (1e-11 if exact else 1e-4))


@pytest.mark.parametrize("slope", SLOPES, ids=str)
@pytest.mark.parametrize("neuron", NEURONS, ids=str)
def test_the_way_back_of_the_twin_by_autograd(neuron, slope):
    """A step whose derivative is the surrogate's, differentiated by autograd."""
    decay, threshold, subtract = neuron

    class Step(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u):
            ctx.save_for_backward(u)
            return (u > threshold).to(u.dtype)

        @staticmethod
        def backward(ctx, grad):
            return grad * reference.slope(ctx.saved_tensors[0] - threshold, slope)

    current = torch.randn(5, 7, 4, dtype=torch.float64, requires_grad=True)
    v, train = torch.zeros(5, 4, dtype=torch.float64), []
    for now in current.unbind(1):
        u = decay * v + now
        spikes = Step.apply(u)
        reset = spikes.detach() if slope[3] else spikes
        v = u - threshold * reset if subtract else u - u * reset
        train.append(spikes)
    grad, rate = torch.randn(7, 5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    loss = (torch.stack(train) * grad).sum() + (torch.stack(train).sum(0) * rate).sum()
    want = torch.autograd.grad(loss, current)[0]
    torch.testing.assert_close(reference.fire_back(current.detach(), grad, rate, neuron, slope)[0], want)
