"""Snapshots one after another against a slow loop over nodes and neurons, and against the networks of one graph."""

import copy
import math

import pytest
import torch
from torch_geometric.data import Batch, Data

from msg.energy import count
from msg.gradients import DvM, SurrogateBPTT
from msg.graph import Graph, partition
from msg.manifolds import log0, path
from msg.neurons import ALIF, IF, LIF, QuantizedReLU, Triangle
from msg.nn import (
    MSG,
    RecurrentSpikingGNN,
    SnapshotState,
    SpikingGNN,
    cat_states,
    detach_state,
    grow_state,
    index_state,
)
from msg.testing import assert_model

NODES, FEATURES = 7, 5


def _model(dtype=torch.float64, **options):
    torch.manual_seed(1)
    return RecurrentSpikingGNN(FEATURES, 3, **{"neuron": LIF(threshold=0.4), **options}).to(dtype)


def _flat(dtype=torch.float64, **options):
    return _model(dtype, **{"hidden_channels": 6, **options})


@pytest.fixture
def snapshots(edge_index):
    """Features, edges and weights of five snapshots; the edges change."""
    generator = torch.Generator().manual_seed(5)
    found = []
    for _ in range(5):
        kept = edge_index[:, torch.randperm(10, generator=generator)[:6]]
        x = 1.5 * torch.randn(NODES, FEATURES, generator=generator, dtype=torch.float64)
        found.append((x, kept, 0.5 + torch.rand(6, generator=generator, dtype=torch.float64)))
    return found


def _run(model, snapshots, state=None):
    outs = []
    for x, edges, weight in snapshots:
        out, state = model(x, edges, weight, state)
        outs.append(out)
    return torch.stack(outs), state


def _sent(conv, x, edges, weight):
    """What GraphSAGE sends to each node: its own, and the weighted mean of its neighbours."""
    rows = []
    for node in range(len(x)):
        into = [(s, w) for (s, t), w in zip(edges.t().tolist(), weight) if t == node]
        total = sum(w for _, w in into)
        mean = sum(w * x[s] for s, w in into) / total if into else torch.zeros_like(x[0])
        rows.append(conv.lin_l(mean) + conv.lin_r(x[node]))
    return torch.stack(rows)


def _oracle(model, snapshots, kappa, timesteps):
    """LIF neurons with threshold 0.4 and half of their potential left, one layer, one step and one snapshot a time."""
    rule, hidden = model.gradient, model.hidden_channels
    zeros = torch.zeros(NODES, hidden, dtype=torch.float64)
    layers, firing = list(model.layers), [layer for layer in model.layers if layer.neuron is not None]
    potential, spikes, traces = [zeros] * len(firing), [None] * len(firing), [0.0] * len(layers)
    for x, edges, weight in snapshots:
        sums, read_out = [0.0] * len(layers), 0.0
        for _ in range(timesteps):
            read = x
            for number, layer in enumerate(layers):
                current = _sent(layer.synapse.conv, read, edges, weight)
                if layer.neuron is not None and spikes[number] is not None and layer.recurrent is not None:
                    current = current + spikes[number] @ layer.recurrent.weight.t()
                sums[number] = sums[number] + current / timesteps
                if layer.neuron is not None:
                    u = potential[number] / 2 + current
                    read = spikes[number] = rule.surrogate(u, 0.4)
                    potential[number] = u - 0.4 * (read.detach() if rule.detach_reset else read)
            if model.readout is not None:
                read_out = read_out + model.readout(read) / timesteps
        seen = sums if model.readout is None else [read_out]
        traces = [kappa * trace + (1 - kappa) * now for trace, now in zip(traces, seen)]
        if model.readout is not None:
            yield traces[0]
        else:
            point = path(model.path.manifold, traces, 0.1, 1.0)
            yield model.head.lin(log0(model.path.manifold, point, torch.float64))


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize(
    ("space", "kappa", "timesteps", "detach_reset"),
    [
        ({"hidden_channels": 6}, 0.0, 1, True),
        ({"hidden_channels": 6}, 0.7, 3, False),
        ({"manifold": "H4"}, 0.7, 2, True),
    ],
)
def test_outputs_and_gradients_are_those_of_the_slow_loop(snapshots, space, kappa, timesteps, detach_reset, recurrent):
    rule = SurrogateBPTT(Triangle(0.8), detach_reset)
    model = _model(conv="sage", readout_decay=kappa, timesteps=timesteps, gradient=rule, recurrent=recurrent, **space)
    got, state = _run(model, snapshots)
    assert all(0.02 < layer.spikes.mean() < 0.98 for layer in state.layers)
    want = torch.stack(list(_oracle(model, snapshots, kappa, timesteps)))
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)
    upstream, parameters = torch.randn_like(want), [p for p in model.parameters() if p.requires_grad]
    a, b = (torch.autograd.grad((out * upstream).sum(), parameters) for out in (got, want))
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    assert all(grad.any() for grad in a)


