"""Every model, rule, neuron, convolution and manifold on tensors that claim another device (see ``devices.py``)."""

import copy
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from devices import Claimed, Elsewhere, elsewhere, here
from named import named
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch_geometric.nn import GATConv

import msg.nn
from msg.gradients import EquilibriumPropagation, SettlingBPTT, SparseAttentiveBacktracking, simulation
from msg.layers import GraphDecoder
from msg.manifolds import checks
from msg.models.heuristics import Heuristic
from msg.names import CONVS, GRADIENTS, MANIFOLDS, MODELS, NEURONS
from msg.neurons import ALIF, IF, LIF, Sigmoid, Triangle
from msg.nn import (
    LSNN,
    MSG,
    AttentiveRecurrence,
    ConvergentGNN,
    FermiDirac,
    GraphClassifier,
    HyboNet,
    KappaGCN,
    Propagated,
    RecurrentSpikingGNN,
    RiemannianConvergentGNN,
    SpikingGNN,
    TangentInnerProduct,
)

NODES, FEATURES = 7, 5
EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 5, 1, 1, 0], [1, 2, 0, 3, 4, 5, 3, 2, 0, 4]])
SHORT, LONG = 4, 8


class Case(NamedTuple):
    """How a model is made for a number of steps, and what it is given besides the graph."""

    make: Callable[[int], nn.Module]
    x: Callable[[int], Tensor] = lambda steps: 2 * torch.randn(NODES, FEATURES)
    call: Callable[..., Any] = lambda model, x, edges, weight: model(x, edges)


def _train(steps: int) -> Tensor:
    return 2 * torch.randn(steps, NODES, FEATURES)


def _named(name: str) -> Case:
    return Case(lambda steps: named(name, steps, FEATURES))


def _msg(x: Callable[[int], Tensor] | None = None, call: Callable[..., Any] | None = None, **options: Any) -> Case:
    options = {"manifold": "H4", "neuron": LIF(threshold=0.4), **options}
    made = Case(lambda steps: MSG(FEATURES, 3, **{"timesteps": steps, **options}))
    return made._replace(x=x or made.x, call=call or made.call)


def _flat(**options: Any) -> Case:
    return Case(lambda steps: SpikingGNN(FEATURES, 3, 4, timesteps=steps, neuron=LIF(threshold=0.4), **options))


def _gat(channels: int, out: int) -> nn.Module:
    # PyG looks for self-loops by a mask, in every call
    return GATConv(channels, out, add_self_loops=False)


def _recalling(cell: type[nn.Module], **options: Any) -> Case:
    rule = SparseAttentiveBacktracking(**options)
    return Case(lambda steps: AttentiveRecurrence(cell(FEATURES, 4), 4, rule), _train, lambda model, x, *_: model(x))


def _snapshots(**options: Any) -> Case:
    def call(model: nn.Module, x: Tensor, edges: Tensor, weight: Tensor) -> list[Tensor]:
        outs, state, graph = [], None, msg.nn.Graph(edges, weight, NODES)  # whose check waits
        for now in x.unbind():
            out, state = model(now, graph, state=state)
            outs.append(out)
        return outs

    made = Case(lambda steps: RecurrentSpikingGNN(FEATURES, 3, neuron=LIF(threshold=0.4), **options))
    return made._replace(x=_train, call=call)


class _Links(nn.Module):
    def __init__(self, points: nn.Module, decoder: nn.Module):
        super().__init__()
        self.points, self.decoder = points, decoder

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return self.decoder(self.points(x, edges), edges)


def _spiking_links(steps: int) -> nn.Module:
    points = MSG(FEATURES, None, "H2xS2", timesteps=steps, neuron=LIF(threshold=0.4))
    return _Links(points, FermiDirac(points.manifold))


def _tangent_links(steps: int) -> nn.Module:
    points = MSG(FEATURES, None, "H2xS2", timesteps=steps, neuron=LIF(threshold=0.4))
    return _Links(points, TangentInnerProduct(points.manifold))


