"""Store–recall: keep one bit for a second, with thresholds that adapt and without.

    python examples/store_recall.py                                     # both networks, 200 iterations, one seed
    python examples/store_recall.py --seeds 3 --figure store-recall.png

The task of Bellec et al. 2018 (https://arxiv.org/abs/1803.09574, figure 1 and the authors' code): 12 characters of
200 ms at steps of 1 ms. Each is a bit; some come with the command to store, and a later command to recall, shown alone,
asks for the stored bit. Commands follow at random with probability 1/7 a character, an expected delay of six. The four
channels (0, 1, store, recall) are 25 Poisson neurons each, at 50 Hz while active. Every batch is new, so that the error
on it before its update is an error on sequences never seen.
"""

import argparse

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from msg.nn import LSNN

CHARACTERS, DURATION, GROUP, RATE, DELAY = 12, 200, 25, 0.05, 6
STORE, RECALL = 2, 3


def sentences(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Channels ``[characters, batch, 4]``, which characters recall ``[characters, batch]``, and the bit to recall."""
    kept: list[tuple[Tensor, ...]] = []
    while sum(channels.size(1) for channels, _, _ in kept) < batch:
        bits = torch.randint(2, (CHARACTERS, 4 * batch), generator=generator)
        command = torch.rand(bits.shape, generator=generator) < 1 / (DELAY + 1)
        channels = F.one_hot(bits, 4)
        full, fresh, memory = torch.zeros(4 * batch, dtype=torch.bool), torch.zeros(4 * batch), bits[0].clone()
        recalls, targets = torch.zeros_like(command), torch.zeros_like(bits)
        for t in range(CHARACTERS):
            # a character passes between store and recall
            store, recall = command[t] & ~full, command[t] & full & (fresh == 0)
            memory = torch.where(store, bits[t], memory)
            channels[t, store, STORE] = 1
            channels[t, recall] = F.one_hot(torch.tensor(RECALL), 4)
            recalls[t], targets[t] = recall, memory
            full, fresh = (full | store) & ~recall, store.float()
        valid = recalls.any(0) & ~full  # whatever was stored is recalled
        kept.append((channels[:, valid], recalls[:, valid], targets[:, valid]))
    return tuple(torch.cat(parts, 1)[:, :batch] for parts in zip(*kept))  # pyright: ignore[reportReturnType]


def spike_trains(channels: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson input ``[characters * duration, batch, 100]``."""
    active = channels.float().repeat_interleave(GROUP, -1)
    noise = torch.empty(len(active), DURATION, *active.shape[1:]).bernoulli_(RATE, generator=generator)
    return (noise * active.unsqueeze(1)).flatten(0, 1)


def recall(model: LSNN, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy and error of the recalled bits, and firing rates of the neurons in spikes a ms."""
    channels, recalls, targets = sentences(batch, generator)
    outputs, spikes, _ = model(spike_trains(channels, generator))
    logits = outputs.unflatten(0, (CHARACTERS, DURATION)).mean(1)[recalls]
    error = (logits.argmax(-1) != targets[recalls]).float().mean()
    return F.cross_entropy(logits, targets[recalls]), error, spikes.mean((0, 1))


def train(adaptive: int, iterations: int, seed: int, batch: int = 128) -> tuple[list[float], float]:
    """Recall error of each iteration, and that of the trained network on 8 more batches."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = LSNN(4 * GROUP, 2, hidden_channels=20, adaptive=adaptive, refractory=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 100, 0.3)
    errors = []
    for iteration in range(iterations):
        optimizer.zero_grad()
        loss, error, rates = recall(model, batch, generator)
        (loss + 0.1 * (rates - 0.01).square().sum()).backward()  # towards 10 Hz
        optimizer.step()
        schedule.step()
        errors.append(error.item())
        if iteration % 20 == 19:
            recent = sum(errors[-20:]) / 20
            print(f"  {iteration + 1:4d}: recall error {recent:.3f}, {1000 * rates.mean().item():.1f} Hz", flush=True)
    with torch.no_grad():
        return errors, sum(recall(model, batch, generator)[1].item() for _ in range(8)) / 8


def draw(curves: dict[str, list[list[float]]]) -> Figure:
    """Mean over the last ten iterations, one line a seed."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for colour, (name, runs) in zip(("tab:blue", "tab:orange"), curves.items()):
        for seed, errors in enumerate(runs):
            smooth = [sum(errors[max(0, i - 9) : i + 1]) / min(10, i + 1) for i in range(len(errors))]
            axes.plot(smooth, color=colour, label=name if seed == 0 else None, linewidth=1.2)
    axes.axhline(0.05, color="0.5", linestyle=":", label="0.05")
    axes.set(xlabel="iteration", ylabel="recall error", ylim=(0, None))
    axes.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--figure", default=None, metavar="PATH")
    args = parser.parse_args()

    curves: dict[str, list[list[float]]] = {}
    for name, adaptive in (("LSNN (10 LIF + 10 ALIF)", 10), ("20 LIF", 0)):
        curves[name] = []
        for seed in range(args.seed, args.seed + args.seeds):
            print(f"{name}, seed {seed}")
            errors, final = train(adaptive, args.iterations, seed)
            curves[name].append(errors)
            print(f"  after training: {final:.3f}", flush=True)
    if args.figure:
        draw(curves).savefig(args.figure, dpi=100)


if __name__ == "__main__":
    main()
