"""What the maps at the origin cost, whether they run compiled or not."""

import geoopt
import pytest
import torch

from msg.energy import count, geometry
from msg.layers import FermiDirac, GyroplaneHead, LocalMean, OriginExp, OriginLog, TangentInnerProduct, Translation
from msg.manifolds import exp0, inner_products, path, squared_distances
from msg.nn import RiemannianConvergentGNN


def _counted(module, *args, convention="nonzero"):
    with torch.no_grad(), count(module) as ops:
        module(*args)
    assert not ops.unknown
    return ops.total(convention)


def test_maps_are_counted_by_the_formulas_of_their_family():
    manifold, u = geoopt.Lorentz(k=torch.tensor(1.0, dtype=torch.float64)), torch.randn(7, 3)
    first, move, log = geometry.exp0(manifold, 3), geometry.move(manifold, 3), geometry.log0(manifold, 3)
    target, source = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    kinds = ("multiply_accumulate", "multiply", "transcendental")
    exp = _counted(OriginExp(manifold), u)
    back = _counted(OriginLog(manifold), exp0(manifold, u.double()), torch.float32)
    bias = _counted(Translation(manifold, 3), u)
    local = _counted(LocalMean(manifold), u, target, source, torch.rand(3))
    dense = _counted(OriginExp(manifold), u, convention="dense")
    for kind in kinds:
        assert exp[kind] == 7 * first[kind]
        assert dense[kind] == 7 * move[kind]
        assert back[kind] == 7 * log[kind]
        assert bias[kind] == 7 * (first[kind] + move[kind] + log[kind])
        sums = 3 * 3 if kind == "multiply_accumulate" else 0
        assert local[kind] == 3 * (move[kind] + log[kind]) + 7 * (2 * first[kind] + move[kind] + log[kind]) + sums


class Scored(torch.nn.Module):
    """Geometry outside of any module with a rule, as a user writes it."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, z, pairs):
        return self.decoder(z, pairs)


H4 = geoopt.Lorentz(k=torch.tensor(1.0, dtype=torch.float64))
GEOMETRY = {
    "path": lambda z, pairs: path(H4, [z, z]),
    "inner products": inner_products,
    "distances": lambda z, pairs: squared_distances(H4, exp0(H4, z), pairs),
    "Fermi-Dirac": lambda z, pairs: FermiDirac(H4)(exp0(H4, z), pairs),
    "tangent vectors": lambda z, pairs: TangentInnerProduct(H4)(exp0(H4, z), pairs),
    "settling": RiemannianConvergentGNN(4, 3, "H4", steps=3).double().eval(),
}


@pytest.mark.parametrize("name", list(GEOMETRY))
def test_what_has_no_rule_is_counted_operator_by_operator_with_kernels_and_without(name, monkeypatch):
    module = Scored(GEOMETRY[name])
    z, pairs, found = torch.randn(7, 4, dtype=torch.float64), torch.randint(0, 7, (2, 20)), []
    for backend in ("auto", "torch"):
        monkeypatch.setenv("MSG_KERNELS", backend)
        with torch.no_grad(), count(module) as ops:
            module(z, pairs)
        assert not ops.unknown
        found.append(ops.total("nonzero"))
    assert found[0] == found[1]
    assert found[0]["multiply"] + found[0]["multiply_accumulate"] >= 7 * 4


def test_gyroplanes_take_two_products_and_a_sine_each():
    head = GyroplaneHead(geoopt.Stereographic(k=-1.0), 3, 4).double()
    found = _counted(head, 0.1 * torch.randn(7, 3, dtype=torch.float64))
    assert found["multiply_accumulate"] == 7 * (3 + 2) + 28 * (2 * 3 + 1)
    assert (found["accumulate"], found["multiply"], found["transcendental"]) == (28, 2 * 28, 7 + 28)
