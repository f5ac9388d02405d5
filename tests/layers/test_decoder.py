import pytest
import torch

from msg.manifolds import distance, exp0, parse_signature
from msg.nn import FermiDirac


def test_logit_is_that_of_the_published_probability(space, dtype):
    manifold, dim = space
    z = exp0(manifold, torch.randn(6, dim, dtype=dtype))
    pairs = torch.tensor([[0, 1, 2, 3], [1, 2, 0, 3]])
    logits = FermiDirac(manifold, radius=1.5, temperature=0.7)(z, pairs)
    assert logits.dtype == dtype
    for k, (i, j) in enumerate(pairs.t().tolist()):
        d = distance(manifold, z[i : i + 1], z[j : j + 1]).item()
        p = 1 / (torch.exp(torch.tensor((d**2 - 1.5) / 0.7, dtype=torch.float64)) + 1)
        assert torch.sigmoid(logits[k].double()).item() == pytest.approx(p.item(), rel=1e-4)
    assert logits[3].item() == pytest.approx(1.5 / 0.7)


def test_gradient_pulls_linked_points_together_and_is_finite_for_a_point_with_itself(dtype):
    manifold, dim = parse_signature("H3")
    v = torch.randn(4, dim, dtype=dtype, requires_grad=True)
    decoder, pairs = FermiDirac(manifold), torch.tensor([[0, 1, 2], [1, 0, 2]])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        decoder(exp0(manifold, v), pairs), torch.ones(3, dtype=dtype)
    )
    (grad,) = torch.autograd.grad(loss, v)
    assert grad.isfinite().all()
    assert bool((grad[2:] == 0).all())
    nearer = exp0(manifold, v.detach() - 0.05 * grad)
    assert distance(manifold, nearer[0], nearer[1]) < distance(manifold, *exp0(manifold, v.detach())[:2])


def test_bad_temperature_and_repr():
    manifold, _ = parse_signature("H3")
    for temperature in (0.0, -1.0):
        with pytest.raises(ValueError, match="temperature"):
            FermiDirac(manifold, temperature=temperature)
    assert "radius=2, temperature=1" in repr(FermiDirac(manifold))
