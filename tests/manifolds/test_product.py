"""A power of a manifold; products of several are among the manifolds that all tests share."""

import io

import geoopt
import torch

from msg.manifolds import PowerManifold, curvature, distance, exp0, log0, move


def test_a_power_is_the_product_of_a_manifold_with_itself():
    factor = geoopt.Lorentz(k=2.0)
    power, product = PowerManifold(factor, 3, 2), geoopt.ProductManifold((factor, 3), (factor, 3))
    u, v = torch.randn(2, 5, 4, dtype=torch.float64)
    z = exp0(product, u)
    assert torch.equal(exp0(power, u), z)
    assert torch.equal(log0(power, z), log0(product, z))
    assert torch.equal(move(power, z, v), move(product, z, v))
    assert torch.equal(distance(power, z, move(power, z, v)), distance(product, z, move(product, z, v)))
    assert curvature(power) == curvature(product)


def test_a_power_is_one_module_wherever_it_goes():
    buffer = io.BytesIO()
    torch.save(PowerManifold(geoopt.Lorentz(k=2.0), 3, 2), buffer)
    buffer.seek(0)
    power = torch.load(buffer, weights_only=True)
    first, second = power.manifolds
    assert first is second
    assert [name for name, _ in power.named_parameters(remove_duplicate=False)] == ["factor.k"]
    assert float(first.k) == 2.0
