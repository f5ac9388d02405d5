import numpy as np
import pytest
import torch
from sklearn import cluster
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

from msg.geometry import KMeans, pairwise_distances
from msg.manifolds import exp0, frechet_mean, move, parse_signature


def clusters(signature, each=12, spread=0.15, dtype=torch.float64):
    """Three clouds round points that are far apart."""
    manifold, dim = parse_signature(signature)
    centres = exp0(manifold, 1.5 * torch.eye(dim, dtype=dtype)[:3])
    labels = torch.arange(3).repeat_interleave(each)
    return manifold, move(manifold, centres[labels], spread * torch.randn(3 * each, dim, dtype=dtype)), labels


@pytest.mark.parametrize("mean", ["frechet", "centroid"])
@pytest.mark.parametrize("signature", ["E3", "H3", "S3", "P3", "H2xS2"])
def test_clouds_are_found(signature, mean, dtype):
    manifold, points, labels = clusters(signature, dtype=dtype)
    found = KMeans(manifold, 3, mean=mean).fit(points)
    assert adjusted_rand_score(labels, found.labels_) == 1
    assert (found.predict(points) == found.labels_).all()
    nearest = pairwise_distances(manifold, points.double(), torch.from_numpy(found.cluster_centers_)).min(1).values
    assert found.inertia_ == pytest.approx(float(nearest.square().sum()))
    if mean == "frechet":
        for number in range(3):
            own = frechet_mean(manifold, points.double()[torch.from_numpy(found.labels_ == number)])
            assert found.cluster_centers_[number] == pytest.approx(own.numpy(), abs=1e-5)


def test_in_flat_space_it_is_scikit_learns():
    manifold, points, _ = clusters("E3", spread=0.8)
    theirs = cluster.KMeans(4, n_init=20, random_state=0).fit(points.numpy())
    ours = KMeans(manifold, 4, n_init=20).fit(points.numpy())
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-6)
    assert adjusted_rand_score(theirs.labels_, ours.labels_) == 1


def test_as_many_centres_as_points_and_points_that_coincide():
    manifold, points, _ = clusters("H3", each=2)
    assert KMeans(manifold, 6).fit(points).inertia_ == pytest.approx(0, abs=1e-12)
    same = points[:1].expand(5, -1)
    found = KMeans(manifold, 3).fit(same)
    assert found.inertia_ == pytest.approx(0, abs=1e-12)
    assert np.isfinite(found.cluster_centers_).all()
    assert found.n_iter_ <= 2
    assert clone(found).n_clusters == 3


def test_bad_arguments():
    manifold, points, _ = clusters("H3", each=1)
    with pytest.raises(ValueError, match="n_clusters must be from 1 to the number of points, 3, not 4"):
        KMeans(manifold, 4).fit(points)
    with pytest.raises(ValueError, match="unknown mean 'median': use 'frechet' or 'centroid'"):
        KMeans(manifold, 2, mean="median").fit(points)
    with pytest.raises(ValueError, match="n_init must be a whole number of at least 1, not 0"):
        KMeans(manifold, 2, n_init=0).fit(points)
    with pytest.raises(ValueError, match="coordinates that are NaN: leave these points out"):
        KMeans(manifold, 2).fit(torch.full_like(points, torch.nan))


@pytest.mark.parametrize("mean", ["frechet", "centroid"])
@pytest.mark.parametrize("signature", ["L3", "U3", "L2xU2"])
def test_a_learned_curvature_is_what_it_is(signature, mean):
    manifold, points, labels = clusters(signature)
    found = KMeans(manifold, 3, mean=mean).fit(points)
    assert adjusted_rand_score(labels, found.labels_) == 1
    assert (found.predict(points) == found.labels_).all()
    assert all(parameter.grad is None for parameter in manifold.parameters())