@pytest.mark.parametrize("conv", ["gcn", "gin", "gat"])
@pytest.mark.parametrize("timesteps", [1, 4])
def test_the_first_snapshot_is_what_a_network_of_one_graph_returns(edge_index, dtype, conv, timesteps):
    x = torch.randn(NODES, FEATURES, dtype=dtype)
    both = {"conv": conv, "timesteps": timesteps, "neuron": LIF(threshold=0.4), "gradient": SurrogateBPTT()}
    for mine, other in (
        (_flat(dtype, **both), SpikingGNN(FEATURES, 3, 6, 2, **both)),
        (_model(dtype, manifold="H4", num_layers=3, **both), MSG(FEATURES, 3, "H4", 3, **both)),
    ):
        other = other.to(dtype)
        for own, theirs in zip(mine.layers, other.stack.layers):
            theirs.synapse.load_state_dict(own.synapse.state_dict())
        if mine.readout is None:
            other.head.load_state_dict(mine.head.state_dict())
        else:
            other.stack.layers[-1].synapse.conv.load_state_dict(mine.readout.state_dict())
        got, _ = _without_rounding(mine)(x, edge_index)
        torch.testing.assert_close(got, _without_rounding(other)(x, edge_index), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def _without_rounding(model):
    """Neurons hear no one but their node's layer below here."""
    for layer in getattr(model, "layers", []):
        if layer.recurrent is not None:
            layer.recurrent.weight.zero_()
    return model


def test_all_kinds_of_neurons_carry_their_state(snapshots):
    for neuron in (IF(0.5), ALIF(tau=3.0, tau_adaptation=20.0, threshold=0.1, refractory=1), "plif", {"name": "lif"}):
        model = _flat(neuron=neuron, readout_decay=0.5)
        whole, end = _run(model, snapshots)
        first, state = _run(model, snapshots[:2])
        second, other = _run(model, snapshots[2:], state)
        assert torch.equal(whole, torch.cat([first, second]))
        assert torch.equal(end.layers[1].spikes, other.layers[1].spikes)
        forgotten, _ = _run(model, snapshots[2:])
        assert not torch.equal(forgotten, second)


def test_gradients_reach_back_until_the_state_is_detached(snapshots):
    model = _flat()
    inputs = [x.clone().requires_grad_() for x, _, _ in snapshots]
    state, outs = None, []
    for number, (x, (_, edges, weight)) in enumerate(zip(inputs, snapshots)):
        out, state = model(x, edges, weight, detach_state(state) if number == 3 else state)
        outs.append(out)
    reached = torch.autograd.grad(outs[-1].sum(), inputs, allow_unused=True, retain_graph=True)
    assert [grad is not None for grad in reached] == [False, False, False, True, True]
    assert reached[3].any()
    reached = torch.autograd.grad(outs[2].sum(), inputs[:3])
    assert all(grad.any() for grad in reached)


def test_nodes_appear_and_leave(snapshots):
    model = _flat(readout_decay=0.3)
    _, state = _run(model, snapshots)
    x, edges = torch.randn(9, FEATURES, dtype=torch.float64), torch.tensor([[0, 7, 8], [7, 8, 1]])
    out, grown = model(x, edges, state=grow_state(state, 9))
    assert all(layer.spikes.size(0) == 9 for layer in grown.layers)
    # one that has just come is as in a graph that begins; edges from it alone reach node 8
    fresh, _ = model(x, edges)
    torch.testing.assert_close(out[8], fresh[8])
    assert not torch.allclose(out[:7], fresh[:7])
    left = torch.tensor([3, 6, 0])
    fewer, _ = model(x[left], edges[:, :0], state=index_state(state, left))
    every, _ = model(x[:7], edges[:, :0], state=state)
    torch.testing.assert_close(fewer, every[left])


def test_graphs_in_a_batch_have_their_states_in_one(snapshots):
    model = _flat(readout_decay=0.3)
    states = [_run(model, snapshots[:2])[1], _run(model, snapshots[2:])[1]]
    graphs = [Data(x=x, edge_index=e, edge_weight=w) for x, e, w in snapshots[:2]]
    batch = Batch.from_data_list(graphs)
    out, state = model(batch.x, batch.edge_index, batch.edge_weight, cat_states(states))
    for number, (graph, before) in enumerate(zip(graphs, states)):
        rows = torch.arange(number * NODES, (number + 1) * NODES)
        alone, after = model(graph.x, graph.edge_index, graph.edge_weight, before)
        torch.testing.assert_close(out[rows], alone)
        torch.testing.assert_close(index_state(state, rows).layers, after.layers)


def test_edges_as_a_graph_made_once_or_a_matrix(snapshots):
    model = _model(manifold="E4")  # its output is no count of spikes
    x, edges, weight = snapshots[0]
    want, _ = model(x, edges, weight)
    assert torch.equal(model(x, Graph(edges, weight, NODES))[0], want)
    matrix = torch.sparse_coo_tensor(edges.flip(0), weight, (NODES, NODES), check_invariants=True).coalesce()
    torch.testing.assert_close(model(x, matrix)[0], want)
    torch.testing.assert_close(model(x.to_sparse_csr(), edges, weight)[0], want)
    assert not torch.equal(model(x, edges)[0], want)


def test_a_state_of_something_else_is_refused(snapshots):
    model = _flat()
    x, edges, _ = snapshots[0]
    _, state = model(x, edges)
    for call, message in (
        (lambda: model(x[:5], edges[:, :0], state=state), r"of 7 nodes, but x has 5: use index_state"),
        (lambda: model(torch.cat([x, x]), edges, state=state), r"7 nodes, but x has 14: use grow_state\(state, 14\)"),
        (lambda: _flat(torch.float32)(x.float(), edges, state=state), "state is torch.float64, but x is torch.float32"),
        (lambda: _flat(num_layers=3)(x, edges, state=state), r"of 2 layers.*has 3.*another model"),
        (lambda: _flat(readout_decay=0.5)(x, edges, state=state), "another model"),
        (lambda: _flat(hidden_channels=4)(x, edges, state=state), "parts or widths.*another model"),
        (lambda: _flat(neuron=ALIF())(x, edges, state=state), "parts or widths.*another model"),
        (lambda: model(x, edges, state=_flat(neuron=ALIF())(x, edges)[1]), "parts or widths.*another model"),
        (lambda: model(x, edges, state=state.layers[0]), "SnapshotState"),
        (lambda: model(x, edges, state=3), "SnapshotState"),
        (lambda: model(torch.stack([x, x]), edges), r"needs \[num_nodes, 5\]"),
        (lambda: model(x.float(), edges), "x is torch.float32"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 0}, "num_layers must be a whole number of at least 1"),
        (
            {"num_layers": 1, "manifold": "H4", "hidden_channels": None},
            "num_layers must be a whole number of at least 2",
        ),
        ({"timesteps": 0}, "timesteps must be a whole number"),
        ({"timesteps": True}, "timesteps must be a whole number"),
        ({"readout_decay": 1.0}, "readout_decay"),
        ({"readout_decay": math.nan}, "readout_decay"),
        ({"hidden_channels": 0}, "hidden_channels"),
        ({"neuron": QuantizedReLU()}, "no state to carry"),
        ({"neuron": LIF(threshold="auto")}, "give a number"),
        ({"gradient": DvM()}, r"DvM.*RecurrentSpikingGNN.*SurrogateBPTT"),
        ({"gradient": "rate"}, r"RateBackprop cannot train"),
        ({"conv": lambda i, o: torch.nn.Linear(i, 2 * o)}, "returned width 12"),
    ],
)
def test_impossible_settings_are_refused(options, message, snapshots):
    with pytest.raises(ValueError, match=message):
        _flat(**options)(*snapshots[0])