def _graphs(pooling: str) -> Case:
    def make(steps: int) -> nn.Module:
        points = MSG(FEATURES, None, "H2xS2", timesteps=steps, neuron=LIF(threshold=0.4))
        return GraphClassifier(points, 3, pooling)

    return Case(make)


def _own_links(kind: Callable[..., Any]) -> nn.Module:
    points = kind(FEATURES, None)
    return _Links(points, points.link_decoder)


def _online(model: nn.Module, x: Tensor, edges: Tensor, weight: Tensor) -> list[Tensor]:
    return list(model.online(x, edges))


def _weighted(model: nn.Module, x: Tensor, edges: Tensor, weight: Tensor) -> Tensor:
    return model(x, edges, weight)


def _sparse(layout: str) -> Callable[..., Any]:
    return lambda model, x, edges, weight: model(getattr(x.relu(), f"to_{layout}")(), edges)


def _learned_weights(model: nn.Module, x: Tensor, edges: Tensor, weight: Tensor) -> Tensor:
    return model(x, edges, weight.requires_grad_())


def _batch(model: nn.Module, x: Tensor, edges: Tensor, weight: Tensor) -> Tensor:
    return model(x, edges, batch_size=3)


FIRING = [name for name in NEURONS if NEURONS[name].spiking]
TWINS = [name for name in NEURONS if not NEURONS[name].spiking]


