"""Scores of pairs of nodes beside what torch does with their rows, and a training step for links.

    OMP_NUM_THREADS=1 python benchmarks/bench_pairs.py [--rounds 15] [--threads 1] [--root DIR]

As many pairs as are trained on in an epoch of Amazon Photo's links, 202,438 of 7,650 nodes, width 32: squared distances
on manifolds and inner products, forward and backward, in turns. Ratios are to torch in the same round, medians with
quartiles: to gathered rows, and for inner products to the fastest that torch has too, ``torch.sparse.sampled_addmm`` on
sorted pairs, and two sparse products back (which begin with that sorting: pairs are others in every epoch).
With ``--root``: an epoch on Photo's links, its validation included, with and without compiled kernels.
"""

import argparse
import os
import warnings
from collections.abc import Callable

import torch
from rounds import compared
from torch import Tensor

from msg.experiments.build import build_budget, load_data, prepare
from msg.experiments.config import RunConfig
from msg.kernels.choice import VARIABLE
from msg.manifolds import exp0, inner_products, resolve, squared_distance, squared_distances
from msg.training import Training

NODES, PAIRS, WIDTH = 7650, 202_438, 32
SPACES = ("E32", "H32", "S32", "P32", "H16xS16")


def both(call: Callable[[Tensor], Tensor], z: Tensor, grad: Tensor) -> Callable[[], object]:
    """A pass and its way back."""
    return lambda: torch.autograd.grad(call(z), z, grad)


def line(name: str, calls: dict[str, Callable[[], object]], rounds: int) -> str:
    """What the first call takes, and the others as ratios to it in the same round."""
    first, ratios = compared(calls, rounds)
    return f"{name:28}{first:10.1f}" + "".join(f"{ratio:>26}" for ratio in ratios)


def scores(rounds: int) -> None:
    pairs, grad = torch.randint(NODES, (2, PAIRS)), torch.randn(PAIRS)
    first, second = pairs
    print(f"{'':28}{'torch, ms':>10}{'ours, x torch':>26}")
    for signature in SPACES:
        manifold, dim = resolve(signature)
        z = exp0(manifold, 0.5 * torch.randn(NODES, dim)).detach().requires_grad_()
        calls = {
            "torch": both(lambda z, m=manifold: squared_distance(m, z[first], z[second]), z, grad),
            "ours": both(lambda z, m=manifold: squared_distances(m, z, pairs), z, grad),
        }
        print(line(f"squared distances, {signature}", calls, rounds))
    z = torch.randn(NODES, WIDTH, requires_grad=True)
    calls = {
        "torch": both(lambda z: (z[first] * z[second]).sum(-1), z, grad),
        "ours": both(lambda z: inner_products(z, pairs), z, grad),
    }
    print(line("inner products", calls, rounds))
    fixed = z.detach()

    def sorted_products() -> Tensor:
        wide = torch.sparse_coo_tensor(pairs, grad, (NODES, NODES), check_invariants=False).coalesce()
        pattern = wide.to_sparse_csr()
        torch.sparse.sampled_addmm(pattern, fixed, fixed.t(), beta=0.0)
        return pattern @ fixed + wide.t() @ fixed

    calls = {"torch": sorted_products, "ours": both(lambda z: inner_products(z, pairs), z, grad)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its CSR a beta
        print(line("the same, sparse products", calls, rounds))


def updates(root: str, rounds: int) -> None:
    print(f"{'':28}{'torch, ms':>10}{'ours, x torch':>26}")
    for model in ("cached-gcn", "msg"):
        config = RunConfig(dataset="photo", root=root, task="link-prediction", model=model, decoder="structural")
        data = load_data(config)
        calls = {}
        for backend in ("torch", "numba"):
            training = Training(*prepare(config, data, 0), build_budget(config))

            def step(training: Training = training, backend: str = backend) -> None:
                os.environ[VARIABLE] = backend
                training.step()

            calls[backend] = step
        print(line(f"an epoch of {model}", calls, rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--root", help="of the raw graphs")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    scores(args.rounds)
    if args.root:
        updates(args.root, args.rounds)


if __name__ == "__main__":
    main()
