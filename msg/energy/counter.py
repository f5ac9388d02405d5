"""Counting what a model does while it runs: rules of known modules, and of operators everywhere else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode, _pop_mode_temporarily
from torch_geometric.nn import Aggregation

from msg.energy.counts import BACKWARD, OUTSIDE, Operations
from msg.energy.modules import Rule, known, leaves_children
from msg.energy.operators import count_operator
from msg.energy.spiking import count_activity, count_geometry
from msg.nn import MSG, SpikingNetwork


class _Frame(NamedTuple):
    """A module that is running: its name, its rule, and whether that speaks for everything inside."""

    name: str
    rule: Rule | None
    closed: bool


class _Recorder(TorchDispatchMode):
    """Sees every module of a model begin and end, and every operator."""

    def __init__(self, ops: Operations):
        super().__init__()
        self.ops = ops
        self.frames: list[_Frame] = []
        self.closed = 0

    def enter(self, name: str, module: nn.Module) -> None:
        rule = known(module)
        closed = rule is not None and not leaves_children(module)
        # a convolution's rule speaks for its aggregation, if not for its other children
        closed |= bool(self.frames and self.frames[-1].rule) and isinstance(module, Aggregation)
        self.frames.append(_Frame(name, rule, closed))
        self.closed += closed

    def leave(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        frame = self.frames[-1]
        # the rule's own operators are not the model's: the frame is still there
        if frame.rule is not None and self.closed == frame.closed and output is not None:
            pair = bool(args) and isinstance(args[0], tuple | list)  # two node sets
            with torch.no_grad():
                found = None if pair else frame.rule(module, args, kwargs, output)
            if found is None:
                self.ops.unknown[type(module).__name__] += 1
            else:
                self.ops.add(frame.name, found)
        self.frames.pop()
        self.closed -= frame.closed

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Count no operators: what runs here is counted by a rule. They are not even seen, which costs no time."""
        self.closed += 1
        unseen = _pop_mode_temporarily() if _get_current_dispatch_mode() is self else nullcontext()
        try:
            with unseen:
                yield
        finally:
            self.closed -= 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if self.closed or (self.frames and self.frames[-1].rule is not None):
            return output
        if torch._C._current_graph_task_id() != -1:
            name = BACKWARD
        else:
            name = self.frames[-1].name if self.frames else OUTSIDE
        operator = func._schema.name
        if operator.startswith("profiler::"):
            return output
        count = count_operator(operator, args, output)
        if count is None:
            self.ops.unknown[operator] += 1
        else:
            self.ops.add(name, count)
        return output


@contextmanager
def count(model: nn.Module) -> Iterator[Operations]:
    """Count everything a model does while it runs inside the ``with`` block.

    Modules whose mathematics is known (linear layers, PyG's ``GCNConv``, ``SAGEConv``, ``GATConv``, ``GINConv`` and
    ``SGConv``, activations, norms, neurons, every :class:`~msg.nn.SpikingNetwork`) are counted by their mathematics,
    spikes by where they really went. Everything else is counted operator by operator, under the module that ran it;
    what no rule knows is listed in :attr:`Operations.unknown`. A backward pass inside the block is counted apart.
    Counting changes neither the model nor what it returns. For the energy of an inference the model must be in
    evaluation mode.

    Args:
        model: any torch, PyG or msg module.

    Example::

        with count(model) as ops:
            model(data.x, data.edge_index)
        print(report(ops))
    """
    ops = Operations()
    recorder = _Recorder(ops)
    handles: list[Any] = []
    wrapped: list[tuple[nn.Module, str]] = []
    for name, module in model.named_modules():
        handles += _watch(recorder, name, module)
        if isinstance(module, SpikingNetwork):
            module.activity = _counting(recorder, name, module)  # pyright: ignore[reportAttributeAccessIssue]
            wrapped.append((module, "activity"))
        if type(module) is MSG:  # its geometry is counted when it leaves
            module.read = _silent(recorder, module.read)  # pyright: ignore[reportAttributeAccessIssue]
            wrapped.append((module, "read"))
    handles.append(model.register_forward_pre_hook(lambda *_: setattr(ops, "forwards", ops.forwards + 1)))
    try:
        with recorder:
            yield ops
    finally:
        for handle in handles:
            handle.remove()
        for module, method in wrapped:
            del module.__dict__[method]


def _watch(recorder: _Recorder, name: str, module: nn.Module) -> list[Any]:
    geometry = type(module) is MSG

    def enter(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        recorder.enter(name, module)
        recorder.closed += geometry

    def leave(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if geometry and recorder.closed == 1 and output is not None:
            x = args[0] if args else kwargs["x"]
            count_geometry(recorder.ops, _prefix(name), module, x)  # pyright: ignore[reportArgumentType]
        recorder.leave(module, args, kwargs, output)
        recorder.closed -= geometry

    return [
        module.register_forward_pre_hook(enter, with_kwargs=True, prepend=True),
        module.register_forward_hook(leave, with_kwargs=True, always_call=True),
    ]


def _prefix(name: str) -> str:
    return f"{name}." if name else ""


def _counting(recorder: _Recorder, name: str, model: SpikingNetwork) -> Callable[..., Any]:
    """The network's ``activity``, which tells the recorder what it returned."""
    activity = model.activity

    def counted(x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Any:
        with recorder.silence():
            result = activity(x, edge_index, edge_weight)
            with torch.no_grad():
                count_activity(recorder.ops, _prefix(name), model, x, edge_index, edge_weight, result)
        return result

    return counted


def _silent(recorder: _Recorder, method: Callable[..., Any]) -> Callable[..., Any]:
    def silent(*args: Any, **kwargs: Any) -> Any:
        with recorder.silence():
            return method(*args, **kwargs)

    return silent
