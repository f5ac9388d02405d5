"""From numbers to trains of spikes by time and by place; by chance it is :class:`BernoulliEncoder`."""

import math

import torch
from torch import Tensor, nn

from msg.layers.bernoulli import BernoulliEncoder
from msg.neurons.timesteps import checked_timesteps


class LatencyEncoder(nn.Module):
    r"""Time to first spike: each number fires at most once, the larger the earlier, at step

    .. math::
        t = \operatorname{round}\bigl((T - 1)(1 - \min(x, 1))\bigr) \quad\text{for } x > \theta,

    counted from 0, and not at all where :math:`x \le \theta`. With ``tau`` the time is that after which a membrane of
    this time constant reaches the threshold under the constant current ``x``,

    .. math::
        t = \operatorname{round}\Bigl(\tau\ln\frac{x}{x - \theta}\Bigr),

    and what would fire after the last step does not. No gradient reaches ``x``.

    Source: `Thorpe & Gautrais 1998, Rank order coding <https://doi.org/10.1007/978-1-4615-4831-7_19>`_; the charged
    membrane: Gerstner & Kistler 2002, Spiking Neuron Models, section 4.1.

    Args:
        threshold: ``θ``, not negative; positive with ``tau``.
        tau: time constant ``τ`` in steps; ``None``: the time is linear in ``x``.

    Shapes:
        ``x``: any, ``[N, F]`` say, and ``timesteps``; returns ``[T, ...]``, 0 or 1 in the dtype of ``x``.

    Raises:
        ValueError: for a threshold or ``tau`` out of these bounds, or fewer than one step.
    """

    def __init__(self, threshold: float = 0.0, tau: float | None = None):
        super().__init__()
        if not 0 <= threshold < math.inf:
            raise ValueError(f"threshold must be a number that is not negative, not {threshold}")
        if tau is not None and not (tau > 0 and threshold > 0):
            raise ValueError(f"a membrane needs a positive tau and threshold, not tau={tau} and threshold={threshold}")
        self.threshold, self.tau = float(threshold), tau

    def times(self, x: Tensor, timesteps: int) -> Tensor:
        """Step of the spike, infinite where there is none; of the shape of ``x``.

        Args:
            x: numbers.
            timesteps: ``T``.

        Raises:
            ValueError: for what is no number of steps.
        """
        timesteps = checked_timesteps(timesteps)
        # half precision does not tell all steps apart, and whole numbers have no fractions
        x = x.detach().to(torch.promote_types(x.dtype, torch.float32))
        if self.tau is None:
            time = (timesteps - 1) * (1 - x.clamp(max=1))
        else:
            time = -self.tau * torch.log1p(-self.threshold / x)  # of x / (x - threshold), of infinite x too
        return time.round().masked_fill(~(x > self.threshold), math.inf)

    def forward(self, x: Tensor, timesteps: int) -> Tensor:
        times = self.times(x, timesteps)
        steps = torch.arange(timesteps, dtype=times.dtype, device=x.device)
        return (times == steps.view(-1, *[1] * x.dim())).to(x.dtype)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold:g}" + ("" if self.tau is None else f", tau={self.tau:g}")


class PopulationEncoder(nn.Module):
    r"""Each number by several neurons with Gaussian receptive fields, whose responses are then sent as spikes,

    .. math::
        a_m = \exp\Bigl(-\frac{(x - \mu_m)^2}{2\sigma^2}\Bigr), \qquad
        \mu_m = x_{min} + \frac{2m - 3}{2}\,\Delta, \qquad \sigma = \frac{\Delta}{\gamma}, \qquad
        \Delta = \frac{x_{max} - x_{min}}{M - 2}, \qquad m = 1..M,

    so that the outer fields have their centres beyond the range. Unlike the other encoders it takes features of any
    range, negative ones too.

    Source: `Bohte et al. 2002, Error-backpropagation in temporally encoded networks of spiking neurons
    <https://doi.org/10.1016/S0925-2312(01)00658-0>`_, with :math:`\gamma = 1.5` as there.

    Args:
        fields: ``M``, neurons a number, at least 3.
        low: :math:`x_{min}`.
        high: :math:`x_{max}`.
        overlap: :math:`\gamma`: how many widths two centres lie apart.
        encoder: from responses to spikes: ``encoder(responses, timesteps)``; ``None`` is :class:`LatencyEncoder` of
            threshold 0.1, as in the source.

    Shapes:
        ``x``: ``[..., F]`` and ``timesteps``; returns ``[T, ..., F * M]``, the fields of a number side by side.

    Raises:
        ValueError: for fewer than three fields, an empty range, or an overlap that is not positive; when called, for a
            single number.
    """

    centers: Tensor

    def __init__(
        self,
        fields: int,
        low: float = 0.0,
        high: float = 1.0,
        overlap: float = 1.5,
        encoder: LatencyEncoder | BernoulliEncoder | None = None,
    ):
        super().__init__()
        if fields < 3:
            raise ValueError(f"fields must be at least 3, not {fields}")
        if not low < high:
            raise ValueError(f"the range must not be empty: low={low}, high={high}")
        if not 0 < overlap < math.inf:
            raise ValueError(f"overlap must be a positive number, not {overlap}")
        self.fields, self.low, self.high, self.overlap = fields, float(low), float(high), float(overlap)
        distance = (self.high - self.low) / (fields - 2)
        self.width = distance / self.overlap
        # in float64, so that a model in either precision has the same
        centers = self.low + (2 * torch.arange(1, fields + 1, dtype=torch.float64) - 3) / 2 * distance
        self.register_buffer("centers", centers, persistent=False)
        self.encoder = LatencyEncoder(threshold=0.1) if encoder is None else encoder

    def responses(self, x: Tensor) -> Tensor:
        """Responses of all fields, ``[..., F * M]``, between 0 and 1."""
        if not x.dim():
            raise ValueError("x is a single number, but has to be [..., F]: use x.view(1)")
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        apart = (x.unsqueeze(-1) - self.centers.to(x.dtype)) / self.width
        return (-0.5 * apart.square()).exp().flatten(-2)

    def forward(self, x: Tensor, timesteps: int) -> Tensor:
        return self.encoder(self.responses(x), timesteps)

    def extra_repr(self) -> str:
        return f"fields={self.fields}, low={self.low:g}, high={self.high:g}, overlap={self.overlap:g}"
