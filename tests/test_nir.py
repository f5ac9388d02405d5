"""Spike counts of what was written, read by ourselves and by the importers of spikingjelly, snntorch and norse."""

import sys
import warnings
from itertools import pairwise

import pytest
import torch
from torch_geometric.utils import barabasi_albert_graph

import msg
from msg.gradients import SurrogateBPTT
from msg.neurons import ALIF, IF, LIF, ParametricLIF, ScaledLIF
from msg.nir import FoldedNetwork, from_nir, to_nir
from msg.nn import MSG, SpikingGCN, SpikingGNN

STEPS = 12


class Uneven(LIF):
    """Channels forget at paces of their own."""

    def decay(self, state):
        return state * torch.linspace(0.5, 0.9, state.size(-1), dtype=state.dtype)


NEURONS = {
    "IF": lambda: IF(0.37, "zero"),
    "LIF": lambda: LIF(2.0, 0.29, "zero"),
    "LIF(tau=5)": lambda: LIF(5.0, 0.41, "zero"),
    "ParametricLIF": lambda: ParametricLIF(3.0, 0.33, "zero"),
    "ScaledLIF": lambda: ScaledLIF(2.0, 0.13, "zero"),
}
pytestmark = pytest.mark.usefixtures("nir")


@pytest.fixture
def nir(library):
    """The package, or the test is skipped."""
    return library("nir")


@pytest.fixture
def graph():
    torch.manual_seed(3)
    return torch.rand(12, 4), barabasi_albert_graph(12, 2)


def made(kind, neuron, **options):
    """A network whose neurons fire, in evaluation mode."""
    torch.manual_seed(5)
    if kind is MSG:
        return MSG(4, 3, "H5", timesteps=STEPS, neuron=neuron, gradient=SurrogateBPTT(), **options).eval()
    return kind(4, 3, hidden_channels=5, num_layers=2, timesteps=STEPS, neuron=neuron, **options).eval()


def counts(model, x, edge_index, nodes=None):
    """Spikes of the last layer of neurons, flattened: the same in both precisions, so rounding decides none."""
    found = []
    for dtype in (torch.float64, torch.float32):
        with torch.no_grad(), msg.record(model.to(dtype), nodes=nodes) as recording:
            model(x.to(dtype), edge_index)
        found.append(recording[max(recording.layers)].spikes.sum(0).flatten().float())
    assert torch.equal(*found)
    return found[0]


def stepped(module, x, steps):
    """Spikes that a module with an explicit state counts."""
    state, total = None, 0.0
    for _ in range(steps):
        out, state = module(x[None], state)
        total = total + out[0].detach()
    return total


def run_spikingjelly(library, graph, x, steps=STEPS):
    module = library("spikingjelly.activation_based.nir_exchange.from_nir").import_from_nir(graph)
    return stepped(module, x, steps)


def run_norse(library, graph, x, steps=STEPS):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nirtorch.load is deprecated, and norse uses it
        module = library("norse.torch.utils.import_nir").from_nir(graph, dt=1e-4, ignore_warnings=True)
    return stepped(module, x, steps)


def run_snntorch(library, graph, x, steps=STEPS):
    module = library("snntorch.import_nir").import_from_nir(graph)
    return sum(module(x[None])[0][0].detach() for _ in range(steps))


def run_ours(library, graph, x, steps=STEPS):
    return from_nir(graph)(x, steps).sum(0).detach()


READERS = {"ours": run_ours, "spikingjelly": run_spikingjelly, "norse": run_norse, "snntorch": run_snntorch}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("kind", [SpikingGNN, MSG])
def test_the_same_counts(library, graph, kind, neuron, reader):
    x, edge_index = graph
    model = made(kind, NEURONS[neuron]())
    written = to_nir(model, x, edge_index, if_as_lif=reader == "snntorch")
    got = READERS[reader](library, written, x.flatten())
    want = counts(model, x, edge_index)
    assert 0.05 < want.mean() / STEPS < 0.95
    assert torch.equal(got, want)


