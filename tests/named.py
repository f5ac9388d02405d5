"""Models by name, small, with a value for each option that one may read."""

from msg.names import GRADIENTS, MODELS
from msg.neurons import IF

OPTIONS = {
    "manifold": "H4", "hidden_channels": 4, "num_layers": 3, "num_hops": 2, "conv": "gcn", "bias": True,
    "step_size": 0.3, "learn_step_size": True, "max_step": 1.0, "dropout": 0.2, "threshold": 0.4, "heads": 2,
    "graph_weight": 0.5, "norm": "layer", "residual": True, "jumping": "cat", "learn_curvature": True, "signed": True,
    "classifier": "fixed", "tau": 80.0, "warm_up": 1, "input_rate": 0.02,
    "encoder_epochs": 2, "decoder_channels": 3, "margin": 0.5, "graph_dropout": 0.1, "num_blocks": 2,
}  # fmt: skip
FIRING = {"bernoulli-spikinggcn": {"timesteps": 60, "threshold": 0.02}}
"""Of a model that would be silent with these."""


def named(name, timesteps=5, in_channels=5, **changed):
    """The model, for three classes, with a rule that suits it; what is in :data:`FIRING` has its own time."""
    spec = MODELS[name]
    rule = GRADIENTS[spec.defaults.get("gradient", "bptt")]()
    options = {**OPTIONS, "timesteps": timesteps, "neuron": IF(threshold=0.4), "gradient": rule}
    options |= changed | FIRING.get(name, {})
    return spec.build(in_channels, 3, **{option: options[option] for option in spec.reads})
