r"""MSG on the sphere as its released code computes it, in few lines, to see what leaving the manifold does.

With currents :math:`x^l_t`, a layer's step and points are

.. math::
    y^l = \varepsilon\,\tfrac1T \sum_t x^l_t, \qquad z^l = \exp_{z^{l-1}}(y^l), \qquad z^{-1} = o,

where :math:`y^l` is taken as it is, a vector of the surrounding space: neither made tangent at :math:`z^{l-1}` nor
transported there. So :math:`z^l` leaves the sphere. A point that is off by :math:`\delta` along the axis of :math:`o`
is, for the logarithm at :math:`o`, :math:`\arccos(1 - \delta) \approx \sqrt{2\delta}` away from it, more than the step
that led there: one of 0.01 along the axis, and of 0.01 along the sphere, becomes a vector of length 0.14.
"""

from itertools import pairwise

import geoopt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GCNConv
from torch_geometric.utils import dropout_edge

from msg.graph import Graph
from msg.layers import Synapse
from msg.neurons import IF
from msg.nn import SpikeTrain

_TINY = 1e-10
"""Added to steps: the derivative of geoopt's map at a vector of zeros, of a node that hears no spike, is NaN."""


class ReleasedMSG(nn.Module):
    """``num_layers`` spiking convolutions above an encoder, trained as DvM does: no gradient through spikes.

    Dropout is of currents, so that it reaches spikes and steps; every convolution drops edges of its own. Trained are
    logits of the last point's logarithm, measured those of the sum of all steps, which no point enters.

    Args:
        in_channels: features of a node.
        out_channels: classes.
        width: of the space around the sphere, in which currents are.
        num_layers: convolutions above the encoder.
        timesteps: ``T``.
        step_size: ``ε``.
        threshold: of the neurons.
        dropout: probability of dropping a current, and an edge.

    Attributes:
        distance: of the last points from the sphere in the last call in training, the mean of :math:`||z|^2 - 1|`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        num_layers: int,
        timesteps: int,
        step_size: float,
        threshold: float,
        dropout: float,
    ):
        super().__init__()
        self.sphere, self.distance = geoopt.Sphere(), 0.0
        self.timesteps, self.step_size, self.dropout = timesteps, step_size, dropout
        sizes = [in_channels, *[width] * (num_layers + 1)]
        convs = [GCNConv(below, above, bias=False) for below, above in pairwise(sizes)]
        self.synapses = nn.ModuleList(map(Synapse, convs))
        self.fire = SpikeTrain(IF(threshold=threshold))
        self.head = nn.Linear(width, out_channels, bias=False)
        pole = torch.zeros(1, width)
        pole[0, 0] = -1.0
        self.register_buffer("pole", pole)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits ``[N, C]``."""
        origin = self.get_buffer("pole").expand(len(x), -1)
        point, total, spikes = origin, torch.zeros_like(origin), x
        for synapse in self.synapses:
            edges = dropout_edge(edge_index, self.dropout, training=self.training)[0]
            current = F.dropout(synapse(spikes, Graph(edges, None, len(x))), self.dropout, self.training)
            if current.dim() == 2:
                current = current[:, None].expand(-1, self.timesteps, -1)
            step = self.step_size * current.mean(1)
            point, total = self.sphere.expmap(point, step + _TINY), total + step
            spikes = self.fire(current.detach())
        if not self.training:
            return self.head(self.sphere.proju(origin, total))
        self.distance = float((point.detach().square().sum(-1) - 1).abs().mean())
        return self.head(self.sphere.proju(origin, self.sphere.logmap(origin, point)))
