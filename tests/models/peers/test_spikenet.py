"""SpikeNet against its equations, node by node and place by place."""

import copy

import pytest
import torch
from torch_geometric.data import Data

from msg.energy import count
from msg.graph import Graph, neighbor_mean, partition, pick_neighbors
from msg.neurons import ScaledLIF
from msg.nn import SpikeNet
from msg.testing import assert_model

STEPS = 6


class _Unit:
    """A layer of neurons in the paper's form, with the derivative of 1 / (1 + |x|)²; its state is what it is given."""

    def __init__(self, threshold=1.0):
        self.threshold = threshold

    def __call__(self, current):
        x = current - self.threshold
        spike = (x > 0).double() + (x - x.detach()) / (1 + x.detach().abs()) ** 2
        self.threshold = 0.7 * self.threshold + 0.2 * spike
        return spike


def _mean(edge_index, node, values):
    """Of a node's neighbours and itself, read from the list of edges."""
    sources = [s for s, t in edge_index.t().tolist() if t == node]
    sources = sources if node in sources else [*sources, node]
    return sum(values[s] for s in sources) / len(sources)


def _at_nodes(model, x, edge_index, picks=None):
    """All layers at all nodes; ``picks[l][t][v]``: whom node v draws."""
    units = [[_Unit() for _ in range(len(x))] for _ in model.layers]
    train = []
    for t in range(model.timesteps):
        read = list(x)
        for number, layer in enumerate(model.layers):
            fired = []
            for v in range(len(x)):
                if picks is None:
                    mean = _mean(edge_index, v, read)
                else:
                    drawn = picks[number][t, v].tolist()
                    mean = sum(read[u] for u in drawn) / len(drawn)
                current = layer.own(read[v]) + layer.received(mean)
                fired.append(units[number][v](current))
            read = fired
        train.append(torch.stack(read))
    return model.readout(torch.cat(train, dim=1))


def _model(**options):
    torch.manual_seed(3)
    model = SpikeNet(5, 3, hidden_channels=8, last_channels=4, timesteps=STEPS, seed=1, **options).double()
    return model


def _same(got, want, model):
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    upstream = torch.randn(want.shape, dtype=want.dtype)
    parameters = list(model.parameters())
    a, b = (torch.autograd.grad((out * upstream).sum(), parameters, retain_graph=True) for out in (got, want))
    for one, other in zip(a, b):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.fixture
def x():
    return torch.randn(7, 5, dtype=torch.float64) * 2


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_evaluation_takes_the_mean_over_all_neighbours(x, edge_index, layers):
    model = _model(num_layers=layers).eval()
    assert 0.05 < model.train_of(x, edge_index).mean() < 0.95
    _same(model(x, edge_index), _at_nodes(model, x, edge_index), model)


@pytest.mark.parametrize("training", [True, False])
def test_neighbours_are_drawn_at_each_step(x, edge_index, training):
    model = _model(num_neighbors=(3, 2), sample_in_evaluation=True).train(training)
    matrix = neighbor_mean(Graph(edge_index, None, 7), torch.float64)
    generator = copy.deepcopy(model.draws).next()
    everyone = torch.arange(7).expand(STEPS, 7)
    picks = [pick_neighbors(matrix, everyone, number, generator) for number in (2, 3)]
    assert any(not torch.equal(now, picks[0][0]) for now in picks[0])
    _same(model(x, edge_index), _at_nodes(model, x, edge_index, picks), model)


def _in_trees(model, x, hops):
    """``hops[k][t][place]``: the node at a place k hops from its seed; two layers, a neuron for each place."""
    first, second = model.layers
    near, far = model.num_neighbors
    units = [[_Unit() for _ in range(7)], [_Unit() for _ in range(7 * near)], [_Unit() for _ in range(7)]]
    train = []
    for t in range(STEPS):
        nodes = [hop[t].tolist() for hop in hops]

        def mean(values, place, number):
            return sum(values[place * number : (place + 1) * number]) / number

        seeds = [
            units[0][p](first.own(x[v]) + first.received(mean([x[u] for u in nodes[1]], p, near)))
            for p, v in enumerate(nodes[0])
        ]
        around = [
            units[1][p](first.own(x[v]) + first.received(mean([x[u] for u in nodes[2]], p, far)))
            for p, v in enumerate(nodes[1])
        ]
        train.append(
            torch.stack([units[2][p](second.own(seeds[p]) + second.received(mean(around, p, near))) for p in range(7)])
        )
    return model.readout(torch.cat(train, dim=1))


