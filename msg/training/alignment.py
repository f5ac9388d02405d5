"""How far a gradient rule's gradient points where the exact one does."""

import copy

import torch
from torch import Tensor, nn

from msg.gradients import SurrogateBPTT
from msg.models.stack import SpikingStack
from msg.training.tasks import Task


def gradient_alignment(
    model: nn.Module,
    task: Task,
    exact: SurrogateBPTT = SurrogateBPTT(),  # noqa: B008 - frozen
) -> list[float | None]:
    r"""Cosine similarity, layer by layer, of a model's gradient with that of exact surrogate BPTT at the same weights.

    .. math::
        c^l = \frac{\langle g^l, h^l\rangle}{|g^l|\,|h^l|},

    where ``g`` is the gradient of the training loss with respect to the weights of layer ``l``'s synapse under the
    model's rule, and ``h`` that under ``exact``; biases are left out, and so is dropout; what else is
    drawn at random, by an augmentation, say, is drawn alike for both, so that they see the same network. Neither the
    model nor a generator of torch is changed.

    Args:
        model: a spiking network; the ``gradient`` of its stack is the rule.
        task: whose training loss is differentiated, that of its first epoch.
        exact: the rule to compare with.

    Returns:
        One number a layer, encoder first; ``None`` where a gradient is zero or not finite, which points nowhere.

    Raises:
        ValueError: for a model without a gradient rule.
    """
    if not any(isinstance(module, SpikingStack) for module in model.modules()):
        raise ValueError(f"{type(model).__name__} has no gradient rule to compare: give a network such as MSG")
    own, reference = _synapse_gradients(model, task), _synapse_gradients(model, task, exact)
    return [_cosine(g, h) for g, h in zip(own, reference)]


def _synapse_gradients(model: nn.Module, task: Task, rule: SurrogateBPTT | None = None) -> list[Tensor]:
    """The gradient of every layer's weights without dropout, flat and in float64, since its square may underflow in
    less; by a rule in place of the model's own, if one is given.
    """
    model = copy.deepcopy(model)  # with the generators that modules have
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    stacks = [module for module in model.modules() if isinstance(module, SpikingStack)]
    if rule is not None:
        for stack in stacks:
            stack.gradient = rule
    synapses = [layer.get_submodule("synapse") for stack in stacks for layer in stack.layers]
    layers = [[weight for weight in synapse.parameters() if weight.dim() > 1] for synapse in synapses]
    flat = [weight for layer in layers for weight in layer]
    with torch.random.fork_rng({p.device for p in model.parameters() if p.device.type == "cuda"}):
        loss = torch.stack([task.loss(model, batch) for batch in task.batches(1)]).mean()
        found = iter(torch.autograd.grad(loss, flat, materialize_grads=True))
    none = loss.new_zeros(0).double()  # a layer that learns no weights, as fixed directions do not
    return [torch.cat([none, *(next(found).double().flatten() for _ in layer)]) for layer in layers]


def _cosine(g: Tensor, h: Tensor) -> float | None:
    norms = float(g.norm() * h.norm())
    value = float(g @ h) / norms if norms > 0 else float("nan")
    # rounding may lead a little beyond 1
    return max(-1.0, min(1.0, value)) if abs(value) < float("inf") else None
