import pytest
import torch

from msg.experiments import RunConfig, build_model
from msg.manifolds import distance, exp0, log0, parse_signature
from msg.names import MODELS
from msg.nn import MSG, FermiDirac, TangentInnerProduct
from msg.training import add_tangent_decoder, decoder_of


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


def test_inner_product_of_tangent_vectors(space, dtype):
    manifold, dim = space
    v = torch.randn(6, dim, dtype=dtype)
    pairs = torch.tensor([[0, 1, 2, 3], [1, 2, 0, 3]])
    logits = TangentInnerProduct(manifold)(exp0(manifold, v), pairs)
    assert logits.dtype == dtype
    u = log0(manifold, exp0(manifold, v))
    torch.testing.assert_close(logits, torch.stack([u[i] @ u[j] for i, j in pairs.t().tolist()]))


@pytest.mark.parametrize("name", [name for name in MODELS if "similarity" in MODELS[name].options])
def test_models_on_manifolds_may_have_it(name):
    plain = RunConfig(task="link-prediction", model=name, baseline="none")
    x, edges = torch.rand(6, 4), torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    for decoder in ("plain", "structural"):
        model = build_model(plain.with_options(similarity="tangent", decoder=decoder), 4, 2)
        score = decoder_of(model, edges)
        assert score(model(x, edges), edges).shape == (4,)
    assert isinstance(model.plain_link_decoder, TangentInnerProduct)
    assert set(model.state_dict()) == set(build_model(plain.with_options(decoder="structural"), 4, 2).state_dict())


def test_a_model_without_a_manifold_has_no_tangent_vectors():
    with pytest.raises(ValueError, match="Linear has no manifold: its pairs are scored by an inner product"):
        add_tangent_decoder(torch.nn.Linear(2, 2))
    model = MSG(4, None, "H3", num_layers=2)
    add_tangent_decoder(model)
    assert isinstance(model.link_decoder, TangentInnerProduct)
