import pytest
import torch

from msg.gradients import OTTT, CheckpointedBPTT, DvM, RateBackprop, SurrogateBPTT, simulation
from msg.graph import Graph
from msg.neurons import IF
from msg.nn import SpikingGNN


@pytest.mark.parametrize("timesteps", [1, 2, 7, 15, 64, 1000])
@pytest.mark.parametrize("elements", [0, 1, 10, 999_999, 4_000_000, 10**9])
def test_chunks_cover_time_once_in_order_and_evenly(timesteps, elements):
    chunks = list(simulation._chunks(timesteps, elements, simulation._CHUNK_ELEMENTS))
    assert [t for chunk in chunks for t in range(chunk.start, chunk.stop)] == list(range(timesteps))
    sizes = [chunk.stop - chunk.start for chunk in chunks]
    limit = max(1, simulation._CHUNK_ELEMENTS // max(1, elements))
    assert max(sizes) <= limit
    # no more chunks than needed, and no tiny remainder after large ones
    assert len(sizes) == -(-timesteps // min(limit, timesteps)) or max(sizes) * (len(sizes) - 1) < timesteps
    assert max(sizes[:-1], default=sizes[0]) == sizes[0]


@pytest.mark.parametrize("rule", [DvM(), SurrogateBPTT(), CheckpointedBPTT(), OTTT(), RateBackprop()], ids=repr)
def test_rates_in_half_precision_do_not_stop_where_it_stops_counting(rule, monkeypatch):
    monkeypatch.setattr(simulation, "_CHUNK_ELEMENTS", 500)  # more chunks than one
    torch.manual_seed(0)
    layers = SpikingGNN(5, 3, 8, num_layers=2, timesteps=600, neuron=IF(0.3)).bfloat16().stack.layers
    x, edges = torch.rand(6, 5).bfloat16(), torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])
    (found, *_) = rule.run(layers, x, Graph(edges, None, 6), 600).rates
    current = simulation.encoder_current(layers, x, Graph(edges, None, 6), 600)
    want = IF(0.3).rate(current.float().detach(), 600)
    assert want.max() > 0.6  # 360 spikes
    torch.testing.assert_close(found.float().detach(), want, rtol=0.03, atol=0.03)
