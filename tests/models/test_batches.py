from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.nn import GATConv, GraphConv, MessagePassing, TAGConv

from msg.gradients import OTTT, CheckpointedBPTT, DvM, RateBackprop, SurrogateBPTT
from msg.graph import NeighborSampler, SampledGraph, SparseMatrix
from msg.models import CachedGCN
from msg.neurons import ALIF, IF, LIF, ParametricLIF
from msg.nn import GAT, LSNN, MSG, SAGE, SGC, ConvergentGNN, Graph, SpikingGCN, SpikingGNN

pytestmark = pytest.mark.covering

NODES, FEATURES, CLASSES = 60, 5, 3
RULES = {
    "dvm": DvM(),
    "rate": RateBackprop(),
    "bptt": SurrogateBPTT(),
    "ottt": OTTT(),
    "checkpointed": CheckpointedBPTT(),
}


def msg(**options):
    options = {"num_layers": 3, "timesteps": 6, "manifold": "H4", "neuron": LIF(threshold=0.3), **options}
    return MSG(FEATURES, CLASSES, **options)


def watched(model):
    for module in model.modules():
        if isinstance(module, MessagePassing):
            module.register_forward_hook(lambda *_: None)
    return model


def pruned(model):
    for layer in model.layers:
        prune.random_unstructured(layer.conv.lin, "weight", 0.2)
    return model


MODELS = {
    "msg": msg,
    "msg, four convolutions": lambda: msg(num_layers=4),
    "msg, two convolutions": lambda: msg(num_layers=2, neuron=IF(0.3)),
    "msg, points": lambda: MSG(FEATURES, None, "H2xS2", timesteps=6, neuron=IF(0.3)),
    "msg, sage": lambda: msg(conv="sage"),
    "msg, gin": lambda: msg(conv="gin"),
    "msg, linear": lambda: msg(conv="linear"),
    "msg, wide": lambda: msg(conv="sage", manifold="H40"),
    "msg, gat": lambda: msg(conv=GATConv),
    "msg, graphconv": lambda: msg(conv=GraphConv),
    "msg, plif": lambda: msg(neuron=ParametricLIF(threshold=0.3), gradient=SurrogateBPTT()),
    "msg, alif": lambda: msg(neuron=ALIF(threshold=0.3)),
    "spiking-gnn": lambda: SpikingGNN(FEATURES, CLASSES, 4, 2, 6, IF(0.2)),
    "spiking-gnn, sage": lambda: SpikingGNN(FEATURES, CLASSES, 4, 3, 6, LIF(threshold=0.2), conv="sage"),
    "spiking-gnn-conv": lambda: SpikingGNN(FEATURES, CLASSES, 4, 3, 6, IF(0.2), readout="conv"),
    "spikinggcn": lambda: SpikingGCN(FEATURES, CLASSES, 3, 6, IF(0.2)),
    "cached-gcn": lambda: CachedGCN(FEATURES, 4, 3, CLASSES),
    "sage": lambda: SAGE(FEATURES, 4, 2, CLASSES),
    "gat": lambda: GAT(FEATURES, 4, 2, CLASSES, heads=2),
    "sgc": lambda: SGC(FEATURES, CLASSES, 2),
    **{f"msg, {name}": lambda m=name: msg(manifold=m) for name in ("E4", "S4", "P4", "U4", "L4", "H2xS2xE1")},
    **{f"msg, {name}": lambda r=rule: msg(gradient=r) for name, rule in RULES.items()},
    "msg, watched": lambda: watched(msg()),
    "msg, sage, watched": lambda: watched(msg(conv="sage")),
    "cached-gcn, watched": lambda: watched(CachedGCN(FEATURES, 4, 3, CLASSES)),
    "cached-gcn, pruned": lambda: pruned(CachedGCN(FEATURES, 4, 3, CLASSES)),
    "msg, reset to zero": lambda: msg(neuron=IF(0.3, reset="zero")),
}


def close(got, want):
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.fixture
def data():
    edge_index = torch.randint(NODES, (2, 240))
    edge_index[:, :3] = torch.arange(3)  # loops; the last five nodes have no edge
    edge_index[edge_index >= NODES - 5] = 0
    return Data(torch.randn(NODES, FEATURES, dtype=torch.float64), edge_index, edge_weight=torch.rand(240).double())


