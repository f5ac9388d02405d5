import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softsign

from msg.graph import Neighborhoods
from msg.manifolds import exp0, parse_signature
from msg.nn import FermiDirac, StructuralDecoder
from msg.training import inner_product

EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4, 0, 2, 0, 3], [1, 0, 2, 1, 3, 2, 4, 3, 2, 0, 3, 0]])
PAIRS = torch.tensor([[0, 0, 1, 4, 5], [1, 4, 3, 2, 0]])


def test_it_begins_as_the_decoder_inside():
    z = torch.randn(6, 3)
    decoder = StructuralDecoder(inner_product)
    torch.testing.assert_close(decoder(z, PAIRS, EDGES), softsign(inner_product(z, PAIRS)))


def test_the_logit_is_the_published_formula():
    decoder = StructuralDecoder(inner_product, hidden_channels=5).double()
    torch.nn.init.normal_(decoder.mlp[2].weight)
    torch.nn.init.constant_(decoder.scale, 0.7)
    z = torch.randn(6, 3, dtype=torch.float64)
    decoder(z, PAIRS, EDGES)  # in training, so that it knows means and variances
    logits = decoder.eval()(z, PAIRS, EDGES)
    mean, var = decoder.norm.running_mean, decoder.norm.running_var
    assert mean.any()
    graph = Neighborhoods(EDGES, 6)
    first, second, last = decoder.mlp[0], decoder.mlp[2].weight[0], decoder.mlp[2].bias[0]
    for k, (i, j) in enumerate(PAIRS.t().tolist()):
        s = float(z[i] @ z[j])
        cn, aa, ra, l3 = graph.counts(PAIRS[:, k : k + 1])[0].tolist()
        a, b = np.log1p(graph.degrees(PAIRS[:, k : k + 1])[0].numpy().astype(float))
        seen = [np.log1p(cn), np.log1p(aa), np.log1p(ra), np.log(1e-3 + ra), np.log(1e-3 + l3), a + b, abs(a - b)]
        scaled = (torch.tensor(seen, dtype=torch.float64) - mean) / (var + 1e-5).sqrt()
        inputs = torch.cat([torch.tensor([s / (1 + abs(s))], dtype=torch.float64), scaled])
        want = 0.7 * inputs[0] + second @ (first.weight @ inputs + first.bias).clamp(min=0) + last
        assert logits[k].item() == pytest.approx(want.item(), rel=1e-5)


def test_a_hook_or_an_adapter_at_its_hidden_layer_is_called():
    class Adapter(torch.nn.Module):
        def __init__(self, inside):
            super().__init__()
            self.inside = inside

        def forward(self, x):
            return self.inside(x) + 1

    decoder, z, ran = StructuralDecoder(inner_product), torch.randn(6, 3), []
    torch.nn.init.normal_(decoder.mlp[2].weight)
    plain = decoder(z, PAIRS, EDGES)
    with torch.no_grad():
        decoder.mlp[0].bias += 1
    want = decoder(z, PAIRS, EDGES)
    with torch.no_grad():
        decoder.mlp[0].bias -= 1
    hook = decoder.mlp[0].register_forward_hook(lambda _, given, out: ran.append(given[0].shape) or out + 1)
    torch.testing.assert_close(decoder(z, PAIRS, EDGES), want)
    assert ran == [(5, 8)]
    hook.remove()
    torch.testing.assert_close(decoder(z, PAIRS, EDGES), plain)
    decoder.mlp[0] = Adapter(decoder.mlp[0])
    torch.testing.assert_close(decoder(z, PAIRS, EDGES), want)


def test_a_hidden_layer_without_bias_in_place_of_its_own_has_a_bias_of_zero():
    decoder, z = StructuralDecoder(inner_product), torch.randn(6, 3)
    torch.nn.init.normal_(decoder.mlp[2].weight)
    torch.nn.init.zeros_(decoder.mlp[0].bias)
    want = decoder(z, PAIRS, EDGES)
    decoder.mlp[0].bias = None
    torch.testing.assert_close(decoder(z, PAIRS, EDGES), want)


def test_it_is_symmetric_and_sees_the_edges_it_is_given():
    decoder = StructuralDecoder(inner_product).eval()
    torch.nn.init.normal_(decoder.mlp[2].weight)
    z = torch.randn(6, 3)
    logits = decoder(z, PAIRS, EDGES)
    torch.testing.assert_close(decoder(z, PAIRS.flip(0), EDGES), logits)
    fewer = decoder(z, PAIRS, EDGES[:, 2:])  # without (0, 1)
    torch.testing.assert_close(fewer[0], logits[0])  # its own edge: it looked as if it were held out
    assert not torch.allclose(fewer[1:], logits[1:])
    torch.testing.assert_close(decoder(z, PAIRS, EDGES), logits)  # another graph came between


def test_counts_of_pairs_that_are_measured_again_are_remembered(monkeypatch):
    counted, decoder = [], StructuralDecoder(inner_product)
    own = decoder.structure
    monkeypatch.setattr(decoder, "structure", lambda *given: counted.append(len(counted)) or own(*given))
    z = torch.randn(6, 3)
    decoder(z, PAIRS, EDGES)
    decoder(z, PAIRS, EDGES)
    assert len(counted) == 2  # in training pairs are ever others
    decoder.eval()
    first = decoder(z, PAIRS, EDGES)
    torch.testing.assert_close(decoder(z, PAIRS, EDGES), first)
    assert len(counted) == 3
    decoder(z, PAIRS, EDGES[:, 2:])
    decoder(z, PAIRS.clone(), EDGES[:, 2:])
    assert len(counted) == 5


def test_on_a_manifold_the_points_and_the_decoder_learn(space, dtype):
    manifold, dim = space
    v = (0.5 * torch.randn(6, dim, dtype=dtype)).requires_grad_()
    decoder = StructuralDecoder(FermiDirac(manifold))
    torch.nn.init.normal_(decoder.mlp[2].weight)
    loss = binary_cross_entropy_with_logits(decoder(exp0(manifold, v), PAIRS, EDGES), torch.ones(5))
    loss.backward()
    assert v.grad is not None
    assert v.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in decoder.parameters())


def test_state_holds_its_own_weights_alone():
    manifold, _ = parse_signature("L3")  # a curvature that is learned belongs to the model
    decoder = StructuralDecoder(FermiDirac(manifold))
    assert {name.partition(".")[0] for name in decoder.state_dict()} == {"scale", "norm", "mlp"}
    z = exp0(manifold, torch.randn(6, 3))
    decoder(z, PAIRS, EDGES)
    decoder.eval()
    torch.testing.assert_close(copy.deepcopy(decoder)(z, PAIRS, EDGES), decoder(z, PAIRS, EDGES))
    torch.nn.init.normal_(decoder.mlp[2].weight)
    decoder.reset_parameters()
    assert not decoder.mlp[2].weight.any()
    assert not decoder.norm.running_mean.any()
    assert "FermiDirac" in repr(decoder)
    assert "inner_product" in repr(StructuralDecoder(inner_product))
    with pytest.raises(ValueError, match="hidden_channels must be a whole number of at least 1, not 0"):
        StructuralDecoder(inner_product, 0)
