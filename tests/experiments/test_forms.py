import pytest

from msg.experiments.config import reads
from msg.experiments.forms import form
from msg.names import MODELS, NEURONS

TWIN = {"timesteps": 1, "gradient": "bptt"}


@pytest.mark.parametrize(
    ("name", "model", "fixed"),
    [
        ("msg", "msg", {}),
        ("gc-snn", "gc-snn", {}),
        ("gc-snn-twin", "gc-snn", {"neuron": "clipped-relu", "timesteps": 1}),
        ("msg-lif", "msg", {"neuron": "lif"}),
        ("msg-twin", "msg", {"neuron": "clipped-relu", **TWIN}),
        ("msg-quantized-relu", "msg", {"neuron": "quantized-relu", **TWIN}),
        ("spiking-gnn-conv-clipped-relu", "spiking-gnn-conv", {"neuron": "clipped-relu", **TWIN}),
        ("spiking-gnn-relu", "spiking-gnn", {"neuron": "relu", **TWIN}),
        ("gcn-if", "spiking-gnn-conv", {"conv": "gcn", "neuron": "if"}),
        ("sage-2bit", "spiking-gnn-conv", {"conv": "sage", "neuron": "quantized-relu", "bits": 2, **TWIN}),
        ("gcn-16bit", "spiking-gnn-conv", {"conv": "gcn", "neuron": "quantized-relu", "bits": 16, **TWIN}),
        ("gcn-02bit", None, {}),
        ("gcn-", None, {}),
        ("twin", None, {}),
        ("gat-if", None, {}),
        ("sgc-twin", None, {}),
        ("hgcn-lif", None, {}),
    ],
)
def test_a_name_is_a_model_and_what_stands_in_its_neurons_place(name, model, fixed):
    if model is None:
        with pytest.raises(
            ValueError, match=f"unknown model '{name}': use 'msg', .*, or a form of 'gcn', 'sage', 'msg'"
        ):
            form(name)
        return
    found = form(name)
    assert (found.name, found.model, dict(found.fixed)) == (name, model, fixed)


def test_no_form_hides_a_model():
    assert all(form(name).model == name for name in MODELS)
    for model in (name for name in MODELS if reads(name, "neuron")):
        for neuron in NEURONS:
            assert form(f"{model}-{neuron}").fixed["neuron"] == neuron