@pytest.fixture
def model(request):
    return MODELS[request.param]().double().eval()


def sample(data, hops, fan_out=3, seeds=8):
    """A batch, and the arguments that trim it."""
    sampler = NeighborSampler(data, [fan_out] * hops, seed=0)
    nodes = torch.randperm(NODES)[:seeds]
    batch = next(iter(NodeLoader(data, sampler, nodes, batch_size=seeds)))
    return batch, {
        "batch_size": seeds,
        "num_sampled_nodes_per_hop": batch.num_sampled_nodes,
        "num_sampled_edges_per_hop": batch.num_sampled_edges,
    }


def everything(data, batch_size=7, **options):
    return NodeLoader(data, NeighborSampler(data, [-1]), batch_size=batch_size, **options)


@pytest.fixture(params=["auto", "torch"])
def kernels(request, monkeypatch):
    monkeypatch.setenv("MSG_KERNELS", request.param)


every_model = pytest.mark.parametrize("model", MODELS, indirect=True)


@every_model
def test_trimmed_layers_give_seeds_what_untrimmed_ones_give(data, model, kernels):
    for hops in (model.hops - 1, model.hops, model.hops + 1):
        batch, trim = sample(data, max(hops, 1))
        want = model(batch.x, batch.edge_index)
        close(model(batch.x, batch.edge_index, **trim), want[:8])
        close(model(batch.x, batch.edge_index, batch_size=8), want[:8])


@every_model
def test_gradients_of_trimmed_layers_are_those_of_untrimmed_ones(data, model, kernels):
    batch, trim = sample(data, model.hops)
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = []
    for out in (model(batch.x, batch.edge_index)[:8], model(batch.x, batch.edge_index, **trim)):
        found.append(torch.autograd.grad(out.square().sum(), parameters, allow_unused=True, materialize_grads=True))
    for untrimmed, trimmed in zip(*found):
        torch.testing.assert_close(trimmed, untrimmed, rtol=1e-9, atol=1e-11)


@every_model
def test_inference_is_the_forward(data, model, kernels):
    data.edge_weight = None
    with torch.no_grad():
        want = model(data.x, data.edge_index)
    close(model.inference(everything(data)), want)


def test_inference_follows_autocast(data):
    data.x, data.edge_weight = data.x.float(), data.edge_weight.float()
    for seed in range(3):
        torch.manual_seed(seed)
        model = SpikingGNN(FEATURES, 3, 8, readout="conv", timesteps=4).eval()
        with torch.autocast("cpu", torch.bfloat16):
            want = model(data.x, data.edge_index, data.edge_weight)
            got = model.inference(everything(data, batch_size=NODES))
        torch.testing.assert_close(got, want.detach(), rtol=0.02, atol=0.02, check_dtype=False)


def test_spikes_are_the_same_to_the_bit(data, kernels):
    model = msg().double().eval()
    batch, trim = sample(data, 3)
    want = model.activity(batch.x, batch.edge_index)
    got = model.activity(batch.x, batch.edge_index, **trim)
    assert [len(rate) for rate in got.rates] == [sum(batch.num_sampled_nodes[: hop + 1]) for hop in (2, 1)]
    for trimmed, untrimmed in zip(got.rates, want.rates):
        assert torch.equal(trimmed, untrimmed[: len(trimmed)])


@pytest.mark.parametrize("conv", ["gcn", "sage", "gin", GraphConv])
def test_weights_and_learned_weights(data, conv):
    model = msg(conv=conv).double().eval()
    batch, trim = sample(data, 3)
    weight = batch.edge_weight.requires_grad_()
    want = model(batch.x, batch.edge_index, weight)[:8]
    got = model(batch.x, batch.edge_index, weight, **trim)
    close(got, want)
    (to_want,) = torch.autograd.grad(want.square().sum(), weight)
    (to_got,) = torch.autograd.grad(got.square().sum(), weight)
    close(to_got, to_want)
    with torch.no_grad():
        close(model.inference(everything(data)), model(data.x, data.edge_index, data.edge_weight))


@pytest.mark.parametrize("conv", ["sage", "gin"])
def test_all_neighbours_give_seeds_what_the_whole_graph_gives_them(data, conv):
    model = msg(conv=conv).double().eval()
    batch, trim = sample(data, 3, fan_out=-1)
    want = model(data.x, data.edge_index)[batch.n_id[:8]]
    close(model(batch.x, batch.edge_index, **trim), want)


