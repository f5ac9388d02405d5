"""Learning to learn: after an outer loop over many functions, frozen weights learn a new one from examples alone.

    python examples/learning_to_learn.py
    python examples/learning_to_learn.py --iterations 100 --figure learning-to-learn.png

After Bellec et al. 2018 (https://arxiv.org/abs/1803.09574, section 5): the functions to learn are random networks of
two inputs, ten hidden units and one output. An episode shows 20 examples of one function, each for 10 steps; the
network sees the two inputs of this example and the target of the *previous* one, and predicts this one's target.
Backpropagation through whole episodes (the outer loop) trains it. The test is on functions never seen, with frozen
weights: what is learned of them is in the network's state.
"""

import argparse

import torch
from matplotlib.figure import Figure
from torch import Tensor

from msg.nn import LSNN, LSNNOutput

EXAMPLES, STEPS, UNITS = 20, 10, 12
RANGE = 3.0  # of targets that the population code tells apart


def functions(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs ``[examples, batch, 2]`` and targets ``[examples, batch]`` of one random function for each row."""

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(*shape, generator=generator) - 1

    x = uniform(EXAMPLES, batch, 2)
    hidden = torch.tanh(torch.einsum("kbi,bih->kbh", x, uniform(batch, 2, 10)) + uniform(batch, 10))
    return x, (hidden * uniform(batch, 10)).sum(-1) + uniform(batch)


def population(value: Tensor, limit: float) -> Tensor:
    """``[..., units]``: Gaussian tuning curves with centres from ``-limit`` to ``limit``."""
    centres = torch.linspace(-limit, limit, UNITS)
    return torch.exp(-((value.unsqueeze(-1) - centres) ** 2) / (2 * (limit / 4) ** 2))


def episode(x: Tensor, y: Tensor) -> Tensor:
    """Input currents ``[examples * steps, batch, 3 * units]``; with the first example comes no target."""
    previous = population(y.roll(1, 0), RANGE)
    previous[0] = 0.0
    shown = torch.cat([population(x, 1.0).flatten(-2), previous], dim=-1)
    return shown.repeat_interleave(STEPS, 0)


def predict(model: LSNN, x: Tensor, y: Tensor) -> tuple[Tensor, LSNNOutput]:
    """Predictions ``[examples, batch]``: the output over the second half of each presentation."""
    output = model(episode(x, y))
    return output.outputs.squeeze(-1).unflatten(0, (EXAMPLES, STEPS))[:, STEPS // 2 :].mean(1), output


def train(iterations: int, seed: int, batch: int = 128, hidden_channels: int = 100) -> LSNN:
    """The outer loop: every iteration has functions of its own."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = LSNN(3 * UNITS, 1, hidden_channels, tau_adaptation=EXAMPLES * STEPS, tau_readout=5.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for iteration in range(iterations):
        optimizer.zero_grad()
        x, y = functions(batch, generator)
        prediction, output = predict(model, x, y)
        error = (prediction - y).square().mean(1)
        # rates above 0.2 a step are discouraged: they leave no room for a code
        (error.mean() + (output.spikes.mean((0, 1)) - 0.2).relu().square().sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if iteration % 50 == 49:
            shown = ", ".join(f"{error[k].item():.3f}" for k in (0, 1, 5, 10, EXAMPLES - 1))
            print(f"{iteration + 1:5d}: error at example 1, 2, 6, 11, {EXAMPLES}: {shown}", flush=True)
    return model


def evaluate(model: LSNN, seed: int, batch: int = 2000) -> tuple[Tensor, Tensor]:
    """Mean squared error ``[examples]`` on new functions: of the network, and of the mean of the targets seen."""
    x, y = functions(batch, torch.Generator().manual_seed(10_000 + seed))
    with torch.no_grad():
        error = (predict(model, x, y)[0] - y).square().mean(1)
    seen = torch.arange(EXAMPLES).unsqueeze(-1)
    mean = torch.cat([torch.zeros(1, batch), y.cumsum(0)[:-1]]) / seen.clamp(min=1)
    return error, (mean - y).square().mean(1)


def draw(error: Tensor, mean: Tensor) -> Figure:
    """Error against the number of examples seen."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(error, marker="o", markersize=3, label="LSNN, frozen weights")
    axes.plot(mean, color="0.5", linestyle="--", label="mean of the targets seen")
    axes.axhline(float(error[0]) / 3, color="0.5", linestyle=":", label="a third of the first error")
    axes.set(xlabel="examples seen", ylabel="mean squared error", ylim=(0, None), xticks=range(0, EXAMPLES, 2))
    axes.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", default=None, metavar="PATH")
    args = parser.parse_args()

    model = train(args.iterations, args.seed)
    error, mean = evaluate(model, args.seed)
    print("examples seen    " + "".join(f"{k:7d}" for k in range(EXAMPLES)))
    for name, values in (("LSNN", error), ("mean of targets", mean)):
        print(f"{name:17s}" + "".join(f"{value:7.3f}" for value in values.tolist()))
    print(f"after 10 examples: {error[10] / error[0]:.3f} of the error at the first")
    if args.figure:
        draw(error, mean).savefig(args.figure, dpi=100)


if __name__ == "__main__":
    main()
