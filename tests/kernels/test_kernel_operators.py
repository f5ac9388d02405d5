"""The kernels as torch sees them: schemas, shapes without data, compiled graphs."""

import math

import pytest
import torch
from torch.library import opcheck

from msg.kernels import operators, pack

NEURON, SLOPE = (0.5, 0.7, True), (0, math.pi, 1.0, False)


@pytest.fixture
def words():
    torch.manual_seed(0)
    return pack(torch.rand(6, 5, 33) < 0.5).words


@pytest.fixture
def edges():
    """Pointers, columns and weights, as adjacencies have them of fewer than 2^31 edges."""
    return (
        torch.tensor([0, 1, 3, 3, 4, 5, 6], dtype=torch.int32),
        torch.tensor([1, 0, 2, 5, 4, 3], dtype=torch.int32),
        torch.rand(6),
    )


def _along_edges(words, edges):
    weight = torch.randn(7, 33)
    return [
        (operators.aggregate, (words, 33, *edges, torch.float32)),
        (operators.aggregate, (words, 33, *edges[:2], None, torch.float64)),
        (operators.aggregate, (words, 33, *edges[:2], None, torch.float64, torch.rand(6))),
        (operators.aggregate_counts, (torch.ones(6, 64, dtype=torch.uint8), 33, 5, *edges, torch.float32)),
        (operators.layer, (words, 33, *edges, 0.0, weight, None, torch.randn(7), *NEURON, *SLOPE)),
        (
            operators.layer,
            (words, 33, *edges[:2], None, 0.0, weight, None, None, *NEURON, *SLOPE, None, 2, torch.rand(6)),
        ),
        (
            operators.layer_back,
            (words, 33, *edges, 0.5, weight, weight, None, torch.randn(5, 6, 7), torch.randn(6, 7), *NEURON, *SLOPE),
        ),
        (
            operators.layer_back,
            (words, 33, *edges, 0.0, weight, None, None, torch.randn(5, 6, 7), torch.randn(6, 7), *NEURON, *SLOPE),
        ),
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_each_operator_keeps_the_rules(words, edges, backend, monkeypatch):
    monkeypatch.setenv("MSG_KERNELS", backend)
    weight = torch.randn(7, 33)
    cases = [
        (operators.pack, (torch.rand(4, 3, 10),)),
        (operators.unpack, (words, 33, torch.float32)),
        (operators.count, (words, 33)),
        (operators.encode, (torch.randn(4, 5), 3, *NEURON, *SLOPE)),
        (operators.encode, (torch.randn(4, 5), 3, *NEURON, *SLOPE, torch.randn(4, 5), 2)),
        (operators.constant_rates, (torch.randn(4, 5), 3, 1.0)),
        (operators.encode, (torch.randn(4, 3, 5), 3, *NEURON, -1, 0.0, 0.0, True)),
        (operators.layer, (words, 33, None, None, None, 1.0, weight, weight, None, *NEURON, -1, 0.0, 0.0, True)),
        (operators.encode_back, (torch.randn(4, 5), torch.randn(3, 4, 5), torch.randn(4, 5), *NEURON, *SLOPE)),
        *_along_edges(words, edges),
    ]
    for operator, arguments in cases:
        opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.slow  # kernels of their own, which only a graph of 2^31 edges needs
def test_indices_may_be_long(words, edges):
    for operator, arguments in _along_edges(words, edges):
        wide = [a.long() if any(a is index for index in edges[:2]) else a for a in arguments]
        torch.testing.assert_close(operator(*wide), operator(*arguments), rtol=0, atol=0)


def test_a_graph_is_compiled_around_them(words, edges):
    weight = torch.randn(7, 33)

    def run(x):
        fired, rates, _, _, received, _ = operators.layer(
            words, 33, *edges, 0.0, weight, None, x, *NEURON, -1, 0.0, 0.0, True
        )
        return rates.sum() + received.sum() + operators.unpack(fired, 7, torch.float32).sum()

    x = torch.randn(7)
    torch._dynamo.reset()
    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), run(x))
    torch._dynamo.reset()