def test_a_gcn_normalises_in_the_sample(data):
    """Of a sample with a hop more than convolutions all degrees that are read are those of the graph."""
    model = msg().double().eval()
    batch, trim = sample(data, 4, fan_out=-1)
    want = model(data.x, data.edge_index)[batch.n_id[:8]]
    close(model(batch.x, batch.edge_index, **trim), want)


def test_trains_and_sparse_features(data):
    model = msg().double().eval()
    batch, trim = sample(data, 3)
    train = torch.randn(6, len(batch.x), FEATURES, dtype=torch.float64)
    close(model(train, batch.edge_index, **trim), model(train, batch.edge_index)[:8])
    sparse = (batch.x * (batch.x > 0)).to_sparse_coo()
    close(model(sparse, batch.edge_index, **trim), model(sparse.to_dense(), batch.edge_index)[:8])
    data.edge_weight = None
    loader = everything(data)
    data.x = data.x * (data.x > 0)
    loader.data.x = data.x.to_sparse_coo().coalesce()
    close(model.inference(loader), model(data.x, data.edge_index).detach())


def test_narrow_features_of_a_batch_are_widened_under_autocast(data):
    model = msg().eval()
    batch, trim = sample(data, 3)
    weight = batch.edge_weight.float()
    narrow = (batch.x * (batch.x > 0)).bfloat16()
    row, col = narrow.nonzero().T
    with torch.autocast("cpu", torch.bfloat16):
        want = model(narrow.float(), batch.edge_index, weight, **trim)
        for x in (narrow, narrow.to_sparse_coo(), SparseMatrix(row, col, narrow[row, col], tuple(narrow.shape))):
            torch.testing.assert_close(model(x, batch.edge_index, weight, **trim), want, rtol=0.05, atol=0.05)
            whole = model(x, batch.edge_index, weight)
            torch.testing.assert_close(whole[:8], want, rtol=0.05, atol=0.05)


def test_a_link_loaders_batch_has_seeds_without_a_size(data):
    model = msg(conv="sage").double().eval()
    batch, trim = sample(data, 3)
    del trim["batch_size"]
    assert model(batch.x, batch.edge_index, **trim).shape == (8, CLASSES)


def test_online_runs_on_a_batch(data):
    model = msg(gradient=OTTT()).double().eval()
    batch, trim = sample(data, 3)
    want = [out[:8] for out in model.online(batch.x, batch.edge_index)]
    for a, b in zip(model.online(batch.x, batch.edge_index, **trim), want, strict=True):
        close(a, b)


def test_a_batch_neither_displaces_the_whole_graph_nor_is_remembered(data, monkeypatch):
    model = msg().double()
    model(data.x, data.edge_index)
    built, init = [], Graph.__init__
    monkeypatch.setattr(Graph, "__init__", lambda self, *args: (built.append(type(self)), init(self, *args))[1])
    for _ in range(3):
        batch, trim = sample(data, 3)
        model(batch.x, batch.edge_index, **trim)
        model(data.x, data.edge_index)
    assert built.count(SampledGraph) == 3
    assert Graph not in [kind for kind in built if kind is not SampledGraph][3:]  # the samplers' own


def test_inference_holds_packed_spikes_of_all_nodes_and_one_batch(kernels):
    """The largest tensors are the packed spikes of all nodes, and what one batch unpacks of them."""
    nodes, width, steps, batch = 1300, 64, 20, 10
    edge_index = torch.randint(nodes, (2, 4 * nodes))
    data = Data(torch.randn(nodes, FEATURES), edge_index)
    model = MSG(FEATURES, CLASSES, f"E{width}", timesteps=steps, neuron=LIF(threshold=0.3)).eval()
    largest = LargestTensor()
    with largest:
        out = model.inference(everything(data, batch))
    assert out.shape == (nodes, CLASSES)
    of_a_batch = 6 * batch * steps * width * 4  # unpacked, with four neighbours each and the node itself
    packed, current = nodes * steps * width // 8, nodes * width * 4
    assert largest.bytes <= max(packed, current, of_a_batch) <= nodes * steps * width * 4 / 20  # unpacked spikes


class LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
    """Sees what every operation returns."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return out


def test_a_convolution_that_cannot_be_tried_is_taken_at_its_word(data):
    model = msg(conv=GraphConv).double()
    for layer in model.stack.layers:
        prune.l1_unstructured(layer.synapse.conv.lin_rel, "weight", 0.3)
    model(data.x, data.edge_index).sum().backward()  # a pruned weight of a graph has no copy
    data.edge_weight = None
    model.eval()
    close(model.inference(everything(data)), model(data.x, data.edge_index).detach())


def test_what_inference_refuses(data):
    model = msg().double()
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        model.inference(everything(data))
    model.eval()
    with pytest.raises(ValueError, match="NodeLoader"):
        model.inference([data])
    with pytest.raises(ValueError, match=r"one hop.*\[-1\], not \[-1, -1\]"):
        model.inference(NodeLoader(data, NeighborSampler(data, [-1, -1])))
    with pytest.raises(ValueError, match="leaves out 50 nodes"):
        model.inference(everything(data, input_nodes=torch.arange(10)))
    with pytest.raises(ValueError, match="TAGConv looks 3 hops far in one"):
        msg(conv=TAGConv).double().eval().inference(everything(data))
    with pytest.raises(ValueError, match="TAGConv the edges of a batch's nodes, and it reads others"):
        msg(conv=partial(TAGConv, K=1)).double().eval().inference(everything(data))
    wrong = everything(data)
    wrong.node_sampler = NeighborSampler(data, [2])
    wrong.node_sampler.num_neighbors = [-1]
    wrong.node_sampler._pointers = torch.zeros_like(wrong.node_sampler._pointers)
    with pytest.raises(ValueError, match="some are missing"):
        model.inference(wrong)


def test_what_a_batch_refuses(data):
    model = msg().double()
    batch, trim = sample(data, 3)
    call = lambda **changes: model(batch.x, batch.edge_index, **{**trim, **changes})  # noqa: E731
    with pytest.raises(ValueError, match="both, or neither"):
        call(num_sampled_edges_per_hop=None)
    with pytest.raises(ValueError, match="batch_size=9, but there are 8 seeds"):
        call(batch_size=9)
    with pytest.raises(ValueError, match="counts 1 nodes"):
        call(num_sampled_nodes_per_hop=[1], batch_size=1)
    with pytest.raises(ValueError, match="num_sampled_nodes and num_sampled_edges"):
        call(num_sampled_edges_per_hop=[1, 2, 3])
    # edges in another order than the sampler's
    nodes = batch.num_sampled_nodes
    with pytest.raises(ValueError, match="beyond the first"):
        model(batch.x, batch.edge_index.flip(0), **trim)
    assert sum(nodes) == len(batch.x)
    for other in (ConvergentGNN(FEATURES, CLASSES), LSNN(FEATURES, CLASSES, conv="gcn")):
        with pytest.raises(TypeError, match=rf"{type(other).__name__}.*batch_size"):
            other(batch.x, batch.edge_index, batch_size=8)


def test_rows_of_matrices():
    row, col = torch.tensor([0, 2, 1, 2]), torch.tensor([1, 0, 1, 2])
    matrix = SparseMatrix(row, col, torch.arange(1.0, 5.0), (3, 3))
    dense = matrix.csr.to_dense()
    assert torch.equal(matrix.first(2, 2).csr.to_dense(), dense[:2, :2])
    assert torch.equal(matrix.first(2, 2).transposed.to_dense(), dense[:2, :2].t())
    with pytest.raises(ValueError, match="first 2 columns"):
        matrix.first(3, 2)
    rows, place = torch.tensor([2, 0]), torch.tensor([1, 2, 0])
    assert torch.equal(
        matrix.take(rows, place, 4).csr.to_dense()[:, [1, 2, 0, 3]], torch.nn.functional.pad(dense[rows], (0, 1))
    )
    assert torch.equal(matrix.take(rows).csr.to_dense(), dense[rows])


def test_dropout_and_linear_heads_see_seeds_alone(data):
    model = msg(dropout=0.5).double().train()
    batch, trim = sample(data, 3)
    seen = []
    for module in (model.path, model.head):
        module.register_forward_hook(lambda _, args, out: seen.append(len(out)))
    model(batch.x, batch.edge_index, **trim)
    assert seen == [8, 8]
    assert isinstance(model.head, nn.Module)
