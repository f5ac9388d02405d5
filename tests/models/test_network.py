import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from msg.gradients import DvM, SurrogateBPTT
from msg.graph import Memo
from msg.kernels import operators
from msg.layers import LastCurrent, current_layer, readout_layer, spiking_layers
from msg.neurons import IF, ReLU
from msg.nn import (
    GASNN,
    GCSNN,
    HGCN,
    MSG,
    SGC,
    BernoulliSpikingGCN,
    ConvergentGNN,
    Graph,
    SpikeGraphormer,
    SpikingGCN,
    SpikingGNN,
    SpikingNetwork,
    SpikingStack,
    make_synapse,
)
from msg.training import peak_memory

MODELS = {
    "MSG": lambda **kw: MSG(5, 3, "H4", 3, **kw),
    "MSG, BPTT": lambda **kw: MSG(5, 3, "H4", 3, gradient=SurrogateBPTT(), **kw),
    "SpikingGNN": lambda **kw: SpikingGNN(5, 3, 4, 3, **kw),
}


@pytest.fixture(params=list(MODELS))
def make(request):
    return MODELS[request.param]


@pytest.mark.parametrize("kind", [MSG, SpikingGNN, SGC, GASNN, ConvergentGNN])
def test_sizes_that_cannot_be_are_refused(kind):
    for sizes, said in (
        ((-1, 3), "in_channels must be at least 1, not -1"),
        ((5, 0), "out_channels must be a whole number of at least 1, not 0"),
        ((5, "3"), "out_channels must be a whole number of at least 1, not '3'"),
        *([] if kind is MSG else [((5, None), "out_channels must be a whole number of at least 1, not None")]),
    ):
        with pytest.raises(ValueError, match=said):
            kind(*sizes)
    if kind in (SpikingGNN, GASNN, ConvergentGNN):
        with pytest.raises(ValueError, match="hidden_channels must be a whole number of at least 1, not 0"):
            kind(5, 3, hidden_channels=0)
    if kind is SGC:
        with pytest.raises(ValueError, match="num_hops must be a whole number of at least 0, not -1"):
            SGC(5, 3, num_hops=-1)


def test_bad_shapes_are_explained(make, edge_index):
    model = make(timesteps=4)
    for shape in ((7, 6), (7,), (4, 7, 6), (1, 4, 7, 5)):
        with pytest.raises(ValueError, match=r"\[num_nodes, 5\]\s+or \[4, num_nodes, 5\]"):
            model(torch.randn(shape), edge_index)
    with pytest.raises(ValueError, match=r"3 time steps.*timesteps=4"):
        model(torch.randn(3, 7, 5), edge_index)
    with pytest.raises(ValueError, match=r"node 6.*6 nodes"):
        model(torch.randn(6, 5), torch.tensor([[6], [0]]))
    with pytest.raises(ValueError, match="10 edges"):
        model(torch.randn(7, 5), edge_index, torch.ones(9))
    with pytest.raises(ValueError, match="bipartite"):
        model((torch.randn(7, 5), torch.randn(7, 5)), edge_index)


@pytest.mark.parametrize("timesteps", [0, -1])
def test_bad_timesteps(make, timesteps):
    with pytest.raises(ValueError, match="timesteps"):
        make(timesteps=timesteps)


@pytest.mark.parametrize("kind", [MSG, SpikingGNN, SpikingGCN, GCSNN, SpikeGraphormer, BernoulliSpikingGCN])
def test_other_timesteps_are_checked_as_the_first_were(kind, edge_index):
    model = kind(5, 3).eval()
    before = model.timesteps
    for bad in (0, -3, 2.5, True):
        with pytest.raises(ValueError, match="timesteps must be a whole number of at least 1"):
            model.timesteps = bad
    assert model.timesteps == before
    model.timesteps = 3
    assert model(torch.rand(7, 5), edge_index).shape == (7, 3)


def test_activations_are_sent_at_once_however_timesteps_are_set():
    model = MSG(5, 3, timesteps=1, neuron=ReLU())
    with pytest.raises(ValueError, match="timesteps=5 contradicts ReLU"):
        model.timesteps = 5


@pytest.mark.parametrize("steps", [0, -1])
def test_kernels_refuse_what_has_no_step(steps):
    with pytest.raises((ValueError, RuntimeError)):
        operators.encode(torch.rand(7, 5), steps, 0.5, 1.0, True, -1, 0.0, 0.0, True)


