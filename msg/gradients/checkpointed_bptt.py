"""Backpropagation through time in a given amount of memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.checkpoint import get_device_states, set_device_states

from msg.calls import Parameters, autocast_of
from msg.gradients import packed
from msg.gradients.schedule import Action, Schedule, Store
from msg.gradients.simulation import SILENT, Dynamics, Firing, summed
from msg.gradients.surrogate_bptt import SurrogateBPTT, SurrogateRule
from msg.layers.state import detach_state
from msg.sizes import check_sizes


@dataclass(frozen=True)
class CheckpointedBPTT(SurrogateRule):
    r"""Exactly the gradient of :class:`SurrogateBPTT`, in a memory you choose.

    The forward pass keeps few states; the backward pass runs the steps between them again, by the schedule that needs
    the fewest evaluations for the memory (:class:`Schedule`; ``model`` and :meth:`schedule` print it). ``hidden``
    stores what neurons remember between two steps; ``internal`` stores all that the backward pass of a step needs,
    several times as much, but does not run that step again.

    Source: `Gruslys et al. 2016, Memory-Efficient Backpropagation Through Time <https://arxiv.org/abs/1606.03401>`_.

    *Recommended* in plain torch (on a GPU, for neurons that are not compiled), where the exact gradient is wanted and
    SurrogateBPTT does not fit. *Not recommended* where it fits, and with compiled kernels, where SurrogateBPTT keeps
    about as little: it is the same gradient, later.

    Args:
        surrogate: see :class:`SurrogateRule`.
        detach_reset: see :class:`SurrogateRule`.
        states: how many states to hold; by default :math:`\lceil 2\sqrt T\rceil`.
        nbytes: the budget in bytes instead, for the stored states alone.
        store: ``"hidden"`` or ``"internal"``.

    Raises:
        ValueError: if both budgets are given, one is not positive, or ``store`` is unknown; when run, if the budget
            does not hold a single state.
    """

    transformable: ClassVar[bool] = False

    states: int | None = None
    nbytes: int | None = None
    store: Store = "hidden"

    def __post_init__(self):
        super().__post_init__()
        if self.states is not None and self.nbytes is not None:
            raise ValueError("give the memory as states or as nbytes, not both")
        for name in ("states", "nbytes"):
            if getattr(self, name) is not None:
                check_sizes(**{name: getattr(self, name)})
        if self.store not in ("hidden", "internal"):
            raise ValueError(f"unknown store {self.store!r}: use 'hidden' or 'internal'")

    def schedule(self, timesteps: int, state_nbytes: int | None = None) -> Schedule:
        """What it will do.

        Args:
            timesteps: ``T``.
            state_nbytes: size of one state, where the budget is in bytes.

        Raises:
            ValueError: if the budget does not hold a single state, or is in bytes and ``state_nbytes`` is missing.
        """
        slots = self.states or min(timesteps, ceil(2 * sqrt(timesteps)))
        if self.nbytes is not None:
            if state_nbytes is None:
                raise ValueError("a budget in bytes becomes a schedule when the size of a state is known: give it")
            # a neuron of one step keeps nothing
            slots = self.nbytes // state_nbytes if state_nbytes else timesteps
            if slots < 1:
                raise ValueError(
                    f"nbytes={self.nbytes} does not hold one {self.store} state, which takes {state_nbytes} bytes"
                )
        return Schedule(timesteps, slots, self.store)

    def describe(self, timesteps: int) -> str:
        """See :meth:`GradientRule.describe`: with the schedule, where the budget is in states."""
        return repr(self) if self.nbytes is not None else f"{self!r} [{self.schedule(timesteps)}]"

    def simulate(self, dynamics: Dynamics, current: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """See :meth:`FeedForwardRule.simulate`."""
        if not torch.is_grad_enabled():
            return SurrogateBPTT(self.surrogate, self.detach_reset).simulate(dynamics, current)
        firing = Firing(self.surrogate, self.detach_reset, through_spikes=True)
        whole = None if torch.compiler.is_compiling() else packed.through(dynamics, current, firing)
        parameters = _parameters(dynamics.layers)
        if whole is None:
            steps = _EagerSteps(dynamics, current.detach(), firing, parameters.learned)
        else:
            steps = _PackedSteps(whole, current.detach())
        tape = _Tape(steps, self, dynamics.timesteps, parameters)
        means = list(_Checkpointed.apply(tape, current, *steps.learnable))  # pyright: ignore[reportArgumentType]
        rates = means[: len(dynamics.sources)]
        rest = iter(means[len(dynamics.sources) :])
        seen = [None if layer.linear else next(rest) for layer in dynamics.targets]
        return dynamics.mean_currents(rates, seen), rates


def _parameters(layers: Sequence[Any]) -> Parameters:
    """Parameters that the simulation itself uses; the others are read outside it."""
    last = () if layers[-1].linear else layers[-1:]
    return Parameters(layers[0].neuron, *layers[1:-1], *last)


_RandomState = tuple[Tensor, tuple[list[int], list[Tensor]]]


def _random_state(current: Tensor) -> _RandomState:
    """Of the random numbers of the host, and of the device where the simulation runs."""
    return torch.get_rng_state(), get_device_states(current)


def _restore(state: _RandomState, current: Tensor) -> None:
    host, (devices, states) = state
    torch.set_rng_state(host)
    set_device_states(devices, states, device_type=current.device.type)


@contextmanager
def _forked(current: Tensor) -> Iterator[None]:
    """Random numbers after it are as if none had been drawn in it."""
    before = _random_state(current)
    try:
        yield
    finally:
        _restore(before, current)


class _Done(NamedTuple):
    """What some steps did.

    Attributes:
        counts: spikes of each source.
        sums: of the currents into each target, where its synapse is not linear.
        state: of the neurons, afterwards.
    """

    counts: list[Tensor]
    sums: list[Tensor | None]
    state: Any


class _Recorded(NamedTuple):
    """A step that the eager backward pass can go through: what it began with, what came out, the state after it."""

    leaves: list[Tensor]
    current: Tensor
    spikes: list[Tensor]
    currents: list[Tensor]
    after: list[Tensor]


def _floats(states: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(states) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


class _EagerSteps:
    """Steps by differentiable operations, for all layers; gone back through by autograd, one at a time."""

    def __init__(self, dynamics: Dynamics, current: Tensor, firing: Firing, parameters: Sequence[Tensor]):
        self.dynamics, self.current, self.firing = dynamics, current, firing
        self.linear = all(layer.linear for layer in dynamics.targets)
        self.learnable = [*parameters, *dynamics.graph.learned]
        # of edges each step finds its own part of the gradient, not that of what made them
        self.recorded = Dynamics(dynamics.layers, dynamics.graph.of_leaves(), dynamics.timesteps)
        self.leaves = [*parameters, *self.recorded.graph.learned]
        self.resting: Any = dynamics.resting

    def random_state(self) -> _RandomState | None:
        """To begin with again: a convolution on the slow path may drop at random, and must drop the same."""
        return None if self.linear else _random_state(self.current)

    def nbytes(self, store: Store) -> int:
        """Bytes of one stored state, from a step that is run for it."""
        held: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            if tensor.layout == torch.strided:
                storage = tensor.untyped_storage()
                held[storage.data_ptr()] = storage.nbytes()
            return tensor

        with _forked(self.current), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            step, done = self.record(0, self.resting)
        hidden = sum(t.numel() * t.element_size() for t in _floats(done.state))
        if store == "hidden":
            return hidden
        for tensor in [self.current, step.current, *self.learnable]:
            held.pop(tensor.untyped_storage().data_ptr(), None)
        return hidden + sum(held.values())

    def advance(self, start: int, stop: int, state: Any) -> Iterator[_Done]:
        """Run steps, a chunk at a time."""
        chunks = self.dynamics.chunks(start, stop) if self.linear and stop > start else ()
        # random numbers are drawn step by step, as where a single step is run again
        for chunk in chunks if self.linear else (slice(t, t + 1) for t in range(start, stop)):
            with torch.no_grad():
                sweep = self.dynamics.advance(self.current, state, chunk, SILENT)
            state = sweep.states
            yield _Done(
                [summed(t) for t in sweep.trains], [None if c is None else summed(c) for c in sweep.currents], state
            )

    def record(self, t: int, state: Any) -> tuple[_Recorded, _Done]:
        """Run a step so that one can go back through it."""
        now = self.current if self.current.dim() == 2 else self.current[:, t : t + 1]
        with torch.enable_grad():
            leaf = now.detach().requires_grad_()
            begin = tree_map_only(Tensor, lambda s: s.detach().requires_grad_(s.is_floating_point()), state)
            sweep = self.recorded.advance(leaf, begin, slice(0, 1), self.firing)
        currents = [current for current in sweep.currents if current is not None]
        step = _Recorded(_floats(begin), leaf, sweep.trains, currents, _floats(sweep.states))
        sums = [None if c is None else summed(c.detach()) for c in sweep.currents]
        after = detach_state(sweep.states)
        return step, _Done([summed(t.detach()) for t in sweep.trains], sums, after)

    def back(self, t: int, step: _Recorded, arriving: list[Tensor], later: list[Tensor], total: Tensor, found: list):
        """Go back through a recorded step, adding gradients; returns that of the state before it."""
        means = [grad[:, None] for grad in arriving]
        pairs = zip([*step.spikes, *step.currents, *step.after], [*means, *later])
        outputs, grads = zip(*((out, grad) for out, grad in pairs if out.requires_grad))
        inputs = [*step.leaves, step.current, *self.leaves]
        again = bool(self.recorded.graph.learned)  # the way to what edges weigh is that of all steps
        got = torch.autograd.grad(outputs, inputs, grads, retain_graph=again, allow_unused=True)
        before, now, parameters = got[: len(step.leaves)], got[len(step.leaves)], got[len(step.leaves) + 1 :]
        if now is not None:
            (total if total.dim() == 2 else total[:, t : t + 1]).add_(now)
        for gradient, new in zip(found, parameters):
            if new is not None:
                gradient.add_(new)
        return [torch.zeros_like(leaf) if new is None else new for leaf, new in zip(step.leaves, before)]


class _PackedSteps:
    """The same by compiled kernels; between two steps there are potentials, of a step its packed spikes."""

    # a chunk's spikes take as much room as one step's floats
    CHUNK = 32

    def __init__(self, whole: packed.Through, current: Tensor):
        self.whole, self.current, self.learnable = whole, current, whole.weights
        self.resting: Any = [None] * len(whole.neurons)

    def random_state(self) -> None:
        """Nothing is drawn."""

    def nbytes(self, store: Store) -> int:
        """Bytes of one stored state."""
        (trains, _), done = self.record(0, self.resting)
        kept = [*done.state, *(trains if store == "internal" else ())]
        return sum(t.numel() * t.element_size() for t in kept)

    def _run(self, start: int, stop: int, state: Any) -> tuple[packed.Steps, _Done]:
        now = self.current if self.current.dim() == 2 else self.current[:, start:stop]
        with torch.no_grad():
            steps = self.whole.run(now, stop - start, stop - start, state)
        counts = [(rate * (stop - start)).round() for rate in steps.rates]
        return steps, _Done(counts, [None] * len(counts), [kept[-1] for kept in steps.states])

    def advance(self, start: int, stop: int, state: Any) -> Iterator[_Done]:
        """Run steps, a chunk at a time."""
        for begin in range(start, stop, self.CHUNK):
            _, done = self._run(begin, min(begin + self.CHUNK, stop), state)
            state = done.state
            yield done

    def record(self, t: int, state: Any) -> tuple[tuple[list[Tensor], Any], _Done]:
        """Run a step so that one can go back through it."""
        steps, done = self._run(t, t + 1, state)
        return (steps.trains, state), done

    def back(self, t: int, step: Any, arriving: list[Tensor], later: list[Any], total: Tensor, found: list):
        """Go back through a recorded step, adding gradients; returns that of the state before it."""
        trains, begin = step
        now, place = (self.current, total) if total.dim() == 2 else (self.current[:, t : t + 1], total[:, t : t + 1])
        later = later or [None] * len(begin)
        to_current, gradients, before = self.whole.back(now, trains, begin, later, arriving, 1)
        place.add_(to_current)
        for gradient, new in zip(found, gradients):
            if new is not None:
                gradient.add_(new)
        return before


class _Tape:
    """Follows a schedule: forward until the first step that can go back, the rest in the backward pass."""

    def __init__(
        self, steps: _EagerSteps | _PackedSteps, rule: CheckpointedBPTT, timesteps: int, parameters: Parameters
    ):
        self.steps, self.rule, self.timesteps, self.parameters = steps, rule, timesteps, parameters
        self.evaluations = 0
        self._begin()

    def _begin(self) -> None:
        size = None if self.rule.nbytes is None else self.steps.nbytes(self.rule.store)
        self.actions = iter(self.rule.schedule(self.timesteps, size))
        self.state: Any = self.steps.resting
        self.kept: dict[int, tuple[Any, _RandomState | None]] = {0: (self.state, self.steps.random_state())}
        self.recorded: dict[int, Any] = {}

    def forward(self) -> list[Tensor]:
        """Mean spikes of the sources and, where synapses are not linear, mean currents into their targets."""
        counts: list[Any] = []
        sums: list[Any] = []
        for action in self.actions:
            if action.kind == "backward":
                self.first = action
                break
            for done in self._do(action):
                counts = [a + b for a, b in zip(counts, done.counts)] or done.counts
                sums = [a if b is None else a + b for a, b in zip(sums, done.sums)] or done.sums
        dtype = self.steps.current.dtype
        return [(total / self.timesteps).to(dtype) for total in (*counts, *sums) if total is not None]

    def _do(self, action: Action) -> Iterator[_Done]:
        """Carry out an action that goes forward; gives what each chunk of steps did."""
        if action.kind == "load":
            self.state, drawn = self.kept[action.start]
            if drawn is not None:
                _restore(drawn, self.steps.current)
        elif action.kind == "store":
            self.kept[action.start] = (self.state, self.steps.random_state())
        elif action.kind == "free":
            del self.kept[action.start]
        elif action.kind == "advance":
            self.evaluations += action.stop - action.start
            for done in self.steps.advance(action.start, action.stop, self.state):
                self.state = done.state
                yield done
        elif action.kind == "record":
            self.evaluations += 1
            step, done = self.steps.record(action.start, self.state)
            self.recorded[action.start], self.state = step, done.state
            if self.rule.store == "internal":
                self.kept[action.start + 1] = (self.state, self.steps.random_state())
            yield done

    def backward(self, grads: Sequence[Tensor]) -> tuple[Tensor, list[Tensor | None]]:
        """Gradients of the current and of what is learned, from those of what :meth:`forward` gave."""
        if not self.recorded:  # a second backward pass through a retained graph
            self._begin()
            self.forward()
        arriving = [grad / self.timesteps for grad in grads]
        total = torch.zeros_like(self.steps.current)
        found = [None if p is None else torch.zeros_like(p) for p in self.steps.learnable]
        later = self._back(self.first.start, arriving, [], total, found)
        for action in self.actions:
            if action.kind == "backward":
                later = self._back(action.start, arriving, later, total, found)
            else:
                for _ in self._do(action):
                    pass
        return total, found

    def _back(self, t: int, arriving: list[Tensor], later: list[Any], total: Tensor, found: list) -> list[Any]:
        step = self.recorded.pop(t)
        if self.rule.store == "internal":
            del self.kept[t + 1]
        return self.steps.back(t, step, arriving, later, total, found)


class _Checkpointed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tape: _Tape, current: Tensor, *learnable: Tensor | None):
        # saved so that autograd refuses a backward pass after one of them was changed: steps are run again with them
        ctx.save_for_backward(current, *learnable)
        ctx.tape, ctx.autocast = tape, autocast_of(current)
        return tuple(tape.forward())

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        _ = ctx.saved_tensors
        with _forked(ctx.tape.steps.current), ctx.autocast(), ctx.tape.parameters.restored():
            current, learnable = ctx.tape.backward(grads)
        return None, current, *learnable