@pytest.mark.parametrize("conv", ["gcn", "sage", "gin"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_every_linear_convolution(graph, conv, bias, norm):
    x, edge_index = graph
    model = made(SpikingGNN, LIF(2.0, 0.3, "zero"), conv=conv, bias=bias, norm=norm)
    if norm == "batch":
        model.train()(x + 1, edge_index)  # running statistics
        model.eval()
    got = run_ours(None, to_nir(model, x, edge_index), x.flatten())
    assert torch.equal(got, counts(model, x, edge_index))


def test_weighted_edges(graph):
    x, edge_index = graph
    weight = torch.rand(edge_index.size(1))
    model = made(SpikingGNN, IF(0.3, "zero"))
    with torch.no_grad():
        rates = model.activity(x, edge_index, weight).rates[-1]
    got = run_ours(None, to_nir(model, x, edge_index, weight), x.flatten())
    torch.testing.assert_close(got, rates.flatten() * STEPS)


@pytest.mark.parametrize("signed", [False, True])
def test_features_that_are_propagated_first(graph, signed):
    x, edge_index = graph
    x = x - 0.5 if signed else x
    model = SpikingGCN(4, 3, timesteps=STEPS, neuron=IF(0.61 if not signed else 0.13, "zero"), signed=signed).eval()
    written = to_nir(model, x, edge_index, nodes=[7])
    inputs = torch.as_tensor(written.nodes["input"].metadata["nodes"])
    assert torch.equal(run_ours(None, written, x[inputs].flatten()), counts(model, x, edge_index, [7]))


@pytest.mark.parametrize("reader", READERS)
def test_the_neighbourhood_of_given_nodes(library, reader):
    torch.manual_seed(1)
    x, edge_index = torch.rand(200, 4), barabasi_albert_graph(200, 1)
    model = made(SpikingGNN, LIF(2.0, 0.19, "zero"))
    written = to_nir(model, x, edge_index, nodes=[150, 199])
    inputs = torch.as_tensor(written.nodes["input"].metadata["nodes"])
    assert 2 < len(inputs) < 200
    assert written.nodes["output"].metadata["nodes"].tolist() == [150, 199]
    got = READERS[reader](library, written, x[inputs].flatten())
    assert torch.equal(got, counts(model, x, edge_index, [150, 199]))
    assert 0 < got.mean() < STEPS


@pytest.mark.parametrize("reader", READERS)
def test_the_read_out_is_what_the_model_returns(library, graph, reader):
    x, edge_index = graph
    model = made(SpikingGNN, LIF(2.0, 0.3, "zero"))
    written = to_nir(model, x, edge_index, nodes=[2, 0], readout=True)
    inputs = torch.as_tensor(written.nodes["input"].metadata["nodes"])
    got = READERS[reader](library, written, x[inputs].flatten()) / STEPS
    torch.testing.assert_close(got, model(x, edge_index)[[2, 0]].detach().flatten())


def test_through_a_file(nir, graph, tmp_path):
    x, edge_index = graph
    model = made(SpikingGNN, ParametricLIF(3.0, 0.33, "zero"))
    written = to_nir(model, x, edge_index, nodes=[3], dt=1e-3)
    nir.write(tmp_path / "model.nir", written)
    network = from_nir(tmp_path / "model.nir")
    assert isinstance(network, FoldedNetwork)
    assert network.outputs.tolist() == [3]
    now = x[network.inputs].flatten()
    train = network(now.expand(STEPS, -1))
    assert torch.equal(train, network(now, STEPS))
    assert torch.equal(train.sum(0), counts(model, x, edge_index, [3]))
    assert torch.equal(network(torch.stack([now, 0 * now]), STEPS)[:, 0], train)  # a batch


def test_a_train_of_features(graph):
    _, edge_index = graph
    x = torch.rand(STEPS, 12, 4)
    model = made(MSG, LIF(2.0, 0.29, "zero"))
    network = from_nir(to_nir(model, x, edge_index))
    assert torch.equal(network(x.flatten(1)).sum(0), counts(model, x, edge_index))


def test_other_constants_are_read(nir, graph):
    """A current that counts R dt / tau, whatever R is; another dt for the same file."""

    def row(*nodes):
        named = {f"n{i}": node for i, node in enumerate(nodes)}
        ends = {"input": nir.Input({"input": torch.tensor([2]).numpy()})}
        names = ["input", *named, "output"]
        made = {**ends, **named, "output": nir.Output({"output": torch.tensor([2]).numpy()})}
        return nir.NIRGraph(made, list(pairwise(names)))

    def all_of(value):
        return torch.full((2,), value).numpy()

    x = torch.tensor([0.3, 0.9])
    lif = nir.LIF(tau=all_of(4e-4), r=all_of(6.0), v_leak=all_of(0.0), v_threshold=all_of(1.0))
    for dt in (1e-4, 2e-4):
        tau, v, want = 4e-4, torch.zeros(2), torch.zeros(2)
        for _ in range(9):
            v = v + dt / tau * (6 * x - v)
            fired = (v > 1).float()
            want, v = want + fired, v * (1 - fired)
        assert torch.equal(from_nir(row(lif), dt)(x, 9).sum(0), want)
    whole = nir.IF(r=all_of(5e3), v_threshold=all_of(1.0))
    assert torch.equal(from_nir(row(whole))(2 * x, 9), from_nir(row(nir.IF(all_of(1e4), all_of(1.0))))(x, 9))
    linear = nir.Linear(torch.eye(2).numpy())
    assert torch.equal(from_nir(row(linear, lif))(x, 9), from_nir(row(lif))(x, 9))

    for node, reason in [
        (nir.IF(torch.tensor([1e4, 1.0]).numpy(), all_of(1.0)), "r of n0 differs"),
        (nir.IF(all_of(1e4), all_of(1.0), all_of(0.5)), "v_reset of n0"),
        (nir.LIF(all_of(1e-5), all_of(1.0), all_of(0.0), all_of(1.0)), "less than a step"),
        (nir.I(all_of(1.0)), "n0 is a I"),
    ]:
        with pytest.raises(ValueError, match=reason):
            from_nir(row(node))
    branched = row(linear, lif)
    branched.edges.append(("input", "n1"))
    with pytest.raises(ValueError, match="do not stand in a row"):
        from_nir(branched)


def test_snntorch_refuses_a_neuron_that_does_not_leak(library, graph):
    """It would take it for one with beta=0.9 that subtracts; with r = 1 / dt it says no."""
    x, edge_index = graph
    with pytest.raises(AssertionError, match="r != 1"):
        run_snntorch(library, to_nir(made(SpikingGNN, IF(0.37, "zero")), x, edge_index), x.flatten())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"neuron": IF()}, r"subtracts its threshold: train with IF\(reset='zero'\)"),
        ({"neuron": ScaledLIF(at_threshold=True)}, "use at_threshold=False"),
        ({"neuron": ALIF()}, "NIR has no ALIF"),
        ({"neuron": Uneven(threshold=0.3, reset="zero")}, "Uneven has a decay or gain a channel"),
        ({"neuron": IF("auto", "zero")}, "not fitted yet"),
        ({"neuron": IF(reset="zero"), "conv": "gat"}, "GATConv is not one of the convolutions that are taken apart"),
        ({"neuron": IF(reset="zero"), "norm": "layer"}, "train with norm='batch' or 'none'"),
    ],
)
def test_what_nir_cannot_say_is_refused(graph, options, reason):
    with pytest.raises(ValueError, match=reason):
        to_nir(SpikingGNN(4, 3, timesteps=STEPS, **options), *graph)


