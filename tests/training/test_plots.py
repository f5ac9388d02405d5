import math

import geoopt
import pytest
import torch

from msg.manifolds import parse_signature
from msg.training import Epoch, Outcome
from msg.training.plots import curvature, draw, principal_plane, to_png


def outcome(model: str, baseline: bool) -> Outcome:
    history = [Epoch(n, 1 / n, 1.1 / n, 1 - 1 / n, (0.1,), 0.5, 0.01) for n in (1, 2, 3)]
    return Outcome(model, 0, baseline, 0.6, 0.5, 3, (0.1,), 0.5, {}, 10, history)


@pytest.mark.parametrize(
    ("signature", "title"),
    [
        ("H3", "Poincaré"),
        ("P3", "Poincaré"),
        ("S3", "sphere"),
        ("E3", "principal"),
        ("U3", "principal"),
        ("H2xS1", "principal"),
    ],
)
def test_picture(signature, title):
    manifold, dim = parse_signature(signature)
    tangent, labels = torch.randn(40, dim, dtype=torch.float64), torch.arange(40) % 3
    figure = draw([outcome("MSG", False), outcome("GCN", True)], "accuracy", tangent, labels, manifold)
    assert title in figure.axes[-1].get_title()
    png = to_png(figure)
    assert png.startswith(b"\x89PNG")
    assert len(png) > 20_000


def test_points_stay_in_the_disk_at_their_radius():
    manifold, _ = parse_signature("H3")
    tangent = torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [0, 9.5, 0]], dtype=torch.float64)
    figure = draw([outcome("MSG", False)], "accuracy", tangent, torch.zeros(3, dtype=torch.long), manifold)
    shown = torch.from_numpy(figure.axes[-1].collections[0].get_offsets().data)
    assert shown.norm(dim=1).tolist() == pytest.approx([0.0, math.tanh(1.0), math.tanh(4.75)])


def test_many_points_are_thinned():
    tangent = torch.randn(12_001, 2, dtype=torch.float64)
    figure = draw([outcome("MSG", False)], "roc_auc", tangent, torch.zeros(12_001, dtype=torch.long), None)
    assert 2_500 < len(figure.axes[-1].collections[0].get_offsets()) <= 5_000


def test_principal_plane():
    base = torch.randn(50, 2, dtype=torch.float64) * torch.tensor([3.0, 1.0])
    frame = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q[:, :2]
    plane = principal_plane(base @ frame.T)
    assert torch.allclose(plane @ plane.T, base @ base.T)
    assert principal_plane(torch.ones(4, 1, dtype=torch.float64)).shape == (4, 2)


def test_curvature():
    wide = torch.tensor(-0.25, dtype=torch.float64)
    spaces = [geoopt.Lorentz(k=4.0), geoopt.Sphere(), geoopt.PoincareBall(c=2.0), geoopt.Stereographic(k=wide)]
    assert [curvature(space) for space in spaces] == pytest.approx([-0.25, 1.0, -2.0, -0.25])
    assert curvature(geoopt.Euclidean(1)) == curvature(parse_signature("H2xS2")[0]) == 0
