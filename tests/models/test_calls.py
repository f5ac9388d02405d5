"""Calls that mean nothing are refused by name; calls that are clearly meant work, or the error names the mend."""

import pytest
import torch

from msg.gradients import DvM, EquilibriumPropagation
from msg.graph import Graph
from msg.layers import ManifoldPath
from msg.manifolds import resolve
from msg.neurons import ALIF, IF, LIF, ATan, Sigmoid, Triangle
from msg.nn import LSNN, MSG, SpikingGNN

X, EDGES = torch.ones(3, 5), torch.tensor([[0, 1], [1, 2]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MSG(5, 3, bias="no"), "bias must be True or False"),
        (lambda: MSG(5, 3, timesteps=True), "timesteps must be a whole number"),
        (lambda: MSG(5, 3, timesteps=2.5), "timesteps must be a whole number"),
        (lambda: MSG(5, 3, step_size=float("nan")), "step_size must be a positive number"),
        (lambda: ManifoldPath(*resolve("H2"), step_size=float("inf")), "step_size must be a positive number"),
        (lambda: MSG(5, 3, neuron=3), "neuron must be a neuron"),
        (lambda: MSG(5, 3, neuron=torch.nn.ReLU(), timesteps=1), r"neuron must be a neuron of msg\.neurons .*ReLU"),
        (lambda: MSG(5, 3, neuron="leaky"), "unknown neuron 'leaky'"),
        (lambda: ALIF(refractory=1.5), "refractory must be a whole number"),
        (lambda: ATan(0.0), "alpha of a surrogate must be a positive number"),
        (lambda: Sigmoid(-1.0), "alpha of a surrogate"),
        (lambda: Triangle(float("nan")), "gamma of a surrogate"),
        (lambda: IF().rate(torch.ones(2), 0), "timesteps must be a whole number of at least 1"),
        (lambda: LIF().rate(torch.ones(2), -1), "timesteps must be a whole number of at least 1"),
        (lambda: EquilibriumPropagation(float("inf")), "finite beta"),
        (lambda: LSNN(3, 2)(torch.ones(4, 2, 3), None, torch.ones(4)), "edge_weight weighs the edges of edge_index"),
        (lambda: MSG(5, 3)(X, EDGES, torch.ones(2, dtype=torch.complex64)), "edge_weight must be real numbers"),
        (lambda: MSG(5, 3)(X, EDGES, torch.ones(2, dtype=torch.bool)), "edge_weight must be real numbers"),
        (lambda: MSG(5, 3)(X, EDGES.bool()), "edge_index must be integer"),
        (lambda: MSG(5, 3)(X.numpy(), EDGES), r"x must be a tensor.*torch.as_tensor\(x\)"),
        (lambda: MSG(5, 3)(X, EDGES.tolist()), r"torch.as_tensor\(edge_index\)"),
        (lambda: Graph(EDGES, [1.0, 1.0], 3), r"torch.as_tensor\(edge_weight\)"),
    ],
)
def test_what_means_nothing_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_classes_and_names_are_taken():
    assert isinstance(SpikingGNN(5, 3, neuron=LIF).stack.layers[0].neuron, LIF)
    assert isinstance(MSG(5, 3, neuron="lif").stack.layers[0].neuron, LIF)
    assert MSG(5, 3, gradient=DvM).gradient == MSG(5, 3, gradient="dvm").gradient == DvM()


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_edges_of_any_integer_type(kind):
    model = MSG(5, 3).eval()
    assert torch.equal(model(X, EDGES.to(kind)), model(X, EDGES))
    assert Graph(EDGES.to(kind), None, 3).edge_index.dtype == torch.int64