def test_copies_and_checkpoints(snapshots):
    for model in (_flat(), _model(manifold="H2xS2", readout_decay=0.5)):
        want, _ = _run(model, snapshots)
        other = type(model).from_config(model.config).double()
        assert not torch.equal(_run(other, snapshots)[0], want)
        other.load_state_dict(model.state_dict())
        assert torch.equal(_run(other, snapshots)[0], want)
        assert torch.equal(_run(copy.deepcopy(model), snapshots)[0], want)
        other.reset_parameters()
        assert all(not torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters()) if a.dim() > 1)
    assert "SurrogateBPTT" in repr(_flat())
    assert len(SnapshotState._fields) == 2


class _First(torch.nn.Module):
    """The output for a first snapshot of some steps, in which neurons hear each other already."""

    def __init__(self, **options):
        super().__init__()
        self.model = RecurrentSpikingGNN(FEATURES, 3, timesteps=4, neuron=LIF(threshold=0.3), **options)

    def reset_parameters(self):
        self.model.reset_parameters()

    def forward(self, x, edge_index):
        return self.model(x, edge_index)[0]


@pytest.mark.parametrize("options", [{"hidden_channels": 6}, {"manifold": "H4", "readout_decay": 0.5}], ids=str)
def test_contract_of_models(options, edge_index):
    x = 2 * torch.randn(NODES, FEATURES, generator=torch.Generator().manual_seed(1))
    assert_model(lambda: _First(**options), x, edge_index)


