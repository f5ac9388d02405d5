"""Counting what a model does while it runs: rules of known modules, and of operators everywhere else."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple
from weakref import ReferenceType, ref

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode, _pop_mode_temporarily
from torch_geometric.nn import Aggregation, MessagePassing

from msg.calls import counting, is_aside
from msg.energy import recurrent, riemannian, spikes, spiking, trains  # noqa: F401 - rules, which register themselves
from msg.energy.counts import BACKWARD, OUTSIDE, Count, Operations
from msg.energy.modules import Rule, known, leaves_children
from msg.energy.operators import count_operator
from msg.energy.spiking import reads_spikes
from msg.neurons import Neuron


class _Frame(NamedTuple):
    """A module that is running: its name, its rule, whether that speaks for everything inside, and whether it was begun
    by a backward pass, which recomputes it.
    """

    name: str
    rule: Rule | None
    closed: bool
    again: bool


class _Recorder(TorchDispatchMode):
    """Sees every module of a model begin and end, and every operator that no rule speaks for."""

    def __init__(self, ops: Operations):
        super().__init__()
        self.ops = ops
        self.frames: list[_Frame] = []
        self.spikes: dict[int, ReferenceType[torch.Tensor]] = {}
        self.closed = 0
        self.unseen: Any = nullcontext()

    def enter(self, name: str, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        rule = None if _two_node_sets(module, args, kwargs) else self._rule(module, args, kwargs)
        closed = rule is not None and not leaves_children(module)
        # a convolution's rule speaks for its aggregation, if not for its other children
        closed |= bool(self.frames and self.frames[-1].rule) and isinstance(module, Aggregation)
        self.frames.append(_Frame(name, rule, closed, _backwards()))
        self.closed += closed
        if closed and self.closed == 1:
            # operators that a rule speaks for are not even seen, which costs no time
            self.unseen = _pop_mode_temporarily() if _get_current_dispatch_mode() is self else nullcontext()
            self.unseen.__enter__()

    def _rule(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Rule | None:
        """Of the module; of one that reads what neurons have just sent, another."""
        x = args[0] if args else kwargs.get("x", kwargs.get("input"))
        sent = self.spikes.get(id(x))
        return (reads_spikes(module) if sent is not None and sent() is x else None) or known(module)

    def leave(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        frame = self.frames[-1]
        if isinstance(module, Neuron) and module.spiking and isinstance(output, tuple):
            self.spikes[id(output[0])] = ref(output[0])
        try:
            # the rule's own operators are not the model's: the frame is still there
            if frame.rule is not None and self.closed == frame.closed and output is not None:
                self._count(frame.name, frame.rule, module, args, kwargs, output)
        finally:
            self.frames.pop()
            if frame.closed and self.closed == 1:
                self.unseen.__exit__(None, None, None)
            self.closed -= frame.closed

    def _count(self, name: str, rule: Rule, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        if is_aside():
            return
        with torch.no_grad():
            found = rule(module, args, kwargs, output)
        again = self.frames[0].again
        if again and isinstance(found, Operations):
            found = sum(found.modules.values(), Count())
        if found is None:
            self.ops.unknown[type(module).__name__] += 1
        elif isinstance(found, Operations):
            self.ops.merge(name, found)
        else:
            self.ops.add(BACKWARD if again else name, found)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        operator = func._schema.name
        if operator != "aten::dropout":  # which is taken apart into a copy
            with self:  # in inference mode operators come here whole that are made of others
                output = func.decompose(*args, **(kwargs or {}))
            if output is not NotImplemented:
                return output
        output = func(*args, **(kwargs or {}))
        if is_aside() or self.closed or (self.frames and self.frames[-1].rule is not None):
            return output
        name = self.frames[-1].name if self.frames else OUTSIDE
        if _backwards() and (not self.frames or self.frames[0].again):
            name = BACKWARD  # and not a gradient that a forward needs, as of an energy that it lowers
        if operator.startswith("profiler::"):
            return output
        count = count_operator(operator, args, output)
        if count is None:
            self.ops.unknown[operator] += 1
        else:
            self.ops.add(name, count)
        return output


def _backwards() -> bool:
    return torch._C._current_graph_task_id() != -1


def _two_node_sets(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether a convolution reads a pair, of the nodes that send and those that receive, of which no rule knows."""
    return isinstance(module, MessagePassing) and isinstance(args[0] if args else kwargs.get("x"), tuple | list)


@contextmanager
def count(model: nn.Module) -> Iterator[Operations]:
    """Count everything a model does while it runs inside the ``with`` block.

    Modules whose mathematics is known (linear layers, PyG's ``GCNConv``, ``SAGEConv``, ``GATConv``, ``GINConv`` and
    ``SGConv``, activations, norms, neurons, the rooms of spiking networks) are counted by their mathematics,
    spikes by where they really went. Everything else is counted operator by operator, under the module that ran it;
    what no rule knows is listed in ``Operations.unknown``. A backward pass inside the block is counted apart.
    Counting changes neither the model nor, but for rounding, what it returns. For the energy of an inference the model
    must be in evaluation mode.

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
    for name, module in _spoken_for("", model, set()):
        handles += _watch(recorder, name, module)
    handles.append(model.register_forward_pre_hook(lambda *_: setattr(ops, "forwards", ops.forwards + 1)))
    try:
        with recorder:
            yield ops
    finally:
        for handle in handles:
            handle.remove()


def _spoken_for(name: str, module: nn.Module, seen: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """A module and those inside, but for what a rule speaks for: nobody need watch it, so it runs as it always does."""
    if module in seen:
        return
    seen.add(module)
    yield name, module
    if known(module) is None or leaves_children(module):
        for child_name, child in module.named_children():
            yield from _spoken_for(f"{name}.{child_name}" if name else child_name, child, seen)


def _watch(recorder: _Recorder, name: str, module: nn.Module) -> list[Any]:
    @counting
    def enter(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        recorder.enter(name, module, args, kwargs)

    @counting
    def leave(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        recorder.leave(module, args, kwargs, output)

    return [
        module.register_forward_pre_hook(enter, with_kwargs=True, prepend=True),
        module.register_forward_hook(leave, with_kwargs=True, always_call=True),
    ]