DRAWING = ("spikenet", "bernoulli-spikinggcn")
"""A generator of random numbers needs a device that is there."""
_ZEROED = LIF(threshold=0.4, reset="zero")
SPIKING = {
    **{name: _named(name) for name in MODELS if name not in DRAWING and "node-classification" in MODELS[name].tasks},
    **{f"MSG, {name}": _msg(gradient=GRADIENTS[name]()) for name in GRADIENTS},
    **{f"MSG, {name}, train": _msg(_train, gradient=GRADIENTS[name]()) for name in GRADIENTS},
    **{f"SpikingGNN, {name}": _flat(gradient=GRADIENTS[name]()) for name in GRADIENTS if name != "dvm"},
    **{f"MSG, {conv}": _msg(conv=conv, gradient="bptt") for conv in CONVS if conv != "gat"},
    **{f"MSG, gat, {name}": _msg(conv=_gat, gradient=name) for name in GRADIENTS if name != "ottt"},
    **{f"MSG, {letter}": _msg(manifold=f"{letter}4") for letter in MANIFOLDS},
    "MSG, product": _msg(manifold="H2xS2xP2xE2", hidden_channels=8),
    **{f"MSG, {name}, rate": _msg(neuron=NEURONS[name](threshold=0.4), gradient="rate") for name in FIRING},
    **{f"MSG, {name}, bptt": _msg(neuron=NEURONS[name](threshold=0.4), gradient="bptt") for name in FIRING},
    **{f"MSG, {name}": _msg(neuron=NEURONS[name](threshold=0.4), timesteps=1) for name in TWINS},
    "MSG, plif, checkpointed": _msg(neuron=NEURONS["plif"](threshold=0.4), gradient="checkpointed"),
    "MSG, plif, ottt": _msg(neuron=NEURONS["plif"](threshold=0.4), gradient="ottt"),
    "MSG, LIF to zero, rate": _msg(neuron=_ZEROED, gradient=GRADIENTS["rate"](Sigmoid(), detach_reset=False)),
    "MSG, LIF to zero, bptt": _msg(neuron=_ZEROED, gradient=GRADIENTS["bptt"](Triangle(), detach_reset=False)),
    "MSG, ALIF, rate": _msg(neuron=ALIF(refractory=1, threshold=0.1), gradient="rate"),
    "MSG, ALIF, bptt": _msg(neuron=ALIF(refractory=1, threshold=0.1), gradient="bptt"),
    "MSG, two convolutions": _msg(num_layers=2, neuron=IF(threshold=0.4)),
    "MSG, unbounded steps": _msg(max_step=None),
    "MSG, online": _msg(call=_online, gradient="ottt"),
    "MSG, online, train": _msg(_train, call=_online, gradient="ottt"),
    "MSG, weighted edges": _msg(call=_weighted),
    "MSG, sage, weighted edges": _msg(call=_weighted, conv="sage"),
    "MSG, learned weights": _msg(call=_learned_weights, gradient="bptt"),
    **{f"MSG, {name}, batch": _msg(call=_batch, gradient=name, conv="sage") for name in ("dvm", "rate", "bptt")},
    "MSG, gat, batch": _msg(call=_batch, conv=_gat),
    "spikinggcn, batch": _named("spikinggcn")._replace(call=_batch),
    "MSG, sparse features": _msg(call=_sparse("sparse_csr"), gradient="bptt"),
    "SpikingGNN, sparse features": _flat(dropout=0.2)._replace(call=_sparse("sparse_coo")),
    "MSG, propagated": Case(
        lambda steps: Propagated(MSG(FEATURES, 3, "H4", timesteps=steps, neuron=LIF(threshold=0.4)), 2)
    ),
    "links": Case(_spiking_links),
    "links by tangent vectors": Case(_tangent_links),
    **{f"graphs, {pooling}": _graphs(pooling) for pooling in ("mean", "sum")},
    **{f"links, {kind.__name__}": Case(lambda _, kind=kind: _own_links(kind)) for kind in (KappaGCN, HyboNet)},
}  # fmt: skip
RECURRENT = {
    "LSNN": Case(lambda steps: LSNN(FEATURES, 3, 8, threshold=0.1), _train, lambda model, x, *_: model(x).outputs),
    "LSNN, gcn": Case(
        lambda steps: LSNN(FEATURES, 3, 8, threshold=0.1, refractory=2, conv="gcn"),
        _train,
        lambda model, x, edges, _: model(x, edges).outputs,
    ),
    "RecurrentSpikingGNN": _snapshots(hidden_channels=4),
    "RecurrentSpikingGNN, H4": _snapshots(manifold="H4", readout_decay=0.5),
    "AttentiveRecurrence, LSTM": _recalling(nn.LSTMCell, k_top=2),
    "AttentiveRecurrence, GRU": _recalling(nn.GRUCell, k_top=3, k_trunc=3, k_att=2),
    "AttentiveRecurrence, no memories": _recalling(nn.RNNCell, k_top=0),
}
SETTLING = {
    f"{kind.__name__}, {rule}": Case(lambda steps, kind=kind, rule=rule: kind(FEATURES, 3, steps=steps, gradient=rule))
    for kind in (ConvergentGNN, RiemannianConvergentGNN)
    for rule in (EquilibriumPropagation(steps=4), EquilibriumPropagation(steps=4, symmetric=True), SettlingBPTT())
}
CASES = {**SPIKING, **RECURRENT, **SETTLING}
ONCE = {name for name in MODELS if "timesteps" not in MODELS[name].reads}
ONCE |= {"links, KappaGCN", "links, HyboNet", *(f"MSG, {name}" for name in TWINS)}
"""Models without steps."""


class Run(NamedTuple):
    """What a forward and a backward pass gave, here, and what they did elsewhere."""

    outputs: list[Tensor]
    gradients: dict[str, Tensor | None]
    there: Elsewhere


@pytest.fixture(autouse=True)
def _plain_torch(monkeypatch):
    monkeypatch.setenv("MSG_KERNELS", "torch")
    # dropout of torch's own, as elsewhere, so that both drop the same
    monkeypatch.setattr(sys.modules["msg.layers.dropout"], "traced", lambda: True)


def _run(name: str, steps: int, move: Callable[[Any], Any], inside: Elsewhere | None = None) -> Run:
    torch.manual_seed(0)
    case = CASES[name]
    model, x, weight = case.make(steps), case.x(steps), torch.rand(EDGES.size(1)) + 0.5
    given = [move(tensor) for tensor in (x, EDGES, weight)]
    model = move(model)
    torch.manual_seed(1)
    # what is read out at every step is on its manifold, and to look would make the host wait
    with checks(not name.startswith("RecurrentSpikingGNN") and "online" not in name):
        outputs = tree_leaves(case.call(model, *given))
    torch.stack([output.square().mean() for output in outputs if isinstance(output, Tensor)]).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return Run(outputs, gradients, inside or Elsewhere())


