import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import NearestNeighbors
from torch_geometric.datasets import KarateClub
from torch_geometric.utils import is_undirected

from msg.datasets import load_graph
from msg.datasets.generators import blocks, digits, disease, karate, tree
from msg.datasets.splits import MASKS


def test_digits_joins_nearest_neighbours():
    data = load_graph("digits")
    assert float(data.x.max()) == 1.0
    assert is_undirected(data.edge_index)
    # Each node has its ten nearest among its neighbours; compare distances, since many are equal.
    distances, _ = NearestNeighbors(n_neighbors=11).fit(data.x.numpy()).kneighbors()
    lengths = (data.x[data.edge_index[0]] - data.x[data.edge_index[1]]).norm(dim=1).numpy()
    sources = data.edge_index[0].numpy()
    for node in range(0, data.num_nodes, 100):
        np.testing.assert_allclose(np.sort(lengths[sources == node])[:10], distances[node][:10], rtol=1e-5)
    with pytest.raises(ValueError, match="neighbors must be between 1 and 1796"):
        digits(0)


def test_karate_has_a_whole_public_split():
    raw = karate()
    assert torch.equal(raw.masks["train_mask"], KarateClub()[0].train_mask)
    assert [int(raw.masks[name].sum()) for name in MASKS] == [4, 10, 20]
    assert int(sum(raw.masks[name].int() for name in MASKS).max()) == 1
    assert all(torch.equal(raw.masks[name], karate().masks[name]) for name in MASKS)


def test_disease_is_a_tree_with_a_connected_infection():
    raw = disease()
    parents, children = raw.edge_index
    assert torch.equal(children, torch.arange(1, 1044))
    assert (parents < children).all()
    assert int(parents.bincount().max()) <= 6
    assert raw.labels[0] == 1
    infected = raw.labels[children] == 1
    assert (raw.labels[parents[infected]] == 1).all(), "infected by a healthy parent"
    assert 0.3 < raw.labels.mean() < 0.7


def test_disease_features_inform_but_do_not_tell():
    raw = disease()
    share = max(raw.labels.mean(), 1 - raw.labels.mean())
    parent = np.concatenate([[0], raw.edge_index[0].numpy()])
    ancestors = [np.arange(1044)]
    for _ in range(3):
        ancestors.append(parent[ancestors[-1]])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)

    def accuracy(features):
        return cross_val_score(LogisticRegression(max_iter=1000), features, raw.labels, cv=folds).mean()

    alone, together = accuracy(raw.features), accuracy(np.hstack([raw.features[nodes] for nodes in ancestors]))
    assert alone < share + 0.1
    assert together > alone + 0.1


def test_disease_is_fixed_by_its_seed():
    first, again, other = disease(), disease(), disease(seed=1)
    assert (first.features == again.features).all()
    assert (first.labels == again.labels).all()
    assert (first.features != other.features).any()
    assert disease(num_nodes=2).edge_index.tolist() == [[0], [1]]


@pytest.mark.parametrize(
    "bad", [{"num_nodes": 1}, {"steps": 0}, {"transmission": 0.0}, {"resistant": 2}, {"noise": -1}]
)
def test_disease_rejects_bad_arguments(bad):
    with pytest.raises(ValueError, match="disease needs"):
        disease(**bad)


def test_tree_is_perfect_and_its_features_follow_it():
    raw = tree(branching=3, levels=4, correlation=0.5, num_features=2000, seed=1)
    parents, children = raw.edge_index
    assert raw.features.shape == (1 + 3 + 9 + 27, 2000)
    assert torch.equal(children, torch.arange(1, 40))
    assert parents.bincount().tolist() == [3] * 13
    noise = raw.features[children] - 0.5 * raw.features[parents]
    assert abs(noise.mean()) < 0.02
    assert abs(noise.var() - 1) < 0.02
    assert abs(np.mean(noise * raw.features[parents])) < 0.02
    first = raw.labels[1:4]
    assert first.tolist() == [0, 1, 2]
    below = children[parents > 0]
    assert (raw.labels[below] == raw.labels[parents[parents > 0]]).all()


def test_tree_of_noise_knows_nothing_of_its_edges():
    alone = tree(correlation=0.0, num_features=500)
    parents, children = alone.edge_index
    cosines = [np.corrcoef(alone.features[p], alone.features[c])[0, 1] for p, c in zip(parents, children)]
    assert abs(np.mean(cosines)) < 0.01
    assert load_graph("noise-tree").num_nodes == load_graph("tree").num_nodes == 1111
    assert (tree(seed=1).features != tree().features).any()
    for bad in ({"branching": 1}, {"levels": 1}, {"num_features": 0}, {"correlation": 2}):
        with pytest.raises(ValueError, match="tree needs"):
            tree(**bad)


def test_blocks_have_their_propensities_homophily_and_centres():
    raw = blocks(num_nodes=4000, num_edges=60_000, num_classes=10, num_features=400, homophily=0.7, noise=0.5)
    labels, (one, other) = raw.labels, raw.edge_index.numpy()
    sizes = np.bincount(labels, minlength=10) / 4000
    shares = 1 / np.arange(1, 11)
    np.testing.assert_allclose(sizes, shares / shares.sum(), atol=0.03)
    # the others fall into the same block by chance, in proportion to how many ends a block has
    ends = np.bincount(labels[one], minlength=10) / len(one)
    assert np.mean(labels[one] == labels[other]) == pytest.approx(0.7 + 0.3 * (ends**2).sum(), abs=0.02)
    assert np.bincount(one, minlength=4000).max() > 8 * 15
    means = np.stack([raw.features[labels == c].mean(0) for c in range(10)])
    spread = raw.features - means[labels]
    assert spread.std() == pytest.approx(0.5, abs=0.01)
    together = np.mean([np.mean(means[a] * means[b]) for a in range(5) for b in range(a)])
    assert together == pytest.approx(0.5, abs=0.2)
    assert abs(np.mean([np.mean(means[a] * means[b]) for a in range(5) for b in range(5, 10)])) < 0.2
    assert (blocks(4000, 100, seed=1).features != blocks(4000, 100).features).any()
    alone = blocks(50, 400, num_classes=5, homophily=1.0)
    assert (alone.labels[alone.edge_index[0]] == alone.labels[alone.edge_index[1]]).all()
    for bad in ({"num_nodes": 3}, {"num_classes": 1}, {"num_edges": 0}, {"homophily": 2}, {"noise": -1}):
        with pytest.raises(ValueError, match="blocks needs"):
            blocks(**bad)
