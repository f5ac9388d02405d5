"""Dropout of the library beside torch's, and beside the product that it stands before.

    OMP_NUM_THREADS=1 python benchmarks/bench_dropout.py [--rounds 25] [--threads 1]

Forward and backward, in turns, for hidden layers and features of the size of Amazon Photo's: ratios to torch's dropout
of the same round, medians with quartiles. Also a product with 128 x 128 weights on the same rows, of 128 numbers.
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from rounds import compared
from torch import Tensor

from msg.layers import dropout

SHAPES, P = ((7650, 32), (7650, 128), (7650, 745)), 0.5


def both(call: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> Callable[[], object]:
    """A pass and its way back."""
    return lambda: torch.autograd.grad(call(x), x, grad)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    weight = torch.randn(128, 128)
    print(f"{'':14}{'torch, ms':>12}{'ours, x torch':>24}{'product, x torch':>24}")
    for shape in SHAPES:
        x, grad = torch.randn(shape, requires_grad=True), torch.randn(shape)
        calls = {"torch": lambda x: F.dropout(x, P), "ours": lambda x: dropout(x, P)}
        if shape[1] == len(weight):
            calls["product"] = lambda x: F.linear(x, weight)
        first, ratios = compared({name: both(call, x, grad) for name, call in calls.items()}, args.rounds, digits=2)
        line = f"{'x'.join(map(str, shape)):14}{first:12.2f}" + "".join(f"{ratio:>24}" for ratio in ratios)
        print(line)


if __name__ == "__main__":
    main()
