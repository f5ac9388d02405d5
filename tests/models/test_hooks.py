"""What PyTorch's and PyG's tools put on modules acts in networks that read weights and graphs in their own way too."""

import pytest
import torch
from torch.nn.utils import prune
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

from msg.layers import RecurrentSpikingLayer
from msg.models import Propagated
from msg.neurons import ALIF
from msg.nn import LSNN, CachedGCN, ConvergentGNN, RiemannianConvergentGNN, SpikeNet

RING = torch.tensor([[0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 0, 1, 2, 3, 4, 5]])


def _train():
    return (torch.rand(5, 6, 6, dtype=torch.float64) > 0.5).double()


def _features():
    return torch.randn(6, 6, dtype=torch.float64)


PRUNED = {
    "read-out of LSNN": (lambda: LSNN(6, 3), lambda m: m.lin, lambda m, x: m(x)[0], _train),
    "recurrence": (
        lambda: RecurrentSpikingLayer(6, 8, ALIF()),
        lambda m: m.recurrent,
        lambda m, x: m(x)[0],
        _train,
    ),
    "coupling": (lambda: ConvergentGNN(6, 3), lambda m: m.convs[1].lin, lambda m, x: m(x, RING), _features),
    "sparse features": (
        lambda: SpikeNet(6, 3, 8),
        lambda m: m.layers[0].own,
        lambda m, x: m(x.to_sparse(), RING),
        _features,
    ),
}


@pytest.mark.parametrize("name", list(PRUNED))
def test_pruned_weights_are_those_that_are_used(name):
    make, part, run, inputs = PRUNED[name]
    model, x = make().double().eval(), inputs()
    with torch.no_grad():
        for parameter in part(model).parameters():
            parameter.normal_()
        whole = run(model, x)
        prune.random_unstructured(part(model), "weight", 0.5)
        part(model).weight_orig.mul_(3)
        pruned = run(model, x)
        prune.remove(part(model), "weight")
        torch.testing.assert_close(run(model, x), pruned)
    assert not torch.allclose(whole, pruned)


def test_a_pruned_coupling_is_trained():
    model, x = ConvergentGNN(6, 3).double(), _features()
    prune.random_unstructured(model.convs[1].lin, "weight", 0.5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = model.convs[1].lin.weight_orig.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        model(x, RING).square().mean().backward()
        optimizer.step()
    kept = model.convs[1].lin.weight_mask.bool()
    changed = model.convs[1].lin.weight_orig.detach() != before
    assert torch.equal(changed, kept)


MASKED = {
    "ConvergentGNN": lambda: ConvergentGNN(6, 3),
    "RiemannianConvergentGNN": lambda: RiemannianConvergentGNN(6, 3, "H4"),
    "Propagated": lambda: Propagated(CachedGCN(6, 8, 2, 3)),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", list(MASKED))
def test_masked_edges_carry_nothing(name, weighted):
    model, x = MASKED[name]().double().eval(), _features()
    other = x.clone()
    other[5] += 3
    weight = torch.rand(RING.size(1), dtype=torch.float64) + 0.5 if weighted else None

    def influence():
        with torch.no_grad():
            return (model(x, RING, weight) - model(other, RING, weight))[:5].abs().max()

    plain, open_, closed = model(x, RING, weight), torch.full((12,), 1e9), torch.full((12,), -1e9)
    assert influence() > 1e-3
    set_masks(model, closed, RING)
    assert influence() == 0
    set_masks(model, open_, RING)
    torch.testing.assert_close(model(x, RING, weight), plain)
    mask = torch.nn.Parameter(torch.zeros(12))
    set_masks(model, mask, RING)
    model(x, RING, weight).square().sum().backward()
    assert bool((mask.grad != 0).all())
    clear_masks(model)
    assert torch.equal(model(x, RING, weight), plain)
