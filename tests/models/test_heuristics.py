import pytest
import torch
from torch_geometric.utils import to_torch_csr_tensor

from msg.datasets import link_split, load_graph
from msg.graph import Neighborhoods
from msg.models.heuristics import PersonalizedPageRank, SharedNeighbors
from msg.names import MODELS
from msg.nn import L3, AdamicAdar, CommonNeighbors, PageRank, ResourceAllocation
from msg.training import Budget, Training, count_inference, decoder_of, fit, link_prediction


@pytest.fixture
def karate():
    return load_graph("karate", features="dense")


def test_scores_are_counts_in_their_order(karate):
    split = link_split(karate)
    pairs, edges = split.test["edge_label_index"], split.train["edge_index"]
    counts = Neighborhoods(edges, 34).counts(pairs)
    for column, kind in enumerate((CommonNeighbors, AdamicAdar, ResourceAllocation, L3)):
        model = kind(34)
        z = model(karate["x"], edges)
        assert z.shape == (34, 1)
        assert torch.equal(decoder_of(model, edges)(z, pairs), counts[:, column])


def dense_pagerank(edges, num_nodes, alpha, num_hops):
    adjacency = torch.zeros(num_nodes, num_nodes, dtype=torch.float64)
    adjacency[edges[0], edges[1]] = 1
    walk = adjacency / adjacency.sum(0).clamp(min=1)
    found = torch.eye(num_nodes, dtype=torch.float64)
    for _ in range(num_hops):
        found = alpha * torch.eye(num_nodes, dtype=torch.float64) + (1 - alpha) * walk @ found
    return found


@pytest.mark.parametrize(("alpha", "num_hops"), [(0.15, 10), (0.5, 1)])
def test_pagerank_is_that_of_both_ends(karate, alpha, num_hops, monkeypatch):
    monkeypatch.setattr("msg.models.heuristics._BLOCK", 7)  # several blocks
    edges = link_split(karate).train["edge_index"]
    pairs = torch.randint(34, (2, 200), generator=torch.Generator().manual_seed(0))
    pairs = pairs[:, pairs[0] != pairs[1]]
    degrees = edges[0].bincount(minlength=34)
    assert (degrees > 0).sum() > 25
    want = dense_pagerank(edges, 34, alpha, num_hops)
    source, target = pairs
    scores = PersonalizedPageRank(alpha, num_hops)(torch.zeros(34, 1), pairs, edges)
    torch.testing.assert_close(scores.double(), want[target, source] + want[source, target], rtol=1e-5, atol=1e-7)


def test_they_are_measured_once_and_nothing_is_trained(karate):
    model = AdamicAdar(34)
    task = link_prediction(karate, "link:60/20/20", model, 0)
    found = fit(model, task, Budget(epochs=50))
    assert len(found.history) == found.best_epoch == 1
    assert found.history[0].loss == found.history[0].val_loss
    assert found.test.metric > 0.5
    assert set(found.test.further) == {"average_precision", "mrr"}
    assert not count_inference(model, task).unknown


def test_a_state_is_kept_of_what_has_no_parameters(karate):
    model = PageRank(34)
    training = Training(model, link_prediction(karate, "link:60/20/20", model, 0), Budget())
    training.step()
    again = Training(PageRank(34), training.task, Budget())
    again.load_state_dict(training.state_dict())
    assert again.finished
    assert again.conclude().test == training.conclude().test


def test_by_name_and_bad_arguments():
    names = {"common-neighbors": CommonNeighbors, "adamic-adar": AdamicAdar, "resource-allocation": ResourceAllocation}
    for name, kind in {**names, "l3": L3, "pagerank": PageRank}.items():
        assert type(MODELS[name].build(5, None)) is kind
        assert MODELS[name].tasks == ("link-prediction",)
        with pytest.raises(ValueError, match="has no classes"):
            MODELS[name].build(5, 3)
    with pytest.raises(ValueError, match="unknown measure 'katz'"):
        SharedNeighbors("katz")
    for alpha in (0.0, 1.5, "0.2"):
        with pytest.raises(ValueError, match="PageRank needs 0 < alpha <= 1, not "):
            PersonalizedPageRank(alpha, 3)
    with pytest.raises(ValueError, match="num_hops must be a whole number of at least 1, not 0"):
        PersonalizedPageRank(0.2, 0)
    assert "alpha=0.15" in repr(PageRank(5))
    assert "adamic-adar" in repr(AdamicAdar(5))


def test_no_pairs():
    none = torch.zeros(2, 0, dtype=torch.long)
    edges = torch.tensor([[0, 1], [1, 0]])
    for decoder in (SharedNeighbors("l3"), PersonalizedPageRank()):
        assert decoder(torch.zeros(3, 1), none, edges).shape == (0,)
    apart = PersonalizedPageRank()(torch.zeros(3, 1), torch.tensor([[2, 0], [0, 2]]), edges)
    assert apart.tolist() == [0, 0]


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("kind", [CommonNeighbors, L3, PageRank], ids=lambda kind: kind.__name__)
def test_a_transposed_adjacency_matrix_is_read_as_edges(kind, karate):
    model, pairs = kind(karate.num_features), torch.tensor([[0, 4, 7], [1, 9, 20]])
    adjacency = to_torch_csr_tensor(karate.edge_index, size=(karate.num_nodes, karate.num_nodes)).transpose(0, 1)
    for edges in (karate.edge_index, adjacency):
        z = model(karate.x, edges)
        torch.testing.assert_close(z, model(karate.x, karate.edge_index))
        scores = model.link_decoder(z, pairs, edges)
        torch.testing.assert_close(scores, model.link_decoder(z, pairs, karate.edge_index))


def test_pairs_of_nodes_that_are_not_there_are_refused(karate):
    for kind in (CommonNeighbors, L3, PageRank):
        model = kind(karate.num_features)
        with pytest.raises(IndexError, match="pairs must name nodes"):
            model.link_decoder(model(karate.x, karate.edge_index), torch.tensor([[1], [-1]]), karate.edge_index)
