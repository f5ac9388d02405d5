import io

import pytest
import torch

from msg.nn import GASNN, GCSNN, HGCN, MSG, CachedGCN, HyboNet, SpikeNet, SpikingGCN, SpikingGNN

LIF = {"name": "lif", "threshold": 0.2}
MODELS = {
    "dvm": lambda: MSG(6, 3, "H4xS4", conv="sage", norm="layer", jumping="cat", neuron=LIF),
    "rate": lambda: MSG(6, 3, "U4", conv="gat", gradient="rate", neuron=LIF),
    "bptt": lambda: SpikingGNN(6, 3, 8, neuron=LIF),
    "features": lambda: SpikingGCN(6, 3, neuron=LIF),
    "trains": lambda: GCSNN(6, 3, 8),
    "attention": lambda: GASNN(6, 3, 8),
    "spikenet": lambda: SpikeNet(6, 3, 8),
    "hyperboloid": lambda: HGCN(6, 3),
    "lorentz": lambda: HyboNet(6, 3),
    "cached": lambda: CachedGCN(6, 8, 2, 3),
}


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit:DeprecationWarning")
def test_a_trace_is_a_program_for_other_graphs(name):
    torch.manual_seed(0)
    model, buffer = MODELS[name]().double().eval(), io.BytesIO()
    with torch.no_grad():
        traced = torch.jit.trace(model, (torch.randn(20, 6).double(), torch.randint(0, 20, (2, 60))))
        torch.jit.save(traced, buffer)
        buffer.seek(0)
        program = torch.jit.load(buffer)
        x, edges = torch.randn(33, 6).double(), torch.randint(0, 33, (2, 100))
        assert torch.allclose(program(x, edges), model(x, edges), atol=1e-9)