def test_as_released_neurons_belong_to_places_in_trees(x, edge_index):
    model = _model(num_neighbors=(3, 2), sample_in_evaluation=True, as_released=True).eval()
    matrix = neighbor_mean(Graph(edge_index, None, 7), torch.float64)
    generator, hops = copy.deepcopy(model.draws).next(), [torch.arange(7).expand(STEPS, 7)]
    for number in (3, 2):
        hops.append(pick_neighbors(matrix, hops[-1], number, generator, distinct=True).flatten(1))
    _same(model(x, edge_index), _in_trees(model, x, hops), model)


def test_as_released_differs_while_sampled_and_not_otherwise(x, edge_index):
    ours, released = (
        _model(sample_in_evaluation=True).eval(),
        _model(sample_in_evaluation=True, as_released=True).eval(),
    )
    assert not torch.equal(ours(x, edge_index), released(x, edge_index))
    ours.sample_in_evaluation = released.sample_in_evaluation = False
    assert torch.equal(ours(x, edge_index), released(x, edge_index))


def test_as_released_a_state_is_found_by_another_node():
    # node 0 hears node 1, which is silent, or itself, which is loud: how soon a neuron at a place of the tree fires
    # depends on who stood there before; where a neuron belongs to a node it does not
    edge_index, x = torch.tensor([[1], [0]]), torch.tensor([[2.0], [0.3]])
    models = []
    for as_released in (False, True):
        model = SpikeNet(1, 2, 1, 2, 1, 12, (4, 1), neuron=None, sample_in_evaluation=True, as_released=as_released)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            model.layers[0].own.weight.fill_(1.0)
        models.append(model.eval())
    trains = []
    for model in models:
        seen = []
        model.layers[0].neurons.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
        model(x, edge_index)
        trains.append(seen[0])
    assert trains[0].shape == (12, 2, 1)
    assert trains[1].shape == (12, 2 + 2 * 4, 1)
    alone = trains[0][:, 1]  # node 1, always itself
    assert torch.equal(trains[1][:, 1], alone)
    # the places of node 0's tree hold node 1 at some steps: it fires there at another rhythm than its own
    assert not all(torch.equal(trains[1][:, place], alone) for place in range(2, 6))


def test_all_neighbours_may_be_read_in_training_too(x, edge_index):
    model = _model(num_neighbors=-1)
    assert torch.equal(model(x, edge_index), model.eval()(x, edge_index))


def test_samples_tend_to_the_mean_over_all(x, edge_index):
    exact, drawn = _model().eval(), _model(num_neighbors=2000, sample_in_evaluation=True).eval()
    same = (exact.train_of(x, edge_index) == drawn.train_of(x, edge_index)).double().mean()
    assert same > 0.9


def test_edge_weights_are_shares(x, edge_index):
    model, weight = _model().eval(), torch.rand(10, dtype=torch.float64)
    assert not torch.equal(model(x, edge_index, weight), model(x, edge_index))
    torch.testing.assert_close(model(x, edge_index, torch.ones(10)), model(x, edge_index))
    few = _model(num_neighbors=2, sample_in_evaluation=True).eval()
    assert few(x, edge_index, weight).isfinite().all()
    with pytest.raises(ValueError, match="not negative"):
        model(x, edge_index, -weight)


OPTIONS = [
    {},
    {"num_layers": 3, "norm": "batch", "residual": True},
    {"sample_in_evaluation": True, "norm": "layer"},
    {"sample_in_evaluation": True, "as_released": True, "num_layers": 3, "norm": "layer", "residual": True},
    {"neuron": ScaledLIF(2.0, 0.3), "dropout": 0.5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_contract_and_counting(options, edge_index):
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1)) * 2
    assert_model(lambda: SpikeNet(5, 3, 16, timesteps=5, **options), x, edge_index)
    model = SpikeNet(5, 3, 16, timesteps=5, **options)
    model(x, edge_index).sum().backward()  # in training mode, too
    with torch.no_grad(), count(model.eval()) as ops:
        model(x, edge_index)
    assert not ops.unknown


