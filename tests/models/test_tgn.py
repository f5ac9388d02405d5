"""The spiking memory of event streams: the script of PyG's example over both memories, and a slow loop over events."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.data import TemporalData
from torch_geometric.loader import TemporalDataLoader
from torch_geometric.nn import TGNMemory, TransformerConv
from torch_geometric.nn.models.tgn import IdentityMessage, LastAggregator, LastNeighborLoader, MeanAggregator

from msg.gradients import DvM
from msg.neurons import IF, LIF, DecayingThresholdLIF
from msg.nn import SpikingTGNMemory

NODES, SYMBOLS, WIDTH, TIME = 20, 4, 16, 6


def _stream(events):
    """Senders 0..9 write to 10..19; ``y`` is what the sender of an event wrote the last time, -1 at first."""
    generator = torch.Generator().manual_seed(0)
    src, dst = torch.randint(10, (2, events), generator=generator)
    symbol = torch.randint(SYMBOLS, (events,), generator=generator)
    wrote, y = {}, []
    for node, now in zip(src.tolist(), symbol.tolist()):
        y.append(wrote.get(node, -1))
        wrote[node] = now
    msg = F.one_hot(symbol, SYMBOLS).float()
    return TemporalData(src=src, dst=dst + 10, t=3 * torch.arange(events), msg=msg, y=torch.tensor(y))


def _memory(kind=SpikingTGNMemory, aggregator=LastAggregator, **options):
    torch.manual_seed(2)
    message = IdentityMessage(SYMBOLS, WIDTH, TIME)
    return kind(NODES, SYMBOLS, WIDTH, TIME, message, aggregator(), **options)


def _script(kind):
    """Train and test as PyG's example does, with sampled neighbours and attention over their events."""
    memory, data = _memory(kind), _stream(240)
    attention = TransformerConv(WIDTH, WIDTH // 2, heads=2, edge_dim=SYMBOLS + memory.time_enc.out_channels)
    predictor, neighbors = nn.Linear(2 * WIDTH, 1), LastNeighborLoader(NODES, size=5)
    parameters = [*memory.parameters(), *attention.parameters(), *predictor.parameters()]
    optimizer, seen, assoc = torch.optim.Adam(parameters, lr=1e-3), [], torch.empty(NODES, dtype=torch.long)

    def loss_of(batch):
        n_id, edge_index, e_id = neighbors(torch.cat([batch.src, batch.dst, batch.neg_dst]).unique())
        assoc[n_id] = torch.arange(n_id.size(0))
        z, last_update = memory(n_id)
        seen.append((z.shape, z.dtype, z.requires_grad, last_update))
        rel_t = memory.time_enc((last_update[edge_index[0]] - data.t[e_id]).to(z.dtype))
        z = attention(z, edge_index, torch.cat([rel_t, data.msg[e_id]], dim=-1))
        pairs = [torch.cat([z[assoc[batch.src]], z[assoc[to]]], dim=1) for to in (batch.dst, batch.neg_dst)]
        wanted = torch.cat([torch.ones(len(batch.src)), torch.zeros(len(batch.src))])
        loss = F.binary_cross_entropy_with_logits(predictor(torch.cat(pairs)).squeeze(1), wanted)
        memory.update_state(batch.src, batch.dst, batch.t, batch.msg)
        neighbors.insert(batch.src, batch.dst)
        return loss

    torch.manual_seed(3)  # of negatives
    for _ in range(2):
        memory.train()
        memory.reset_state()
        neighbors.reset_state()
        assert not memory.memory.any()
        for batch in TemporalDataLoader(data[:160], batch_size=20, neg_sampling_ratio=1.0):
            optimizer.zero_grad()
            loss = loss_of(batch)
            loss.backward()
            optimizer.step()
            memory.detach()
            assert loss.isfinite()
            assert not memory.memory.requires_grad
        memory.eval()
        with torch.no_grad():
            for batch in TemporalDataLoader(data[160:], batch_size=20, neg_sampling_ratio=1.0):
                assert loss_of(batch).isfinite()
    return memory, seen


def test_the_script_of_a_gru_memory_runs_over_both():
    (ours, mine), (theirs, other) = _script(SpikingTGNMemory), _script(TGNMemory)
    assert isinstance(ours, TGNMemory)
    for (shape, dtype, grad, times), (shape_, dtype_, grad_, times_) in zip(mine, other, strict=True):
        assert (shape, dtype, grad) == (shape_, dtype_, grad_)
        assert torch.equal(times, times_)
    assert torch.equal(ours.last_update, theirs.last_update)
    public = {name for name in {*vars(theirs), *theirs._modules, *theirs._buffers} if not name.startswith("_")}
    assert all(hasattr(ours, name) for name in public)
    ours.detach()  # what entering evaluation has written, outside no_grad
    copied = copy.deepcopy(ours)
    copied.reset_state()
    copied.load_state_dict(ours.state_dict())
    every = torch.arange(NODES)
    assert ours(every)[0].any()
    assert torch.equal(copied(every)[0], ours(every)[0])


@pytest.mark.parametrize("neuron", [None, IF(0.3), LIF(threshold=0.2)], ids=str)
def test_memory_is_that_of_a_loop_over_nodes(neuron):
    memory, data = _memory(neuron=neuron, memory_decay=0.3), _stream(60)
    layer, kappa = memory.gru.layer, 0.3
    weight = layer.recurrent.weight - torch.diag(layer.recurrent.weight.diagonal())
    trace, spikes = torch.zeros(NODES, WIDTH), torch.zeros(NODES, WIDTH)
    state, updated, waiting = [None] * NODES, [0] * NODES, {}

    def updates(nodes):
        """What the last event of each node does to it, from the memories and times before."""
        for node in nodes:
            if node not in waiting:
                continue
            other, t, msg = waiting[node]
            encoded = memory.time_enc(torch.tensor([float(t - updated[node])]))[0]
            current = torch.cat([trace[node], trace[other], msg, encoded]) @ layer.input.weight.t()
            current = current + weight @ spikes[node]
            fired, after = layer.neuron(current, state[node], memory.gru.rule.surrogate)
            yield node, (1 - kappa) * fired + kappa * trace[node], fired, after, t

    with torch.no_grad():
        for number, batch in enumerate(TemporalDataLoader(data, batch_size=12)):
            touched = torch.cat([batch.src, batch.dst]).unique()
            found = {node: (m, t) for node, m, _, _, t in updates(touched.tolist())}
            z, times = memory(touched)
            for row, node in enumerate(touched.tolist()):
                want, t = found.get(node, (trace[node], 0))
                torch.testing.assert_close(z[row], want)
                assert int(times[row]) == t
            for node, m, fired, after, t in list(updates(touched.tolist())):
                trace[node], spikes[node], state[node], updated[node] = m, fired, after, t
            for s, d, t, msg in zip(batch.src.tolist(), batch.dst.tolist(), batch.t.tolist(), batch.msg):
                waiting[s], waiting[d] = (d, t, msg), (s, t, msg)
            memory.update_state(batch.src, batch.dst, batch.t, batch.msg)
            assert number == 0 or 0.02 < spikes[touched].mean() < 0.9


def test_what_a_sender_wrote_last_is_learned():
    memory, head, data = _memory(), nn.Linear(WIDTH, SYMBOLS), _stream(700)
    optimizer = torch.optim.Adam([*memory.parameters(), *head.parameters()], lr=0.03)
    for _ in range(2):
        memory.train()
        memory.reset_state()
        for batch in TemporalDataLoader(data[:500], batch_size=4):
            nodes, row = batch.src.unique(return_inverse=True)
            out = head(memory(nodes)[0])[row]
            loss = F.cross_entropy(out, batch.y, ignore_index=-1, reduction="sum")
            optimizer.zero_grad()
            memory.update_state(batch.src, batch.dst, batch.t, batch.msg)
            loss.backward()
            optimizer.step()
            memory.detach()
    memory.eval()
    right = []
    with torch.no_grad():
        for batch in TemporalDataLoader(data[500:], batch_size=1):
            right.append(int(head(memory(batch.src)[0]).argmax()) == int(batch.y))
            memory.update_state(batch.src, batch.dst, batch.t, batch.msg)
    assert sum(right) > 0.75 * len(right)  # a guess is right in a quarter


def test_every_parameter_learns_and_those_without_events_rest():
    memory, batch = _memory(aggregator=MeanAggregator), _stream(8)
    every = torch.arange(NODES)
    for _ in range(3):
        memory.detach()
        memory.update_state(batch.src, batch.dst, batch.t, batch.msg)
    z, _ = memory(every)
    z.square().sum().backward()
    for name, parameter in memory.named_parameters():
        assert parameter.grad.any(), name
    silent = torch.ones(NODES, dtype=torch.bool)
    silent[torch.cat([batch.src, batch.dst])] = False
    assert silent.any()
    assert not z[silent].any()
    assert z[~silent].any()
    before = memory.gru.layer.input.weight.clone()
    memory.reset_parameters()
    assert not torch.equal(memory.gru.layer.input.weight, before)


def test_a_node_without_a_message_receives_none():
    aggregate = _memory().aggr_module
    msg, t = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1, 2, 3])
    assert aggregate(msg, torch.tensor([0, 0, 2]), t, 3).tolist() == [[2.0], [0.0], [3.0]]
    assert aggregate(msg[:0], t[:0], t[:0], 2).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_decay": 1.0}, "memory_decay"),
        ({"neuron": DecayingThresholdLIF()}, "DecayingThresholdLIF keeps something that all nodes share"),
        ({"neuron": 3}, "neuron must be"),
        ({"neuron": LIF(threshold="auto")}, "give a number"),
        ({"gradient": DvM()}, r"DvM.*SpikingTGNMemory"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        _memory(**options)
