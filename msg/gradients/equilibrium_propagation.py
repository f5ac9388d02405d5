"""Equilibrium propagation, and its theorem step by step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from msg.gradients.settling import SettlingRule, SettlingSystem, States, settle
from msg.kernels.first_order import first_order
from msg.sizes import check_sizes


@dataclass(frozen=True)
class EquilibriumPropagation(SettlingRule):
    r"""The gradient from two equilibria: one free, one nudged towards a smaller loss.

    The free phase settles at :math:`s^*`. In ``backward`` the gradient :math:`g = \partial\mathcal L/\partial s^{L*}`
    that arrives at the output becomes a constant force on it, under which the states settle again, for ``steps`` sweeps
    from :math:`s^*`, at a minimum :math:`s^\beta` of :math:`E + \tfrac{\beta}{c}\langle g, s^L\rangle`, and

    .. math::
        \nabla_\theta\mathcal L \approx \frac c\beta \left(\frac{\partial E}{\partial\theta}(s^\beta)
        - \frac{\partial E}{\partial\theta}(s^*)\right), \qquad
        \text{symmetric: } \frac{c}{2\beta} \left(\frac{\partial E}{\partial\theta}(s^\beta)
        - \frac{\partial E}{\partial\theta}(s^{-\beta})\right),

    with an error that falls as :math:`\beta`, or symmetric as :math:`\beta^2`. The scale :math:`c = \max|g|` makes
    ``beta`` the largest force on any output: a loss averaged over thousands of nodes would otherwise nudge each of them
    by less than rounding. What the user differentiates further (features, an encoder before the network) goes on by
    autograd. Both phases keep only the states they are at, so memory does not grow with the number of sweeps.

    The nudged phase sweeps the layers in the reverse order of the free phase. Then sweep ``t`` of the nudged phase
    repeats sweep ``T - t`` of backpropagation through the settling, exactly in the limit of small ``beta``
    (:func:`equilibrium_updates`).

    Source: `Scellier & Bengio 2017, Equilibrium Propagation <https://arxiv.org/abs/1602.05179>`_, theorem 1; symmetric
    nudging `Laborieux et al. 2021, Scaling Equilibrium Propagation to Deep ConvNets
    <https://arxiv.org/abs/2006.03824>`_.

    *Recommended* for networks that need many sweeps, whose settling would not fit in memory. *Not recommended* where
    the free phase does not converge (look at ``model.settle(...).residual``): the estimate is then of nothing.

    Args:
        beta: largest force on an output. Too small loses digits to rounding (in float32 below about 1e-3), too large
            leaves the linear regime.
        steps: sweeps of the nudged phase, ``K``.
        symmetric: nudge both ways, at twice the cost of the nudged phase. What the free phase left unsettled goes on
            settling in both and cancels; one-sided it is divided by ``beta`` and taken for gradient.

    Raises:
        ValueError: for a ``beta`` that is not positive or fewer than one step; and by any model of spiking neurons.
    """

    beta: float = 0.01
    steps: int = 20
    symmetric: bool = False

    def __post_init__(self):
        if not 0 < self.beta < float("inf"):
            raise ValueError(f"equilibrium propagation needs a finite beta > 0, not {self.beta}")
        check_sizes(steps=self.steps)

    def output(self, system: SettlingSystem, steps: int, tolerance: float) -> Tensor:
        """See :meth:`SettlingRule.output`."""
        output: Tensor = _Settle.apply(self, system, steps, tolerance, *system.tensors)  # pyright: ignore
        return first_order(output, type(self).__name__, "SettlingBPTT")


class _Settle(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rule: EquilibriumPropagation, system: SettlingSystem, steps: int, tolerance: float, *tensors):
        states = settle(system, steps, tolerance).states
        # saved, not kept: autograd then refuses a backward pass after an optimiser changed them
        ctx.save_for_backward(*states, *tensors)
        ctx.rule, ctx.system, ctx.layers = rule, system.with_tensors(()), len(states)
        return states[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator's doing
        saved = ctx.saved_tensors  # read once: under torch.utils.checkpoint every reading unpacks them anew
        states, tensors = saved[: ctx.layers], saved[ctx.layers :]
        needed = ctx.needs_input_grad[-len(tensors) :]
        leaves = [tensor.detach().requires_grad_(need) for tensor, need in zip(tensors, needed)]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        found = iter(_estimate(ctx.rule, ctx.system.with_tensors(leaves), states, grads[0], wanted))
        return None, None, None, None, *(next(found) if need else None for need in needed)


def _estimate(
    rule: EquilibriumPropagation, system: SettlingSystem, free: States, grad: Tensor, wanted: list[Tensor]
) -> list[Tensor]:
    scale = grad.abs().max() if grad.numel() else grad.new_zeros(())
    if scale == 0:
        return [torch.zeros_like(tensor) for tensor in wanted]
    nudge = grad * (rule.beta / scale)
    high = settle(system, rule.steps, states=free, nudge=nudge, backwards=True).states
    low = settle(system, rule.steps, states=free, nudge=-nudge, backwards=True).states if rule.symmetric else free
    gradients = _energy_difference(system, high, low, wanted)
    return [gradient * (scale / (rule.beta * (1 + rule.symmetric))) for gradient in gradients]


def _energy_difference(system: SettlingSystem, high: States, low: States, wanted: list[Tensor]) -> list[Tensor]:
    r""":math:`\partial E/\partial\theta` at one point less that at another."""
    with torch.enable_grad():
        difference = system.energy(high) - system.energy(low)
        return list(torch.autograd.grad(difference, wanted, materialize_grads=True))


class Updates(NamedTuple):
    """What each step of the two methods contributes to the gradient.

    Attributes:
        ep: of the nudged phase, ``[K, P]``, ``P`` counting all entries of the system's tensors.
        bptt: of backpropagation, from the last sweep to the first, ``[K, P]``.
    """

    ep: Tensor
    bptt: Tensor


def equilibrium_updates(
    system: SettlingSystem, loss: Callable[[Tensor], Tensor], rule: EquilibriumPropagation, steps: int = 1000
) -> Updates:
    r"""Both sides of the theorem that equilibrium propagation repeats backpropagation through time.

    For ``t = 0..K-1``, with :math:`s^\beta_t` the states after ``t`` sweeps of the nudged phase and
    :math:`\theta_{T-t}` the copy of :math:`\theta` that sweep ``T - t`` of the free phase used,

    .. math::
        -\Delta^{EP}_\theta(t) = \frac c\beta\left(\frac{\partial E}{\partial\theta}(s^\beta_{t+1})
        - \frac{\partial E}{\partial\theta}(s^\beta_t)\right) \;\longrightarrow\;
        \nabla^{BPTT}_\theta(t) = \frac{\partial\mathcal L}{\partial\theta_{T-t}} \qquad (\beta \to 0),

    if the free phase has been at :math:`s^*` for its last ``K`` sweeps. The tensors begin with the current into the
    first layer, so its states' updates are among them.

    Source: `Ernoult et al. 2019 <https://arxiv.org/abs/1905.13633>`_, theorem 1. There the step is the gradient of a
    primitive function itself, and with an activation the theorem holds approximately, because the nudge is added after
    it. Here the nudge enters before the activation, and it holds for any; the updates of a state are then the gradient
    with respect to its input current.

    Args:
        system: from a model's ``system``, in float64.
        loss: of the output, a scalar.
        rule: its ``beta`` and its ``steps``, ``K``; always one-sided.
        steps: sweeps of the free phase before those that are differentiated.
    """
    system = system.with_tensors([tensor.detach().requires_grad_() for tensor in system.tensors])
    with torch.no_grad():
        free = settle(system, steps).states
    copies = [system.with_tensors([t.detach().requires_grad_() for t in system.tensors]) for _ in range(rule.steps)]
    states = free
    for copy in copies:
        states = copy.sweep(states)
    output = states[-1]
    (grad,) = torch.autograd.grad(loss(output), output, retain_graph=True)
    pieces = torch.autograd.grad(output, [t for c in copies for t in c.tensors], grad, materialize_grads=True)
    count = len(system.tensors)
    bptt = [_flat(pieces[i : i + count]) for i in range(0, len(pieces), count)][::-1]

    ep, scale = [], grad.abs().max()
    now, wanted = free, list(system.tensors)
    for _ in range(rule.steps):
        last = now
        with torch.no_grad():
            now = system.sweep(last, grad * (rule.beta / scale), backwards=True)
        ep.append(_flat(_energy_difference(system, now, last, wanted)) * (scale / rule.beta))
    return Updates(torch.stack(ep), torch.stack(bptt))


def _flat(tensors) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def relative_rmse(a: Tensor, b: Tensor) -> float:
    r""":math:`\sqrt{\sum(a - b)^2 / \max(\sum a^2, \sum b^2)}`, the measure of `Ernoult et al. 2019
    <https://arxiv.org/abs/1905.13633>`_, section 4.
    """
    largest = max(float(a.square().sum()), float(b.square().sum()))
    return (float((a - b).square().sum()) / largest) ** 0.5 if largest else 0.0