def test_a_part_of_a_graph_is_refused(edge_index):
    part = partition(Data(edge_index=edge_index, num_nodes=NODES), 2, "range")[0]
    with pytest.raises(ValueError, match="RecurrentSpikingGNN"):
        RecurrentSpikingGNN(FEATURES, 3)(torch.rand(part.graph.num_nodes, FEATURES), part.graph)


def test_dropout_is_of_training_alone(snapshots):
    for model in (_flat(dropout=0.5), _model(manifold="H4", dropout=0.5)):
        assert not torch.equal(_run(model, snapshots)[0], _run(model, snapshots)[0])
        model.eval()
        assert torch.equal(_run(model, snapshots)[0], _run(model, snapshots)[0])


def test_energy_knows_every_part(snapshots):
    model = _flat(conv="gcn").eval()
    x, edges, weight = snapshots[0]
    _, state = model(x, edges, weight)
    with torch.no_grad(), count(model) as ops:
        _, after = model(x, edges, weight, state)
    assert not ops.unknown
    fired = [int(layer.spikes.sum()) for layer in after.layers]
    heard = [int(layer.spikes.sum()) for layer in state.layers]
    assert [ops.modules[f"layers.{n}.neuron"].nonzero["spike"] for n in (0, 1)] == fired
    assert [ops.modules[f"layers.{n}.recurrent"].nonzero["synaptic_ac"] for n in (0, 1)] == [6 * h for h in heard]
    assert ops.modules["readout"].nonzero["synaptic_ac"] == 3 * fired[1]


class Twice(torch.nn.Module):
    """A call that goes on from another's state."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, edge_index):
        return self.model(x, edge_index, state=self.model(x, edge_index)[1])[0]


def test_a_state_is_exported_for_any_number_of_nodes():
    model, edges = Twice(RecurrentSpikingGNN(5, 3, hidden_channels=4).eval()), torch.tensor([[0, 1, 2], [1, 2, 3]])
    free = ({0: torch.export.Dim("nodes", min=2)}, {1: torch.export.Dim("edges", min=2)})
    program = torch.export.export(model, (torch.randn(4, 5), edges), dynamic_shapes=free).module()
    x, more = torch.randn(7, 5), torch.randint(0, 7, (2, 9))
    torch.testing.assert_close(program(x, more), model(x, more))