@cache
def _run_elsewhere(name: str, steps: int) -> Run:
    with Elsewhere() as there:
        return _run(name, steps, elsewhere, there)


@pytest.mark.parametrize("name", list(CASES))
def test_a_model_runs_where_its_tensors_are(name):
    want = _run(name, SHORT, lambda given: given)
    got = _run_elsewhere(name, SHORT)
    assert got.there.operations.total() > 50
    tensors = [*got.outputs, *(gradient for gradient in got.gradients.values() if gradient is not None)]
    assert {type(tensor) for tensor in tensors} == {Claimed}
    torch.testing.assert_close([here(output) for output in got.outputs], want.outputs)
    torch.testing.assert_close({name: here(grad) for name, grad in got.gradients.items()}, want.gradients)
    assert any(gradient is not None and bool(gradient.any()) for gradient in want.gradients.values())


@pytest.mark.parametrize("name", [name for name in CASES if name not in ONCE])
def test_the_host_waits_no_more_often_for_more_steps(name):
    short, long = (_run_elsewhere(name, steps).there for steps in (SHORT, LONG))
    assert long.operations.total() > short.operations.total()
    assert long.waits == short.waits


def test_a_network_that_settles_is_looked_at_now_and_then():
    model, x = ConvergentGNN(FEATURES, 3, steps=40), torch.randn(NODES, FEATURES)
    tight, loose = (copy.deepcopy(model) for _ in range(2))
    loose.tolerance = 1e-3
    sweeps = tight.settle(x, EDGES).steps, loose.settle(x, EDGES).steps
    assert sweeps[1] < 16 < sweeps[0]
    with Elsewhere():
        moved, edges = elsewhere(x), elsewhere(EDGES)
        full, early = (elsewhere(model).settle(moved, edges) for model in (tight, loose))
    assert (full.steps, early.steps) == (-(-sweeps[0] // 16) * 16 if sweeps[0] < 33 else 40, 16)
    assert early.residual <= 1e-3
    torch.testing.assert_close(here(full.states[-1]), tight.settle(x, EDGES).states[-1])


def test_steps_share_operations_in_longer_chunks_elsewhere(monkeypatch):
    monkeypatch.setattr(simulation, "_CHUNK_ELEMENTS", NODES * 4)
    counts = []
    for elements in (NODES * 4, NODES * 4 * SHORT):
        monkeypatch.setattr(simulation, "_CHUNK_ELEMENTS_ELSEWHERE", elements)
        counts.append(_run_elsewhere.__wrapped__("MSG, bptt", SHORT).there.operations["aten.mm.default"])
    assert counts[1] < counts[0]


def test_every_public_module_was_among_them():
    public = {value for name in msg.nn.__all__ if isinstance(value := getattr(msg.nn, name), type)}
    # these draw; those count neighbours, which SciPy does on the CPU
    public -= {msg.nn.SpikingConv}  # PyG's own convolution, called as it is
    public -= {msg.nn.SpikingTGNMemory}  # PyG's own store of events, which the host reads
    public -= {msg.nn.SpikeNet, msg.nn.DynamicSpikeNet}
    public -= {msg.nn.BernoulliSpikingGCN, msg.nn.BernoulliEncoder, msg.nn.BernoulliLinear}
    public -= {msg.nn.LatencyEncoder, msg.nn.PopulationEncoder}  # make trains before a network runs
    public = {kind for kind in public if not issubclass(kind, Heuristic | GraphDecoder)}
    used = {type(module) for case in CASES.values() for module in case.make(2).modules()}
    bases = {kind for kind in public if any(issubclass(other, kind) and other is not kind for other in used)}
    assert {kind for kind in public if issubclass(kind, nn.Module)} == used & public | bases
