"""The picture of a comparison of gradient rules: one panel a question, one colour a rule."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msg.training.comparison import Comparison, Row
from msg.training.config import GRADIENTS


def draw_comparison(comparison: Comparison) -> Figure:
    """Test metric, time and memory over ``T``, and every layer's cosine similarity before and after training.

    A rule has the same colour in every picture, whichever others are compared with it. What was not measured is left
    out.

    Args:
        comparison: with at least one row.
    """
    layers = len(comparison.rows[0].cosine_before)
    figure = Figure(figsize=(max(11.0, 2.8 * layers), 7), layout="constrained")
    upper, lower = figure.add_gridspec(2, 1)
    costs, cosines = figure.add_subfigure(upper), figure.add_subfigure(lower)
    metric, seconds, memory = costs.subplots(1, 3)
    test = f"test {comparison.metric.replace('_', '-')}"
    _draw(metric, comparison, lambda row: row.test["mean"], spread=lambda row: row.test["std"])
    _draw(seconds, comparison, lambda row: row.seconds_per_epoch)
    _draw(memory, comparison, lambda row: row.memory_mb)
    metric.set(title=f"{test}, mean ± std", ylabel=test)
    metric.legend(fontsize="small")
    seconds.set(title="time", ylabel="seconds per epoch")
    memory.set(title="memory", ylabel="peak of training, MB")
    for axes in (seconds, memory):
        axes.set_ylim(bottom=0)
    memory.set_visible(any(row.memory_mb is not None for row in comparison.rows))
    panels = cosines.subplots(1, layers, sharey=True, squeeze=False)[0]
    for layer, axes in enumerate(panels):
        _draw(axes, comparison, lambda row, layer=layer: row.cosine_before[layer], linestyle=":", alpha=0.7)
        _draw(axes, comparison, lambda row, layer=layer: row.cosine_after[layer])
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.set_title(f"layer {layer}")
    panels[0].set_ylim(top=1.05)
    panels[0].set_ylabel("cosine with exact surrogate BPTT")
    cosines.suptitle("gradient of each layer's weights, before (dotted) and after training", fontsize="medium")
    return figure


def _draw(
    axes: Axes,
    comparison: Comparison,
    value: Callable[[Row], float | None],
    spread: Callable[[Row], float] | None = None,
    **style,
) -> None:
    """A line a rule, over ``T``."""
    for rule in comparison.config.rules:
        known = [row for row in comparison.rows if row.rule == rule and value(row) is not None]
        rows = sorted(known, key=lambda row: row.timesteps)
        errors: Sequence[float] | None = [spread(row) for row in rows] if spread else None
        number = list(GRADIENTS).index(rule)
        axes.errorbar(
            [row.timesteps for row in rows],
            [value(row) for row in rows],  # pyright: ignore[reportArgumentType]
            errors,
            label=rule,
            color=f"C{number}",
            marker="osD^vPX*<>"[number % 10],
            markersize=6,
            fillstyle="none",  # rules that agree stay visible
            capsize=3,
            **style,
        )
    axes.set(xlabel="time steps T", xticks=sorted(comparison.config.timesteps))
    axes.grid(alpha=0.3)