def test_sparse_features_equal_dense(make, edge_index, dtype, dyadic):
    # the product of features and weights is exact, so that either way the same neurons fire
    model = dyadic(make(timesteps=4).to(dtype))
    dense = dyadic(torch.randn(7, 5, dtype=dtype) * (torch.rand(7, 5) < 0.5) * 3)
    want = model(dense, edge_index)
    sparse = dense.to_sparse_coo()
    got = model(sparse, edge_index)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
    parameters = list(model.stack.layers.parameters())
    grads = [torch.autograd.grad(out.square().sum(), parameters, allow_unused=True) for out in (got, want)]
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_features_and_graph_changed_in_place_are_seen(make, edge_index):
    model, x = make(timesteps=4), torch.randn(7, 5) * 3
    weight = torch.rand(10)
    model(x, edge_index, weight)
    weight.mul_(0.1)
    got = model(x, edge_index, weight)
    assert torch.equal(got, model(x, edge_index.clone(), weight.clone()))
    edge_index[:, 0] = torch.tensor([5, 6])
    assert torch.equal(model(x, edge_index, weight), model(x, edge_index.clone(), weight.clone()))
    # the same edges, another number of nodes
    assert model(torch.randn(9, 5), edge_index, weight).shape == (9, 3)


def test_graph_is_built_once_for_many_forwards(make, edge_index, monkeypatch):
    built, init = [], Graph.__init__

    def counted(self, *args):
        built.append(1)
        init(self, *args)

    monkeypatch.setattr(Graph, "__init__", counted)
    model = make(timesteps=4)
    for _ in range(3):
        model(torch.randn(7, 5), edge_index)
    assert len(built) == 1


def test_unit_weights_change_nothing_where_the_loop_has_weight_one(make, edge_index):
    model, x = make(timesteps=4), torch.randn(7, 5) * 3
    torch.testing.assert_close(model(x, edge_index), model(x, edge_index, torch.ones(10)))


def test_reset_parameters(make):
    model = make(timesteps=4)
    with torch.no_grad():
        for parameter in model.stack.layers.parameters():
            parameter.fill_(7.0)
    model.reset_parameters()
    for name, parameter in model.stack.layers.named_parameters():
        assert not bool((parameter == 7.0).any()), name


def test_layers_are_made_by_size_each_with_its_own_neuron():
    layers = spiking_layers("sage", [5, 4, 3], IF(threshold=0.3))
    assert [layer.out_channels for layer in layers] == [4, 3]
    assert layers[0].neuron is not layers[1].neuron
    assert layers[0].neuron.threshold == 0.3
    assert current_layer("gcn", 4, 3).neuron is None
    assert readout_layer(4, 3, 0.0).linear

    network = SpikingNetwork(SpikingStack([*layers, readout_layer(3, 2, 0.0)], 4, DvM()), LastCurrent(), nn.Identity())
    network.in_channels = 5
    assert len(network.activity(torch.randn(7, 5), torch.zeros(2, 0, dtype=torch.long)).currents) == 3
    assert make_synapse("gcn", 4, 3).linear


def mapped(path, nodes=20_000, features=2500):
    """Training steps and an inference on features in a file, under two rules."""
    torch.set_num_threads(1)
    edge_index = torch.randint(0, nodes, (2, nodes))
    model, rules = MSG(features, 3, "H4", 2, 2), (DvM(), SurrogateBPTT())

    def step(x, edge_index):
        for model.gradient in rules:
            model(x, edge_index).sum().backward()

    step(torch.rand(10, features), edge_index % 10)  # what is compiled and loaded at the first call

    def work():
        step(torch.from_numpy(np.memmap(path, np.float32, "c", shape=(nodes, features))), edge_index)
        with torch.no_grad():
            model(torch.from_file(path, size=nodes * features).view(nodes, features), edge_index)

    return work


@pytest.mark.slow
def test_features_may_be_a_memory_map(tmp_path):
    """The file is 200 MB: its pages count, once read, and a copy would count as much again."""
    path = tmp_path / "features"
    with open(path, "wb") as file:
        file.truncate(200_000_000)
    peak = peak_memory(mapped, str(path), times=1)
    assert peak is None or 150 < peak < 250


def test_what_a_memo_reads_is_not_copied(tmp_path):
    """It is read some numbers at a time."""
    x = torch.zeros(3_000_001)
    made = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **kwargs or {})
            if isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() != x.untyped_storage().data_ptr():
                made.append(out.untyped_storage().nbytes())
            return out

    with Watch():
        Memo().recall((x,), (), lambda: 1)
    assert 0 < max(made) <= 2**18


@pytest.mark.parametrize("model", [MSG, HGCN, SpikingGCN])
def test_a_graph_without_features_is_told_what_to_do(model, edge_index):
    with pytest.raises(ValueError, match=r"x is None, but models read features: make some, as .*OneHotDegree"):
        model(5, 3)(None, edge_index)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's compiler asks for it
@pytest.mark.parametrize("layout", ["to_sparse_coo", "to_sparse_csr"])
def test_sparse_features_are_compiled_around(layout):
    x, edge_index = getattr(torch.eye(4, 5), layout)(), torch.tensor([[0, 1, 2], [1, 2, 3]])
    model = SpikingGNN(5, 3, hidden_channels=4).eval()
    torch.testing.assert_close(torch.compile(model, backend="aot_eager")(x, edge_index), model(x, edge_index))
