import math

import geoopt
import numpy as np
import pytest
import torch

from msg.geometry import node_trajectories, plot_embedding
from msg.manifolds import exp0, log0, parse_signature
from msg.nn import MSG, SpikingGNN
from msg.report.figures import to_png
from msg.training import watching


def cloud(signature, number=20):
    manifold, dim = parse_signature(signature)
    return manifold, exp0(manifold, torch.randn(number, dim))


def drawn(axes):
    """Coordinates of the points of one panel."""
    shown = axes.collections[-1]
    return np.stack(shown._offsets3d, axis=1) if hasattr(shown, "_offsets3d") else np.asarray(shown.get_offsets())


@pytest.mark.parametrize(
    ("signature", "titles"),
    [
        ("H2", ["Poincaré disk"]),
        ("S2", ["sphere"]),
        ("E4", ["principal"]),
        ("H4xS2", ["Poincaré disk", "sphere"]),
        ("S1xS1", ["torus"]),
        ("S1xH1", ["sphere", "Poincaré disk"]),
    ],
)
def test_each_factor_has_its_chart(signature, titles):
    manifold, points = cloud(signature)
    figure = plot_embedding(manifold, points, torch.arange(20) % 3)
    assert len(figure.axes) == len(titles)
    for axes, title in zip(figure.axes, titles):
        assert title in axes.get_title()
        assert len(drawn(axes)) == 20
    assert to_png(figure).startswith(b"\x89PNG")


def test_two_dimensions_are_shown_as_they_are():
    manifold, points = cloud("H2")
    vectors = log0(manifold, points).numpy()
    radius = np.linalg.norm(vectors, axis=1, keepdims=True)
    shown = drawn(plot_embedding(manifold, points).axes[0])
    np.testing.assert_allclose(shown, np.tanh(radius / 2) * vectors / radius, atol=1e-5)
    # in units of the radius of curvature
    np.testing.assert_allclose(drawn(plot_embedding(geoopt.Scaled(manifold, 3.0), points).axes[0]), shown)


def test_angles_on_the_torus():
    manifold, _ = parse_signature("S1xS1")
    points = exp0(manifold, torch.tensor([[0.0, 0.0], [math.pi / 2, 0.0], [0.0, math.pi / 2]]))
    found = drawn(plot_embedding(manifold, points).axes[0])
    np.testing.assert_allclose(found, [[3, 0, 0], [0, 3, 0], [2, 0, 1]], atol=1e-6)


@pytest.mark.parametrize("signature", ["H4", "S1xS1", "H2xS2"])
def test_trajectories_end_where_the_model_puts_the_nodes(signature):
    torch.manual_seed(0)
    model = MSG(5, 3, manifold=signature, num_layers=3, timesteps=4, step_size=0.5)
    x, edges = torch.rand(8, 5), torch.stack([torch.arange(8), (torch.arange(8) + 1) % 8])
    ways = node_trajectories(model, x, edges, torch.tensor([1, 4]), substeps=5)
    with torch.no_grad(), watching(model) as seen:
        model(x, edges)
    points = seen.points[0][1]
    assert ways.shape == (1 + 5 * len(seen.activities[0][1].currents), 2, points.size(1))
    torch.testing.assert_close(ways[-1], points[[1, 4]])
    assert not log0(model.path.manifold, ways[0]).any()
    figure = plot_embedding(model.path.manifold, points, trajectories=ways)
    for axes in figure.axes:
        lines = [line for line in axes.lines if len(line.get_xdata()) == len(ways)]
        assert len(lines) == 2


def test_bad_arguments():
    manifold, points = cloud("H2")
    with pytest.raises(ValueError, match=r"\[N, ambient_dim\] with at least one, not \[0, 3\]"):
        plot_embedding(manifold, points[:0])
    with pytest.raises(ValueError, match=r"trajectories must have shape \[T, n, 3\]"):
        plot_embedding(manifold, points, trajectories=points)
    with pytest.raises(ValueError, match=r"labels must have shape \[\d+\], one for each point, not \[3\]"):
        plot_embedding(manifold, points, labels=torch.zeros(3))
    many = geoopt.ProductManifold(*[(geoopt.Euclidean(1), 1)] * 7)
    with pytest.raises(ValueError, match="product of 7 factors has no picture"):
        plot_embedding(many, torch.randn(3, 7))
    edges = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="SpikingGNN has no path on a manifold"):
        node_trajectories(SpikingGNN(3, 2), torch.rand(2, 3), edges, torch.tensor([0]))
    with pytest.raises(ValueError, match="substeps must be a whole number of at least 1"):
        node_trajectories(MSG(3, 2, manifold="H2"), torch.rand(2, 3), edges, torch.tensor([0]), substeps=0)
