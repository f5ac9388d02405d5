import geoopt
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score

from msg.geometry import GyroplaneClassifier
from msg.layers import GyroplaneHead
from msg.manifolds import exp0, log0, parse_signature


def points_of(signature, number=80):
    manifold, dim = parse_signature(signature)
    labels = torch.arange(number) % 3
    vectors = 0.5 * torch.randn(number, dim, dtype=torch.float64)
    vectors[torch.arange(number), labels % dim] += 1
    return manifold, exp0(manifold, vectors), labels


@pytest.mark.parametrize("C", [0.1, 10.0])
def test_in_flat_space_it_is_scikit_learns(C):
    manifold, points, labels = points_of("E3")
    ours = GyroplaneClassifier(manifold, C=C).fit(points, labels)
    theirs = LogisticRegression(C=C, tol=1e-8, max_iter=1000).fit(points.numpy(), labels.numpy())
    assert ours.hyperplanes_[0].normal.numpy() == pytest.approx(theirs.coef_, abs=1e-4)
    assert ours.predict_proba(points) == pytest.approx(theirs.predict_proba(points.numpy()), abs=1e-4)
    assert log_loss(labels, ours.predict_proba(points)) == pytest.approx(
        log_loss(labels, theirs.predict_proba(points.numpy())), abs=1e-5
    )


@pytest.mark.parametrize("signature", ["H3", "S3", "P3", "L3", "H2xS2"])
def test_classes_on_a_curved_space(signature):
    manifold, points, labels = points_of(signature)
    found = GyroplaneClassifier(manifold).fit(points.float(), np.array(["a", "b", "c"])[labels])
    assert found.score(points, np.array(["a", "b", "c"])[labels]) > 0.8
    assert found.predict_proba(points).sum(1) == pytest.approx(np.ones(len(points)))
    again = GyroplaneClassifier(manifold).fit(points.float(), np.array(["a", "b", "c"])[labels])
    assert (again.decision_function(points) == found.decision_function(points)).all()


def test_the_hyperboloid_and_the_ball_are_one_space():
    manifold, points, labels = points_of("H3")
    ball = geoopt.PoincareBall(c=torch.tensor(1.0, dtype=torch.float64))
    ours = GyroplaneClassifier(manifold).fit(points, labels)
    other = GyroplaneClassifier(ball).fit(exp0(ball, log0(manifold, points)), labels)
    on_ball = exp0(ball, log0(manifold, points))
    assert ours.decision_function(points) == pytest.approx(other.decision_function(on_ball), abs=1e-4)
    head = GyroplaneHead(ball, 3, 3).double()
    foot = -other.hyperplanes_[0].bias[:, None] * other.hyperplanes_[0].normal
    foot = foot / other.hyperplanes_[0].normal.square().sum(1, keepdim=True)
    with torch.no_grad():
        head.offset.copy_(foot / 2)  # of the chart, in which vectors at the origin are half as long
        factor = 2 / (1 - exp0(ball, foot).square().sum(1, keepdim=True))
        head.normal.copy_(other.hyperplanes_[0].normal / factor)
        np.testing.assert_allclose(head(on_ball), other.decision_function(on_ball), rtol=1e-9)


@pytest.mark.parametrize("scale", [3.0, 0.2])
def test_a_scaled_manifold_is_as_large_as_it_says(scale):
    manifold, points, labels = points_of("E3")
    ours = GyroplaneClassifier(geoopt.Scaled(manifold, scale)).fit(points, labels)
    theirs = LogisticRegression(tol=1e-8, max_iter=1000).fit(scale * points.numpy(), labels.numpy())
    assert ours.predict_proba(points) == pytest.approx(theirs.predict_proba(scale * points.numpy()), abs=1e-4)
    product = geoopt.ProductManifold((geoopt.Scaled(geoopt.Euclidean(1), scale), 2), (geoopt.Euclidean(1), 1))
    stretched = points * torch.tensor([scale, scale, 1.0], dtype=torch.float64)
    ours = GyroplaneClassifier(product).fit(points, labels)
    theirs = LogisticRegression(tol=1e-8, max_iter=1000).fit(stretched.numpy(), labels.numpy())
    # each factor's hyperplane has a bias, of which one would do
    assert ours.predict(points).tolist() == theirs.predict(stretched.numpy()).tolist()
    assert ours.predict_proba(points) == pytest.approx(theirs.predict_proba(stretched.numpy()), abs=1e-4)


def test_the_curvature_of_a_scaled_sphere():
    manifold, points, labels = points_of("S3")
    scaled = geoopt.Scaled(manifold, 2.0)
    wide = exp0(scaled, 2 * log0(manifold, points))
    torch.testing.assert_close(wide, points)
    found = GyroplaneClassifier(geoopt.Scaled(geoopt.Scaled(manifold, 4.0), 0.25)).fit(points, labels)
    plain = GyroplaneClassifier(manifold).fit(points, labels)
    assert found.predict_proba(points) == pytest.approx(plain.predict_proba(points), abs=1e-6)
    assert GyroplaneClassifier(scaled).fit(points, labels).predict_proba(points) != pytest.approx(
        plain.predict_proba(points), abs=1e-3
    )


def test_a_sphere_may_be_turned():
    manifold, _ = parse_signature("S2")
    points = exp0(manifold, 0.12 * torch.randn(200, 2, dtype=torch.float64))
    labels = points[:, 2] > 0.1
    for axes in ([1.0, 1, 1], [-1, -1, 1]):  # the second puts them about the antipode of the origin
        turned = points @ torch.diag(torch.tensor(axes, dtype=torch.float64))
        assert GyroplaneClassifier(manifold, C=100.0).fit(turned, labels).score(turned, labels) > 0.97


@pytest.mark.parametrize("radius", [15.0, 40.0, 100.0])
def test_points_so_far_out_that_a_ball_cannot_hold_them(radius):
    manifold, _ = parse_signature("H2")
    direction = torch.nn.functional.normalize(torch.randn(40, 2, dtype=torch.float64), dim=-1)
    points = torch.cat([torch.full((40, 1), np.cosh(radius), dtype=torch.float64), np.sinh(radius) * direction], dim=1)
    labels = direction[:, 0] > 0
    found = GyroplaneClassifier(manifold, C=10.0).fit(points, labels)
    assert np.isfinite(found.decision_function(points)).all()
    assert found.score(points, labels) > 0.95


def test_it_works_with_scikit_learn_and_leaves_the_generator_alone():
    manifold, points, labels = points_of("H3")
    before = torch.get_rng_state()
    assert cross_val_score(GyroplaneClassifier(manifold), points.numpy(), labels.numpy(), cv=3).mean() > 0.7
    assert torch.equal(torch.get_rng_state(), before)


def test_bad_arguments():
    manifold, points, labels = points_of("H3")
    with pytest.raises(ValueError, match="needs two classes"):
        GyroplaneClassifier(manifold).fit(points, torch.zeros(len(points)))
    with pytest.raises(ValueError, match="one label for each of the 80 points"):
        GyroplaneClassifier(manifold).fit(points, labels[:5])
    with pytest.raises(ValueError, match="C must be positive, not 0"):
        GyroplaneClassifier(manifold, C=0).fit(points, labels)
