"""Processes of a group on this machine, and the graphs and models that they are compared on."""

import datetime
import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch_geometric.data import Data

from msg.gradients import DvM, RateBackprop, SurrogateBPTT
from msg.graph import Graph, Partition, partition
from msg.models.baselines import SAGE, SGC, CachedGCN
from msg.neurons import IF, LIF
from msg.nn import GCSNN, HGCN, MSG, QGCN, ClassicGNN, HyboNet, KappaGCN, SpikingGNN

FEATURES, CLASSES = 12, 3
PEERS = {"GCSNN": GCSNN, "HGCN": HGCN, "KappaGCN": KappaGCN, "HyboNet": HyboNet, "QGCN": QGCN}


def join(rank, world, folder, seconds=60):
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting-{world}",
        rank=rank,
        world_size=world,
        timeout=datetime.timedelta(seconds=seconds),
    )


def _enter(rank, world, folder, function, arguments):
    torch.set_num_threads(1)
    join(rank, world, folder)
    found = function(rank, world, *arguments)
    torch.save(found, os.path.join(folder, f"found-{world}-{rank}.pt"))
    dist.destroy_process_group()


def together(world, folder, function, *arguments):
    """What ``function(rank, world, *arguments)``, of the top of a module, returns on each of ``world`` ranks."""
    mp.spawn(_enter, (world, str(folder), function, arguments), nprocs=world)
    paths = [folder / f"found-{world}-{rank}.pt" for rank in range(world)]
    return [torch.load(path, weights_only=False) for path in paths]


def graph(kind="random", nodes=40, dtype=torch.float64):
    """A graph with isolated nodes, loops, both directions of some edges only, and edges that stand there twice."""
    draw = torch.Generator().manual_seed(1)
    edges = torch.randint(0, nodes - 5, (2, 4 * nodes), generator=draw)
    if kind == "cut off":  # nothing crosses between the first half and the rest
        edges = torch.cat([edges % (nodes // 2), edges % (nodes // 2) + nodes // 2], dim=1)
    x = torch.randn(nodes, FEATURES, generator=draw, dtype=torch.float64).to(dtype)
    data = Data(x=x, edge_index=edges, y=torch.randint(0, CLASSES, (nodes,), generator=draw))
    if kind == "weighted":
        data.edge_weight = torch.rand(edges.size(1), generator=draw, dtype=torch.float64).to(dtype)
    data.train_mask = torch.rand(nodes, generator=draw) < 0.5
    return data


def build(name, dtype=torch.float64):
    """A model by what is peculiar to it."""
    torch.manual_seed(3)
    kind, _, rest = name.partition(" ")
    if kind == "MSG":
        rule = {"rate": RateBackprop(), "bptt": SurrogateBPTT()}.get(rest, DvM())
        options = {
            "sage": {"conv": "sage"},
            "gin": {"conv": "gin"},
            "two": {"num_layers": 2},
            "lif": {"neuron": LIF()},
            "auto": {"neuron": IF("auto")},
            "narrow": {"manifold": "H5"},
            "long": {"timesteps": 300},
        }
        manifold = rest if rest[:1] in tuple("EHSPUL") else "H8"
        chosen = {"manifold": manifold, "timesteps": 6, "gradient": rule, **options.get(rest, {})}
        model = MSG(FEATURES, CLASSES, **chosen)
    elif kind == "SpikingGNN":
        model = SpikingGNN(FEATURES, CLASSES, hidden_channels=8, timesteps=6, gradient=RateBackprop())
    elif kind == "SGC":
        model = SGC(FEATURES, CLASSES)
    elif kind == "ClassicGNN":
        model = ClassicGNN(FEATURES, 8, 2, CLASSES, norm="layer", residual=True, dropout=0.0)
    elif kind in PEERS:
        model = PEERS[kind](FEATURES, CLASSES, dropout=0.0)
        # biases of zero leave points on the radius bound, where rounding chooses the slope
        for bias in (parameter for parameter in model.parameters() if not parameter.any()):
            bias.data.normal_(0, 0.1)
        return model.to(dtype)
    else:
        model = {"GCN": CachedGCN, "SAGE": SAGE}[kind](FEATURES, 8, 3, CLASSES)
    for parameter in model.parameters():  # so that neurons fire, and biases are there to be wrong
        if parameter.dim() < 3 and parameter.is_floating_point() and parameter.numel() > 1:
            parameter.data.normal_(0, 0.7)
    return model.to(dtype)


def one(data, model):
    """Rates, logits and gradients in one process."""
    return _run(model, model, data.x, data.edge_index, data.get("edge_weight"), data, data.train_mask.sum())


def of_a_part(data, cut, model, rank, world):
    """The same on one rank, with the bytes sent forward and back; the second time, when features have crossed."""
    part = cut[rank]
    whole = DistributedDataParallel(model)
    count = int(data.train_mask.sum()) / world
    for _ in range(2):
        model.zero_grad()
        before = part.graph.border.sent
        found = _run(model, whole, part.x, part.graph, None, part, count)
        found["sent"] = found["sent"] - before, part.graph.border.sent - found["sent"]
    return {**found, "nodes": part.nodes}


def _run(model, whole, x, edge_index, edge_weight, data, count):
    rates = []
    hooks = [module.register_forward_hook(lambda _, __, out: rates.extend(out.rates))
             for module in model.modules() if type(module).__name__ == "SpikingStack"]  # fmt: skip
    logits = whole(x, edge_index) if edge_weight is None else whole(x, edge_index, edge_weight)
    for hook in hooks:
        hook.remove()
    sent = edge_index.border.sent if isinstance(edge_index, Graph) else 0
    loss = cross_entropy(logits[data.train_mask], data.y[data.train_mask], reduction="sum") / count
    loss.backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {"logits": logits.detach(), "rates": [r.detach() for r in rates], "grads": grads, "sent": sent}


def assigned(data, world, method):
    """A partition; ``"lonely"`` leaves all parts but one empty."""
    if method != "lonely":
        return partition(data, world, method)
    return Partition(data, torch.full((data.num_nodes,), world - 1), world)
