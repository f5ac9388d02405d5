"""Forms of a model: one of ours with something else in its neurons' place, by name.

``NAME-NEURON`` is the model with that neuron, as in ``msg-lif``; ``NAME-4bit`` sends its values at once as integers of
four bits, and ``NAME-twin`` the rate of infinitely many steps. ``gcn`` and ``sage`` have forms too: the same
convolutions with neurons where they have a ReLU, so ``gcn-if`` is a GCN that fires and ``gcn-2bit`` its quantised twin.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msg.experiments.config import reads
from msg.experiments.options import listed
from msg.names import MODELS, NEURONS

_CONVOLUTIONS = {"gcn": "gcn", "sage": "sage"}
"""Models that have forms though they have no neurons, with the convolution of those that do."""

HINT = "NAME-NEURON, NAME-4bit or NAME-twin"
"""How names of forms are made."""


@dataclass(frozen=True)
class Form:
    """A model under a name of its own.

    Attributes:
        name: of the form.
        model: name out of :data:`msg.names.MODELS`.
        fixed: options that it is, which are not varied.
    """

    name: str
    model: str
    fixed: Mapping[str, Any] = field(default_factory=dict)


def form(name: str) -> Form:
    """The form of a name; a model's own name is the model as it is.

    Raises:
        ValueError: for a name of neither.
    """
    if name in MODELS:
        return Form(name, name)
    able = [*_CONVOLUTIONS, *(model for model in MODELS if reads(model, "neuron"))]
    for base in able:
        found = _neuron(name.removeprefix(f"{base}-"))
        if not name.startswith(f"{base}-") or found is None:
            continue
        if base in _CONVOLUTIONS:
            return Form(name, "spiking-gnn-conv", {"conv": _CONVOLUTIONS[base], **found})
        return Form(name, base, {option: value for option, value in found.items() if reads(base, option)})
    raise ValueError(f"unknown model {name!r}: use {listed(MODELS)}, or a form of {listed(able)}: {HINT}")


def _neuron(ending: str) -> dict[str, Any] | None:
    """Options of what an ending puts in the neurons' place."""
    bits = re.fullmatch(r"([1-9]\d*)bit", ending)
    own: dict[str, Any] = {"neuron": "clipped-relu" if ending == "twin" else ending}
    if bits:
        own = {"neuron": "quantized-relu", "bits": int(bits[1])}
    if own["neuron"] not in NEURONS:
        return None
    # what sends its value at once has no time, and its own derivative
    return own if NEURONS[own["neuron"]].spiking else {**own, "timesteps": 1, "gradient": "bptt"}
