"""What every model of a graph's nodes promises, so that a model of your own is tested as these are."""

import copy
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from msg.models import SpikingNetwork
from msg.testing.demand import demand


def assert_model(make: Callable[[], nn.Module], x: Tensor, edge_index: Tensor, sparse: bool = True) -> None:
    """Assert what users of PyTorch Geometric do to a model.

    In evaluation mode it gives one finite row a node, the same each time and in float64 nearly so; an isolated node is
    finite, and so is a graph without edges; sparse features give what dense ones give; gradients reach every parameter
    and are finite, through the output or, where the model has one, its ``unsupervised_loss(x, edge_index)``; a copy, a
    pickle and a loaded ``state_dict`` give the same output, and a copy shares nothing; a new draw of its parameters
    changes them; hooks on all of its modules that ran leave its output alone. A :class:`~msg.models.SpikingNetwork`
    runs its three rooms as modules.

    Args:
        make: makes the model anew, with parameters drawn from torch's generator.
        x: features it reads, float32 ``[N, F]``.
        edge_index: ``[2, E]``.
        sparse: whether it reads sparse features.

    Raises:
        AssertionError: naming the promise that is broken.
    """
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        want = model(x, edge_index)
    _outputs(model, want, x, edge_index, sparse)
    _copies(make, model, want, x, edge_index)
    _gradients(model, x, edge_index)
    _hooks(model, x, edge_index)
    _reset(model)


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def _outputs(model: nn.Module, want: Tensor, x: Tensor, edge_index: Tensor, sparse: bool) -> None:
    demand(want.size(0) == x.size(0) and bool(want.isfinite().all()), "one finite row a node")
    demand(torch.equal(model(x, edge_index), want), "the same output twice in evaluation mode")
    lonely = torch.cat([x, x[:1]])
    alone = model(lonely, edge_index)
    demand(alone.size(0) == len(lonely) and bool(alone.isfinite().all()), "an isolated node is finite")
    demand(bool(model(x, edge_index[:, :0]).isfinite().all()), "a graph without edges is finite")
    wide = copy.deepcopy(model).double()(x.double(), edge_index)
    demand(wide.dtype == torch.float64, "float64 in, float64 out")
    # a neuron whose current lies within rounding of its threshold may fire in one precision only
    same = (wide - want).abs().amax(-1) <= 1e-3 * (1 + want.abs().amax(-1))
    demand(float(same.double().mean()) > 0.8, "nearly the same output in float64")
    if sparse:
        for layout in (x.to_sparse_csr(), x.to_sparse_coo()):
            demand(_close(model(layout, edge_index), want), f"{layout.layout} features give what dense ones give")


def _copies(make: Callable[[], nn.Module], model: nn.Module, want: Tensor, x: Tensor, edge_index: Tensor) -> None:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    torch.manual_seed(1)
    loaded = make().eval()
    loaded.load_state_dict(model.state_dict())
    twin = copy.deepcopy(model)
    kinds = {
        "a copy": twin,
        "a pickle": torch.load(buffer, weights_only=False),
        "a loaded state_dict": loaded,
    }
    with torch.no_grad():
        for what, other in kinds.items():
            demand(torch.equal(other(x, edge_index), want), f"{what} gives the same output")
        for parameter in twin.parameters():
            parameter.add_(1.0)
        demand(torch.equal(model(x, edge_index), want), "a copy shares nothing with the model")


def _gradients(model: nn.Module, x: Tensor, edge_index: Tensor) -> None:
    model.zero_grad()
    loss = model(x, edge_index).square().sum()
    unsupervised: Any = getattr(model, "unsupervised_loss", None)
    (loss if unsupervised is None else loss + unsupervised(x, edge_index)).backward()
    resting = {id(parameter) for parameter in getattr(model, "resting", ())}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in resting:
            found = parameter.grad is not None and bool(parameter.grad.isfinite().all())
            demand(found, f"a finite gradient reaches {name}")


def _hooks(model: nn.Module, x: Tensor, edge_index: Tensor) -> None:
    # what is watched runs module by module, which may round in another order: in float64 no spike hangs on that
    model = copy.deepcopy(model).double()
    ran: list[nn.Module] = []
    with torch.no_grad():
        want = model(x.double(), edge_index)
        handles = [module.register_forward_hook(lambda one, *_: ran.append(one)) for module in model.modules()]
        got = model(x.double(), edge_index)
    for handle in handles:
        handle.remove()
    demand(_close(got, want), "forward hooks leave the output alone")
    if isinstance(model, SpikingNetwork):
        for name in ("stack", "path", "head"):
            demand(getattr(model, name) in ran, f"hooks see the {name}")


def _reset(model: nn.Module) -> None:
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.dim() > 1}
    model.reset_parameters()  # pyright: ignore[reportCallIssue]
    changed = [name for name, p in model.named_parameters() if name in before and not torch.equal(p, before[name])]
    demand(len(changed) == len(before), f"reset_parameters draws all of {', '.join(before)} anew")
