"""Copying: repeat ten symbols after a hundred blanks, with gradients that never cross more than five steps at a time.

    python examples/copying.py                                     # delay 100, truncation 5, top 5
    python examples/copying.py --figure docs/images/copying.png

A sequence is ten symbols of eight, ``delay`` blanks, a marker, and ten more blanks in which the symbols are to be
repeated. The same LSTM is trained twice for as many iterations: by sparse attentive backtracking, and by truncated
backpropagation, which is the same rule with nothing to recall. The first starts with a delay of 5, which doubles when
99 % of the symbols of the last twenty batches were right (--start 100: no such curriculum); the second has the full
delay from the start. In the second half the learning rate falls to zero. Test sequences are new.
"""

import argparse
from collections import deque

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msg.gradients import SparseAttentiveBacktracking
from msg.nn import AttentiveRecurrence

SYMBOLS, LENGTH = 8, 10
BLANK, MARKER = 0, SYMBOLS + 1


def sequences(delay: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Input, one-hot ``[T, count, 10]``, and what is to be said at each step, ``[T, count]``."""
    symbols = torch.randint(1, SYMBOLS + 1, (LENGTH, count), generator=generator)
    x = torch.full((LENGTH + delay + 1 + LENGTH, count), BLANK)
    y = x.clone()
    x[:LENGTH], x[LENGTH + delay], y[-LENGTH:] = symbols, MARKER, symbols
    return F.one_hot(x, SYMBOLS + 2).float(), y


class Copier(nn.Module):
    """An LSTM that recalls, and a read-out of what it holds and what it recalls."""

    def __init__(self, rule: SparseAttentiveBacktracking, hidden: int):
        super().__init__()
        self.recurrence = AttentiveRecurrence(nn.LSTMCell(SYMBOLS + 2, hidden), hidden, rule, attention_channels=64)
        self.readout = nn.Sequential(nn.Linear(2 * hidden, 256), nn.ReLU(), nn.Linear(256, SYMBOLS + 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.recurrence(x)[0])


def recalled(logits: Tensor, y: Tensor) -> float:
    """Fraction of the symbols that were repeated."""
    return (logits[-LENGTH:].argmax(-1) == y[-LENGTH:]).double().mean().item()


def train(model: Copier, delay: int, args: argparse.Namespace) -> list[float]:
    """Train from ``delay`` to ``args.delay``, and return each batch's accuracy."""
    generator = torch.Generator().manual_seed(args.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, 2 * (1 - i / args.iterations)))
    recent, curve = deque([0.0], maxlen=20), []
    for iteration in range(args.iterations):
        x, y = sequences(delay, args.batch, generator)
        logits = model(x)
        optimizer.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay.step()
        curve.append(recalled(logits, y))
        recent.append(curve[-1])
        mean = sum(recent) / 20
        if iteration % 100 == 99:
            print(f"  {iteration + 1}: delay {delay}, {100 * mean:.1f} % of recalled symbols", flush=True)
        if delay < args.delay and mean > 0.99:
            delay, recent = min(args.delay, 2 * delay), deque([0.0], maxlen=20)
    return curve


@torch.no_grad()
def draw(path: str, curves: dict[str, list[float]], model: Copier, delay: int) -> None:
    """Learning curves, and which memories each step of one test sequence recalls."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for name, curve in curves.items():
        smooth = torch.tensor(curve).unfold(0, min(20, len(curve)), 1).mean(-1)
        left.plot(100 * smooth, label=name)
    left.axhline(100 / SYMBOLS, color="grey", linestyle=":", label="chance")
    left.set(xlabel="iteration", ylabel="recalled symbols, %", ylim=(0, 101))
    left.legend()
    x, _ = sequences(delay, 1, torch.Generator().manual_seed(1))
    weights = model.recurrence.recall(x).weights[:, 0]
    image = right.imshow(weights.T, aspect="auto", origin="lower", cmap="viridis", interpolation="nearest")
    right.set(xlabel="step", ylabel="memory", title="weights of the memories")
    figure.colorbar(image)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=int, default=100)
    parser.add_argument("--k-top", type=int, default=5)
    parser.add_argument("--k-trunc", type=int, default=5)
    parser.add_argument("--k-att", type=int, default=5)
    parser.add_argument("--start", type=int, default=5, help="delay that training starts with")
    parser.add_argument("--iterations", type=int, default=4000)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", default=None, help="where to draw learning curves and attention")
    args = parser.parse_args()

    curves: dict[str, list[float]] = {}
    models: list[Copier] = []
    start = min(args.start, args.delay)
    for name, top in (("sparse attentive backtracking", args.k_top), (f"truncated BPTT({args.k_trunc})", 0)):
        torch.manual_seed(args.seed)
        models.append(Copier(SparseAttentiveBacktracking(top, args.k_trunc, args.k_att), args.hidden))
        print(name)
        curves[name] = train(models[-1], start, args)
        start = args.delay
        with torch.no_grad():
            x, y = sequences(args.delay, 1000, torch.Generator().manual_seed(args.seed + 1_000_000))
            print(f"{name}: {100 * recalled(models[-1](x), y):.2f} % of recalled symbols", flush=True)
    if args.figure:
        draw(args.figure, curves, models[0], args.delay)


if __name__ == "__main__":
    main()
