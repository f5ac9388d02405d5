"""Currents of spikes that are drawn, beside three ways to have them from torch.

    OMP_NUM_THREADS=1 python benchmarks/bench_bernoulli.py [--rounds 7] [--threads 1]

Forward, and backward from a twentieth of the nodes, as where few have labels; propagated features of the size of Cora's
and Photo's, drawn at random. torch draws a number for each input and step; sixteen bits for each; or a number for each
input that is not zero, and multiplies a sparse matrix. Ratios to the first in the same round, medians with quartiles.
"""

import argparse
from collections.abc import Callable, Iterator

import torch
from rounds import compared
from torch import Tensor

from msg.nn import BernoulliLinear

# nodes, features, classes, share of features that are not zero after propagation, their mean, T
CASES = {
    "Cora": (2708, 1433, 7, 0.25, 0.004, 200),
    "Photo": (7650, 745, 8, 0.95, 0.0014, 15),
    "dense": (2000, 500, 10, 1, 0.3, 50),
}


def numbers(chances: Tensor, steps: int) -> Iterator[Tensor]:
    room = torch.empty_like(chances)
    for _ in range(steps):
        yield room.uniform_() < chances


def sixteen_bits(chances: Tensor, steps: int) -> Iterator[Tensor]:
    limit = (chances * 2**16 - 2**15).round().clamp(max=2**15 - 1).to(torch.int16)
    words = torch.empty(-(-chances.numel() // 4), dtype=torch.int64)
    for _ in range(steps):
        drawn = words.random_(-(2**63), None).view(torch.int16)[: chances.numel()]
        yield drawn.view_as(chances) < limit


def dense(draw: Callable[[Tensor, int], Iterator[Tensor]], chances: Tensor, weight: Tensor, grad: Tensor, rows: Tensor):
    """Currents, and the gradient of the weights."""
    out, kept = torch.empty(len(grad), len(chances), weight.size(1)), []
    for spikes, current in zip(draw(chances, len(grad)), out):
        torch.mm(spikes.to(weight.dtype), weight, out=current)
        kept.append(spikes[rows])
    return out, sum(spikes.to(weight.dtype).t() @ now for spikes, now in zip(kept, grad))


def sparse(chances: Tensor, weight: Tensor, grad: Tensor, rows: Tensor):
    out, kept = torch.empty(len(grad), len(chances), weight.size(1)), []
    room, part = torch.empty_like(chances.values()), chances.to_dense()[rows].to_sparse_csr()
    inside = torch.zeros(chances.size(0), dtype=torch.bool).index_fill(0, rows, True)
    inside = inside.repeat_interleave(chances.crow_indices().diff())
    for current in out:
        fired = (room.uniform_() < chances.values()).to(weight.dtype)
        spikes = torch.sparse_csr_tensor(chances.crow_indices(), chances.col_indices(), fired, chances.shape)
        current.copy_(spikes @ weight)
        kept.append(torch.sparse_csr_tensor(part.crow_indices(), part.col_indices(), fired[inside], part.shape))
    return out, sum((now.t() @ spikes).t() for spikes, now in zip(kept, grad))


def ours(layer: BernoulliLinear, chances: Tensor, upstream: Tensor):
    out = layer(chances, len(upstream))
    return torch.autograd.grad(out, layer.weight, upstream)


def calls(nodes: int, features: int, classes: int, share: float, mean: float, steps: int) -> dict[str, Callable]:
    torch.manual_seed(0)
    chances = torch.rand(nodes, features) * 2 * mean * (torch.rand(nodes, features) < share)
    layer = BernoulliLinear(features, classes, seed=0)
    weight, rows = layer.weight.detach().t().contiguous(), torch.randperm(nodes)[: nodes // 20].sort().values
    upstream = torch.zeros(steps, nodes, classes)
    upstream[:, rows] = grad = torch.randn(steps, len(rows), classes)
    stored = chances.to_sparse_csr()
    return {
        "torch": lambda: dense(numbers, chances, weight, grad, rows),
        "16 bits": lambda: dense(sixteen_bits, chances, weight, grad, rows),
        "not zero": lambda: sparse(stored, weight, grad, rows),
        "ours": lambda: ours(layer, chances, upstream),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{'':8}{'torch, ms':>12}{'16 bits':>22}{'not zero':>22}{'ours':>22}")
    for name, (nodes, features, classes, share, mean, steps) in CASES.items():
        first, ratios = compared(calls(nodes, features, classes, share, mean, steps), args.rounds)
        print(f"{name:8}{first:12.0f}" + "".join(f"{ratio:>22}" for ratio in ratios), flush=True)


if __name__ == "__main__":
    main()
