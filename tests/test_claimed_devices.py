"""``devices.py`` finds a wrong device: it fails where a device would, and counts where the host waits for one."""

import pytest
import torch
from devices import ELSEWHERE, Claimed, Elsewhere, elsewhere, here
from torch import nn

from msg.layers import head
from msg.nn import MSG


@pytest.fixture
def x():
    return torch.arange(6.0).view(2, 3)


@pytest.mark.parametrize(
    "mixture",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.ones(2, 3) * x,
        lambda x: x @ torch.ones(3, 2),
        lambda x: torch.cat([x, torch.zeros(1, 3)]),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: torch.where(torch.ones(3, dtype=torch.bool), x, 0.0),
        lambda x: x.add_(torch.ones(3)),
        lambda x: torch.zeros(()).add_(x.sum()),
        lambda x: torch.gt(x, 0.0, out=torch.empty(2, 3)),
        lambda x: nn.functional.linear(x, torch.ones(4, 3)),
        lambda x: (x.requires_grad_() ** 2).backward(torch.ones(2, 3)),
    ],
)
def test_two_devices_in_one_operation_fail(x, mixture):
    with Elsewhere(), pytest.raises(RuntimeError, match=r"mixes devices|expected device|on device"):
        mixture(elsewhere(x))


def test_a_buffer_that_stays_behind_is_found(x):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.ones(3)  # no buffer: it does not move

        def forward(self, x):
            return x * self.scale

    with Elsewhere(), pytest.raises(RuntimeError, match=r"mul.*mixes devices: \[2, 3\] elsewhere, \[3\] on cpu"):
        elsewhere(Scaled())(elsewhere(x))


def test_a_tensor_made_on_the_wrong_device_within_a_model_is_found(edge_index, monkeypatch):
    right = head.log0
    monkeypatch.setattr(head, "log0", lambda manifold, z, dtype: right(manifold, z, dtype) + torch.zeros(z.size(0), 1))
    model, x = MSG(5, 3, "H4", timesteps=3), torch.randn(7, 5)
    model(x, edge_index)
    with Elsewhere(), pytest.raises(RuntimeError, match="mixes devices"):
        elsewhere(model)(elsewhere(x), elsewhere(edge_index))


def test_single_numbers_of_the_cpu_are_read(x):
    with Elsewhere() as there:
        got = elsewhere(x) * torch.tensor(2.0) + 1
        assert isinstance(got, Claimed)
        assert torch.equal(here(got), 2 * x + 1)
    assert not there.waits


@pytest.mark.parametrize(
    "make",
    [
        lambda x: torch.zeros(2, device=x.device),
        lambda x: torch.arange(3, device=x.device),
        lambda x: torch.rand(2, device=x.device),
        lambda x: torch.full((2,), 3.0, device=x.device),
        lambda x: torch.empty_like(x).fill_(1),
        lambda x: x.new_zeros(2),
        lambda x: x.new_tensor([1.0, 2.0]),
        lambda x: torch.tensor([1.0, 2.0], device=x.device),
        lambda x: torch.ones(2).to(x.device),
        lambda x: torch.ones(2).to(x),
        lambda x: x.to_sparse_csr().values(),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
def test_what_is_made_for_the_device_is_there(x, make):
    with Elsewhere():
        made = make(elsewhere(x))
        assert isinstance(made, Claimed)
        assert made.device == ELSEWHERE
        assert made.inner.device.type == "cpu"


def test_what_is_made_for_the_cpu_stays_there(x):
    with Elsewhere() as there:
        for made in (torch.zeros(2), torch.tensor([1.0]), torch.rand(2), elsewhere(x).cpu()):
            assert not isinstance(made, Claimed)
    assert dict(there.waits) == {"a copy between devices": 1}


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x[0, 0].item(),
        lambda x: float(x.sum()),
        lambda x: bool((x > 0).any()),
        lambda x: 1 if x.sum() > 0 else 0,
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: x[x > 1],
        lambda x: x.masked_select(x > 1),
        lambda x: x.index_put_((x > 1,), x.new_zeros(4)),
        lambda x: x.unique(),
        lambda x: torch.equal(x, x),
        lambda x: x.long().flatten().bincount(),
        lambda x: torch.repeat_interleave(x.long()[0]),
        lambda x: x.new_tensor([1.0]),
        lambda x: x.copy_(torch.ones(2, 3)),
        lambda x: x.to_sparse_coo(),
    ],
)
def test_what_makes_the_host_wait_is_counted(x, wait):
    with Elsewhere() as there:
        wait(elsewhere(x))
    assert there.waits.total() == 1


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.masked_fill(x > 1, 0.0),
        lambda x: torch.where(x > 1, x, 0.0),
        lambda x: x[x.new_zeros(2, dtype=torch.long)],
        lambda x: x.topk(2).indices,
        lambda x: torch.repeat_interleave(x, 2, dim=0),
        lambda x: x.view(-1)[1:].sum(),
        lambda x: x.shape[0] and x.size(1) and x.dtype and x.device,
    ],
)
def test_work_that_needs_no_value_is_not(x, work):
    with Elsewhere() as there:
        work(elsewhere(x))
    assert not there.waits


def test_one_number_is_written_where_a_mask_is_without_waiting(x):
    with Elsewhere() as there:
        moved = elsewhere(x)
        moved[moved > 1] = 0.0
    assert torch.equal(here(moved), x.masked_fill(x > 1, 0.0))
    assert not there.waits


def test_operations_are_counted_and_views_are_none(x):
    with Elsewhere() as there:
        moved = elsewhere(x)
        (moved.view(3, 2)[0].detach() + 1).mul_(2)
        torch.ones(3) + 1  # on the CPU
    assert dict(there.operations) == {"aten.add.Tensor": 1, "aten.mul_.Tensor": 1}


def test_gradients_of_a_moved_model_are_those_of_the_model(x):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.BatchNorm1d(4))
    model(x).square().sum().backward()
    with Elsewhere():
        moved = elsewhere(model)
        assert {type(t.data) for t in (*moved.parameters(), *moved.buffers())} == {Claimed}
        moved.zero_grad()
        moved(elsewhere(x)).square().sum().backward()
    for a, b in zip(moved.parameters(), model.parameters()):
        torch.testing.assert_close(here(a.grad), b.grad)
