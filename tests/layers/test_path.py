"""Paths on a manifold: learned steps, and all points kept."""

import pytest
import torch
from torch.autograd import gradcheck

from msg.energy import count, tangent_readout
from msg.layers import JumpingPath, ManifoldPath
from msg.manifolds import log0, parse_signature
from msg.nn import MSG

SIGNATURES = ("E4", "H4", "S4", "H2xS2", "L4")


def drawn(width=4, number=3):
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(6, width, dtype=torch.float64, generator=draw) for _ in range(number)]


@pytest.mark.parametrize("signature", SIGNATURES)
def test_kept_points_are_those_that_the_path_passes(signature):
    manifold, width = parse_signature(signature)
    plain, jumping = ManifoldPath(manifold, width, 0.3), JumpingPath(manifold, width, 3, step_size=0.3)
    currents = drawn(width)
    points = [plain(currents[: end + 1]) for end in range(3)]
    assert torch.allclose(jumping(currents), torch.cat(points, -1), atol=1e-14)
    logarithms = torch.cat([log0(manifold, point) for point in points], -1)
    assert torch.allclose(log0(jumping.manifold, jumping(currents)), logarithms, atol=1e-14)


@pytest.mark.parametrize("signature", ["H4", "L4", "H2xL2"])
def test_another_curvature_lasts_for_its_call(signature):
    path, currents = JumpingPath(*parse_signature(signature), 3), drawn()
    before, points = dict(path.named_parameters()), path(currents)
    other = torch.func.functional_call(path, {name: p.detach() + 0.3 for name, p in before.items()}, (currents,))
    assert not torch.allclose(other, points)
    assert all(p is before[name] for name, p in path.named_parameters(remove_duplicate=False))
    assert torch.equal(path(currents), points)


@pytest.mark.parametrize("kind", [ManifoldPath, lambda *a, **o: JumpingPath(*a[:2], 3, **o)], ids=["last", "all"])
@pytest.mark.parametrize("signature", SIGNATURES)
def test_step_sizes_are_learned(kind, signature):
    manifold, width = parse_signature(signature)
    path, currents = kind(manifold, width, step_size=0.3, learned_steps=3).double(), drawn(width)
    fixed = kind(manifold, width, step_size=0.3)
    assert torch.allclose(path(currents), fixed(currents))
    assert path.growth is not None

    def moved(growth):
        return torch.func.functional_call(path, {"growth": growth}, (currents,))

    assert gradcheck(moved, torch.tensor([0.2, -0.4, 0.1], dtype=torch.float64, requires_grad=True))
    with torch.no_grad():
        path.growth.fill_(2.0).log_()
    assert torch.allclose(path(currents), kind(manifold, width, step_size=0.6)(currents))
    path.reset_parameters()
    assert torch.allclose(path(currents), fixed(currents))


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_model_that_reads_all_points(signature, edge_index, dtype):
    x = torch.rand(7, 5, dtype=dtype)
    model = MSG(5, 3, signature, 3, 5, step_size=0.3, jumping="cat", learn_step_size=True).to(dtype)
    manifold, _ = parse_signature(signature)
    currents = model.activity(x, edge_index).currents
    plain = ManifoldPath(manifold, 4, 0.3)
    read = torch.cat([log0(manifold, plain(currents[: end + 1]), dtype) for end in range(3)], -1)
    expected = torch.nn.functional.linear(read, model.head.lin.weight, model.head.lin.bias)
    assert torch.allclose(model(x, edge_index), expected, atol=1e-5 if dtype == torch.float32 else 1e-12)
    model(x, edge_index).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    copy = MSG(5, 3, signature, 3, 5, step_size=0.3, jumping="cat", learn_step_size=True).to(dtype)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy(x, edge_index), model(x, edge_index))


def test_all_of_it_is_counted(edge_index):
    x = torch.rand(7, 5)
    found = {}
    for jumping in ("none", "cat"):
        model = MSG(5, 3, "H4", 3, 5, jumping=jumping).eval()
        with count(model) as ops:
            model(x, edge_index)
        assert not ops.unknown
        found[jumping] = ops.modules
    assert found["cat"]["path"].nonzero["transcendental"] == found["none"]["path"].nonzero["transcendental"]
    assert found["cat"]["head"].nonzero["transcendental"] == 3 * found["none"]["head"].nonzero["transcendental"]
    products = [found[jumping]["head"].nonzero["multiply_accumulate"] for jumping in ("none", "cat")]
    assert products[1] - products[0] >= 7 * 3 * 8


def test_what_cannot_be(edge_index):
    with pytest.raises(ValueError, match="unknown jumping 'max': use 'none' or 'cat'"):
        MSG(5, 3, jumping="max")
    with pytest.raises(ValueError, match=r"a model that reads all points \(jumping='cat'\) has no single step"):
        tangent_readout(MSG(5, 3, jumping="cat"), torch.rand(7, 5), edge_index)
