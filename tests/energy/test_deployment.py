import pytest
import torch
from torch import nn

from msg.energy import disagreement, tangent_readout
from msg.nn import MSG, CachedGCN

EDGES = torch.tensor([[0, 1, 2, 3, 0, 1], [1, 2, 3, 0, 2, 0]])


def test_exact_on_flat_space():
    model = MSG(3, 2, "E4", timesteps=4, step_size=0.5).double().eval()
    x = torch.randn(5, 3, dtype=torch.float64)
    assert torch.allclose(tangent_readout(model, x, EDGES), model(x, EDGES), atol=1e-12)
    assert disagreement(model, x, EDGES).share == 0.0


@pytest.mark.parametrize("manifold", ["H4", "S4", "P4", "H2xS2"])
def test_exact_for_a_single_step(manifold):
    model = MSG(3, 2, manifold, num_layers=2, timesteps=4, step_size=0.5).double().eval()
    for parameter in model.stack.layers[1].parameters():
        nn.init.zeros_(parameter)  # the second step is none
    x = torch.randn(5, 3, dtype=torch.float64)
    assert torch.allclose(tangent_readout(model, x, EDGES), model(x, EDGES), atol=1e-9)


def test_steps_do_not_commute_on_curved_space():
    model = MSG(3, 7, "H8", num_layers=4, timesteps=4, step_size=5.0, max_step=None)
    x = 3 * torch.randn(5, 3)
    found = disagreement(model, x, EDGES)
    with torch.no_grad():
        differs = tangent_readout(model.eval(), x, EDGES).argmax(-1) != model(x, EDGES).argmax(-1)
    assert found.share == differs.double().mean()
    assert not torch.allclose(tangent_readout(model, x, EDGES), model(x, EDGES), atol=1e-3)
    for mask, share in ((differs, 1.0), (~differs, 0.0)):
        some = disagreement(model, x, EDGES, mask=mask)
        assert (some.share, some.nodes) == (share, int(mask.sum()))
        assert some.nodes > 0
    assert "% of 5 nodes" in str(found)


def test_the_shortcut_has_no_functions_of_the_manifold():
    model = MSG(3, 2, "H4", timesteps=4, max_step=None).train()
    found = disagreement(model, torch.randn(5, 3), EDGES).as_dict()
    assert found["shortcut"] == {"multiply": 3 * 5 * 4, "accumulate": 2 * 5 * 4}
    assert found["exact"]["transcendental"] == 5 * 4 + 2 * 5 * 6 + 5 * 3
    assert model.training


def test_only_msg_is_read_out_at_the_origin():
    with pytest.raises(ValueError, match="CachedGCN has no path on a manifold"):
        tangent_readout(CachedGCN(5, 8, 2, 3), torch.rand(5, 5), EDGES)


def test_points_have_no_read_out_at_the_origin():
    with pytest.raises(ValueError, match="without classes"):
        tangent_readout(MSG(3, None, "H4"), torch.randn(5, 3), EDGES)
