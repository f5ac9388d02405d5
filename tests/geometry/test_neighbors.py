import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from msg.geometry import nearest_neighbors, neighbors, pairwise_distances
from msg.manifolds import distance, exp0, parse_signature


def cloud(signature, number, dtype=torch.float64):
    manifold, dim = parse_signature(signature)
    return manifold, exp0(manifold, torch.randn(number, dim, dtype=dtype))


@pytest.mark.parametrize("signature", ["E3", "H3", "S3", "P3", "H2xS1"])
def test_pairs_one_by_one(signature, dtype, monkeypatch):
    manifold, x = cloud(signature, 7, dtype)
    y = x.flip(0)[:4]
    for entries in (2**22, 1):
        monkeypatch.setattr(neighbors, "_ENTRIES", entries)
        found = pairwise_distances(manifold, x, y)
        assert found.dtype == dtype
        for i in range(7):
            for j in range(4):
                torch.testing.assert_close(found[i, j], distance(manifold, x[i], y[j]))


def test_neighbours_are_scikit_learns(monkeypatch):
    manifold, x = cloud("H2", 30)
    every = pairwise_distances(manifold, x).fill_diagonal_(0).numpy()
    expected = NearestNeighbors(n_neighbors=4, metric="precomputed").fit(every).kneighbors()
    for entries in (2**22, 1):
        monkeypatch.setattr(neighbors, "_ENTRIES", entries)
        apart, index = nearest_neighbors(manifold, x, 4)
        assert index.tolist() == expected[1].tolist()
        assert apart.numpy() == pytest.approx(expected[0])
    # of other points
    apart, index = nearest_neighbors(manifold, x, 1, queries=x[5:8])
    assert index.flatten().tolist() == [5, 6, 7]
    labels = (x[:, 1] > 0).numpy()
    assert KNeighborsClassifier(3, metric="precomputed").fit(every, labels).score(every, labels) > 0.8


def test_bad_arguments():
    manifold, x = cloud("S2", 5)
    with pytest.raises(ValueError, match="k must be from 1 to the number of other points, 4, not 5"):
        nearest_neighbors(manifold, x, 5)
    assert nearest_neighbors(manifold, x, 5, queries=x)[1].shape == (5, 5)
    assert [part.shape for part in nearest_neighbors(manifold, x, 2, queries=x[:0])] == [(0, 2), (0, 2)]
    with pytest.raises(ValueError, match="off the manifold"):
        pairwise_distances(manifold, x, 2 * x)
