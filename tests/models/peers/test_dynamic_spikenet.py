"""SpikeNet on snapshots against a slow loop over the places of its trees."""

import copy

import pytest
import torch

from msg.datasets import pulses
from msg.energy import count
from msg.graph import Graph, neighbor_mean, pick_neighbors
from msg.nn import DynamicSpikeNet, SpikeNet

STEPS, NODES = 4, 7


@pytest.fixture
def edges():
    generator = torch.Generator().manual_seed(4)
    return [torch.randint(NODES, (2, size), generator=generator) for size in (5, 0, 6, 3)]


@pytest.fixture
def x():
    return 2 * torch.randn(STEPS, NODES, 5, dtype=torch.float64)


def _model(**options):
    torch.manual_seed(3)
    options = {"hidden_channels": 8, "last_channels": 4, "num_neighbors": (3, 2), "seed": 1, **options}
    return DynamicSpikeNet(5, 3, STEPS, **options).double()


class _Unit:
    """A place's neurons in the paper's form, with the derivative of a sigmoid."""

    def __init__(self):
        self.threshold = 1.0

    def __call__(self, current):
        u = current - self.threshold
        spike = (u > 0).double() + (s := torch.sigmoid(u)) - s.detach()
        self.threshold = 0.7 * self.threshold + 0.2 * spike
        return spike


def _loop(model, x, hops):
    """``hops[k][t][place]``: the node at a place k hops from its seed; two layers."""
    first, second = model.layers
    near, far = model.num_neighbors
    seeds = hops[0].size(1)
    units = [[_Unit() for _ in range(seeds)], [_Unit() for _ in range(seeds * near)], [_Unit() for _ in range(seeds)]]
    train = []
    for t in range(STEPS):

        def fire(unit, layer, own, below):
            return unit(layer.own(own) + layer.received(sum(below) / len(below)))

        at = [[x[t][v] for v in hop[t].tolist()] for hop in hops]
        inner = [fire(units[0][p], first, own, at[1][p * near : p * near + near]) for p, own in enumerate(at[0])]
        outer = [fire(units[1][p], first, own, at[2][p * far : p * far + far]) for p, own in enumerate(at[1])]
        last = [fire(units[2][p], second, own, outer[p * near : p * near + near]) for p, own in enumerate(inner)]
        train.append(torch.stack(last))
    return model.readout(torch.cat(train, dim=1))


def _hops(model, edges, seeds):
    """What the model draws, from its own generator and from edges collected by hand."""
    generator, hops = copy.deepcopy(model.draws).next(), [torch.tensor(seeds).expand(STEPS, -1)]
    for drawn in model.num_neighbors:
        old = max(int(model.cumulative_share * drawn), 1)
        steps = []
        for t in range(STEPS):
            known = {pair for new in edges[: t + 1] for pair in map(tuple, new.t().tolist())}
            picks = []
            for pairs, number in ((known, old), (set(map(tuple, edges[t].t().tolist())), drawn - old)):
                if number:
                    both = torch.tensor(sorted(pairs), dtype=torch.long).view(-1, 2).t()
                    matrix = neighbor_mean(Graph(both, None, NODES), torch.float64)
                    picks.append(pick_neighbors(matrix, hops[-1][t], number, generator, distinct=True))
            steps.append(torch.cat(picks, dim=-1).flatten())
        hops.append(torch.stack(steps))
    return hops


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_are_those_of_the_slow_loop(x, edges, share, training):
    model, seeds = _model(cumulative_share=share).train(training), [4, 0, 6]
    want = _loop(model, x, _hops(model, edges, seeds))
    got = model(x, edges, torch.tensor(seeds))
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    upstream, parameters = torch.randn_like(want), list(model.parameters())
    a, b = (torch.autograd.grad((out * upstream).sum(), parameters) for out in (got, want))
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    assert all(grad.any() for grad in a)