def test_residual_adds_the_current_below(x, edge_index):
    plain, past = _model(num_layers=3).eval(), _model(num_layers=3, residual=True).eval()
    past.load_state_dict(plain.state_dict(), strict=False)
    seen = {}
    for number, layer in enumerate(past.layers):
        layer.neurons.register_forward_hook(lambda _, args, out, n=number: seen.update({n: (args[0], out)}))
    past(x, edge_index)
    layer, matrix = past.layers[1], neighbor_mean(Graph(edge_index, None, 7), torch.float64)
    for t in range(STEPS):
        below, spikes = seen[0][0][t], seen[0][1][t]
        want = layer.own(spikes) + matrix.matmul(layer.received(spikes)) + below
        torch.testing.assert_close(seen[1][0][t], want)
    assert isinstance(past.layers[2].past, torch.nn.Linear)  # widths differ there


def test_training_draws_anew_and_can_be_had_again(x, edge_index):
    model = _model()
    twin = copy.deepcopy(model)
    first, second = model(x, edge_index), model(x, edge_index)
    assert not torch.equal(first, second)
    assert torch.equal(twin(x, edge_index), first)
    assert torch.equal(twin(x, edge_index), second)


@pytest.mark.parametrize(
    "bad",
    [
        {"num_layers": 0},
        {"timesteps": 0},
        {"hidden_channels": 0},
        {"last_channels": 0},
        {"num_neighbors": (5,)},
        {"num_neighbors": 0},
        {"num_neighbors": (5, -2)},
        {"num_neighbors": -1, "as_released": True},
        {"norm": "graph"},
        {"threshold": -1.0},
    ],
    ids=str,
)
def test_bad_arguments_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SpikeNet(5, 3, **bad)


def test_a_part_of_a_graph_is_refused(edge_index):
    part = partition(Data(edge_index=edge_index, num_nodes=7), 2, "range")[0]
    with pytest.raises(ValueError, match="SpikeNet"):
        SpikeNet(5, 3)(torch.rand(part.graph.num_nodes, 5), part.graph)


@pytest.mark.slow  # torch exports
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_it_is_exported_for_graphs_of_any_size(norm):
    model = SpikeNet(5, 3, norm=norm).eval()
    nodes, edges = torch.export.Dim("nodes", min=2), torch.export.Dim("edges", min=2)
    sizes = {"x": {0: nodes}, "edge_index": {1: edges}}
    example = torch.rand(8, 5), torch.randint(8, (2, 20))
    program = torch.export.export(model, example, dynamic_shapes=sizes).module()
    x, edge_index = torch.rand(11, 5), torch.randint(11, (2, 33))
    torch.testing.assert_close(program(x, edge_index), model(x, edge_index))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's compiler asks for it
def test_where_neighbours_are_drawn_a_compiler_goes_around():
    x, edge_index = torch.randn(6, 5), torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    model = SpikeNet(5, 3, hidden_channels=4)
    twin = copy.deepcopy(model)
    torch.testing.assert_close(torch.compile(model, backend="aot_eager")(x, edge_index), twin(x, edge_index))


def test_a_module_in_place_of_a_map_is_called_with_sparse_features_too():
    model = SpikeNet(5, 3).double().eval()
    x, edge_index = torch.rand(6, 5, dtype=torch.float64), torch.tensor([[0, 1, 2], [1, 2, 3]])
    model.layers[0].own = torch.nn.Sequential(model.layers[0].own, torch.nn.Tanh())
    torch.testing.assert_close(model(x.to_sparse(), edge_index), model(x, edge_index))


def test_a_map_without_bias_in_place_of_one_reads_sparse_features_too():
    model = SpikeNet(5, 3).double().eval()
    x, edge_index = torch.rand(6, 5, dtype=torch.float64), torch.tensor([[0, 1, 2], [1, 2, 3]])
    model.layers[0].own = torch.nn.Linear(5, model.layers[0].own.out_features, bias=False).double()
    torch.testing.assert_close(model(x.to_sparse(), edge_index), model(x, edge_index))
