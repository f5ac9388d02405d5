"""What DvM promises beyond the contract: a backward pass without a time axis, without messages, without Jacobians."""

import pytest
import torch

from msg.gradients import DvM, SurrogateBPTT
from msg.graph import sparse
from msg.neurons import IF, LIF
from msg.nn import MSG

NODES, WIDTH = 40, 16


def _saved(model, x, edge_index):
    """Shapes of everything autograd keeps for backward."""
    shapes = []

    def pack(t):
        shapes.append((tuple(t.shape), t.untyped_storage().nbytes() if t.layout == torch.strided else 0))
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        model(x, edge_index)
    return shapes


def _setup(rule, timesteps, features=8, layers=4, manifold=f"H{WIDTH}", neuron=None):
    torch.manual_seed(0)
    model = MSG(features, 3, manifold, layers, timesteps, neuron or LIF(threshold=0.3), rule)
    return model, torch.randn(NODES, features) * 2, torch.randint(0, NODES, (2, 120))


@pytest.mark.parametrize("manifold", [f"H{WIDTH}", f"S{WIDTH}", f"E{WIDTH}"])
def test_what_is_kept_for_backward_does_not_grow_with_time(manifold, monkeypatch):
    kept = [_saved(*_setup(DvM(), timesteps, manifold=manifold)) for timesteps in (4, 64)]
    assert kept[0] == kept[1]
    assert kept[0]
    # the oracle of this measurement: it does see the time axis of BPTT, whose spikes are packed where there are kernels
    monkeypatch.setenv("MSG_KERNELS", "torch")
    grown = [sum(n for _, n in _saved(*_setup(SurrogateBPTT(), t, manifold=manifold))) for t in (4, 64)]
    assert grown[1] > grown[0] + 60 * NODES * WIDTH * 4


def test_no_jacobian_is_ever_built():
    model, x, edge_index = _setup(DvM(), 4)
    largest = max(torch.Size(shape).numel() for shape, _ in _saved(model, x, edge_index))
    assert largest < NODES * WIDTH * WIDTH
    assert largest <= max(NODES * (WIDTH + 1), WIDTH * WIDTH)


@pytest.mark.parametrize(("features", "encoder"), [(8, 0), (64, 1)])
def test_backward_passes_no_messages_but_the_encoders(features, encoder, monkeypatch):
    calls, backward = [], sparse._MatMul.backward

    def counted(ctx, *grads):
        calls.append(grads[0].shape)
        return backward(ctx, *grads)

    monkeypatch.setattr(sparse._MatMul, "backward", staticmethod(counted))
    model, x, edge_index = _setup(DvM(), 8, features)
    model(x, edge_index).sum().backward()
    assert len(calls) == encoder
    calls.clear()
    other, x, edge_index = _setup(SurrogateBPTT(), 8, features)
    other(x, edge_index).sum().backward()
    assert len(calls) > encoder


def test_the_simulation_is_free_of_graphs():
    model, x, edge_index = _setup(DvM(), 4)
    for rate in model.activity(x, edge_index).rates:
        assert not rate.requires_grad


def test_one_hidden_layer_needs_only_the_encoders_rate(monkeypatch):
    # IF with subtractive reset: the closed form, so no neuron is stepped where no current is tied
    calls, forward = [], IF.forward

    def counted(self, *args, **kwargs):
        calls.append(args[0].numel())
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(IF, "forward", counted)
    model, x, edge_index = _setup(DvM(), 100, layers=2, neuron=IF())
    model(x, edge_index)
    assert sum(calls) < NODES * WIDTH


@pytest.mark.parametrize("conv", ["gcn", "sage", "gin"])
def test_only_the_encoder_asks_for_a_transpose(conv):
    for features, directed in ((8, True), (64, True), (64, False)):
        model = MSG(features, 3, f"H{WIDTH}", 4, 3, LIF(threshold=0.3), DvM(), conv=conv)
        x, edge_index = torch.randn(NODES, features), torch.randint(0, NODES, (2, 120))
        edge_index = edge_index if directed else torch.cat([edge_index, edge_index.flip(0)], 1)
        model(x, edge_index).sum().backward()
        _, graph = model.prepare(x, edge_index)
        for matrix in graph._matrices.values():
            assert ("transposed" in vars(matrix)) is (features > WIDTH)
            assert (matrix.transposed is matrix.unscaled) is not directed