def test_a_graph_that_stays_is_the_static_network(x, edges):
    # everything is there at the first step, nothing is new after it, and features are the same
    model = _model(cumulative_share=1.0).eval()
    static = SpikeNet(5, 3, 8, 2, 4, STEPS, (3, 2), surrogate=model.layers[0].neurons.surrogate, as_released=True)
    static = static.double().eval()
    static.sample_in_evaluation = True
    whole = torch.cat(edges, dim=1).unique(dim=1)
    static.load_state_dict(model.state_dict())
    snapshots = [whole, *[whole[:, :0]] * (STEPS - 1)]
    got = model(x[0], snapshots)
    assert torch.equal(got, model([x[0]] * STEPS, snapshots))
    # the same distribution, not the same draws: with one candidate a node both draw it
    alone = [whole[:, :0]] * STEPS
    torch.testing.assert_close(model(x[0], alone), static(x[0], whole[:, :0]))
    assert got.shape == (NODES, 3)


def test_training_draws_anew_evaluation_does_not(x, edges):
    model = _model(dropout=0.3)
    assert not torch.equal(model(x, edges), model(x, edges))
    model.eval()
    assert torch.equal(model(x, edges), model(x, edges))
    other = DynamicSpikeNet.from_config(model.config).double().eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x, edges), model(x, edges))
    with torch.no_grad(), count(model) as ops:
        model(x, edges)
    assert not ops.unknown


def test_snapshots_that_do_not_fit_are_refused(x, edges):
    model = _model()
    for call, message in (
        (lambda: model(x[:3], edges), "4 timesteps, but there are features of 3"),
        (lambda: model(x, edges[:2]), "edges of 2 snapshots"),
        (lambda: model([*x[:3], x[3, :5]], edges), "features of the same nodes"),
        (lambda: model(x, edges, torch.ones(NODES, dtype=torch.bool)), r"list of numbers from 0 to 6.*mask\.nonzero"),
        (lambda: model(x, edges, torch.ones(2)), "list of numbers from 0 to 6"),
        (lambda: model(x.float(), edges), "x is torch.float32"),
        (lambda: model(x, [*edges[:3], edges[0] + 5]), "refers to node"),
        (lambda: model(x[..., :3], edges), r"needs \[num_nodes, 5\]"),
        (lambda: model(x, edges, torch.tensor([7])), "numbers from 0 to 6"),
        (lambda: model(x, edges, torch.tensor([-1])), "numbers from 0 to 6"),
        (lambda: model([now.to_sparse_csr() for now in x], edges), "to_dense"),
        (lambda: _model(cumulative_share=1.5), "cumulative_share"),
        (lambda: _model(num_neighbors=-1), "num_neighbors"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_what_new_edges_said_a_step_ago_is_learned():
    # old edges hide them among those of other steps; samples of eight with replacement do not tell all of three senders
    right = {}
    for share in (0.0, 1.0):
        torch.manual_seed(0)
        model = DynamicSpikeNet(2, 2, 4, 32, 1, 32, num_neighbors=8, cumulative_share=share)
        optimizer, hits = torch.optim.Adam(model.parameters(), lr=0.03), []
        for number in range(40):
            snapshots = pulses(num_nodes=150, num_snapshots=4, delay=1, seed=number)
            out, y = model([s.x for s in snapshots], [s.edge_index for s in snapshots]), snapshots[-1].y
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(out, y).backward()
            optimizer.step()
            hits.append((out.argmax(-1) == y).double().mean().item())
        right[share] = sum(hits[-10:]) / 10  # each before its update, on snapshots never seen
    assert right[0.0] > 0.7
    assert right[1.0] < 0.68


def test_nodes_are_numbers_of_any_integer_type(x, edges):
    model = _model().eval()
    want = model(x, edges, torch.tensor([4, 1]))
    for nodes in (torch.tensor([4, 1], dtype=torch.uint8), [4, 1]):
        torch.testing.assert_close(model(x, edges, nodes), want)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's compiler asks for it
def test_a_compiler_goes_around_what_is_drawn(x, edges):
    model = _model().eval()
    want = copy.deepcopy(model)(x, edges)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(model, backend="aot_eager")(x, edges), want)
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore:Sparse")
def test_snapshots_may_be_adjacency_matrices(x, edges):
    once = [torch.unique(one, dim=1) for one in edges]
    values = [torch.ones(one.size(1), dtype=x.dtype) for one in once]
    matrices = [torch.sparse_coo_tensor(one.flip(0), v, (NODES, NODES)) for one, v in zip(once, values)]
    assert torch.equal(_model()(x, [one.to_sparse_csr() for one in matrices]), _model()(x, once))
    with pytest.raises(ValueError, match="give adjacency matrices of ones"):
        _model()(x, [2 * one for one in matrices])