def test_without_the_package_the_extra_is_named(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "msg-graph\[neuromorphic\]"'):
        to_nir(made(SpikingGNN, IF(reset="zero")), *graph)


def test_what_makes_no_sense_is_refused(graph):
    model = made(SpikingGNN, IF(reset="zero"))
    for options, reason in [
        ({"max_bytes": 1000}, r"would take 25,920 bytes: write the neighbourhoods .* with nodes="),
        ({"nodes": [12]}, "nodes must be one or more of 0 to 11"),
        ({"nodes": [1, 1]}, "each once"),
        ({"nodes": []}, "one or more"),
        ({"nodes": 3}, "one or more"),
        ({"nodes": [0.0, 1.5]}, "one or more"),
        ({"nodes": torch.ones(12, dtype=torch.bool)}, "one or more"),
        ({"dt": 0.0}, "dt must be positive"),
    ]:
        with pytest.raises(ValueError, match=reason):
            to_nir(model, *graph, **options)
    with pytest.raises(TypeError, match="Linear has no spiking stack"):
        to_nir(torch.nn.Linear(2, 2), *graph)


def test_an_input_that_does_not_fit_is_told():
    network = FoldedNetwork([torch.nn.Linear(6, 4), IF()])
    assert network(torch.rand(3, 6)).shape == (3, 4)
    assert network(torch.rand(6), 5).shape == (5, 4)
    for x, steps in ((torch.rand(6), None), (torch.rand(2, 3), 4), (torch.rand(2, 3), None)):
        with pytest.raises(ValueError, match=r"give x\[network.inputs\].flatten\(\) and timesteps"):
            network(x, steps)
    for x, steps in ((torch.rand(6), 0), (torch.rand(0, 6), None)):
        with pytest.raises(ValueError, match="timesteps must be a whole number of at least 1, not 0"):
            network(x, steps)


def test_a_step_takes_time(graph):
    written = to_nir(SpikingGNN(4, 3, timesteps=4, neuron=IF(reset="zero")).eval(), *graph)
    for dt in (0.0, -1e-4):
        with pytest.raises(ValueError, match="dt must be positive"):
            from_nir(written, dt=dt)
