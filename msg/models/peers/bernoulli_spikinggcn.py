"""SpikingGCN as its paper has it: spikes drawn at random, and classes told by the rates of output neurons."""

from torch import Tensor
from torch.nn import functional as F

from msg.graph import Graph, Memo, SparseMatrix
from msg.graph.sparse import to_dense, to_tensor
from msg.layers import BernoulliLinear, Dropout, Propagation, SpikeTrain
from msg.models.network import GraphNetwork, numbers_of
from msg.models.spec import ModelSpec
from msg.neurons import ScaledLIF, Sigmoid, Surrogate
from msg.neurons.timesteps import Timesteps
from msg.sizes import check_sizes


class BernoulliSpikingGCN(GraphNetwork):
    r"""Propagated features fire at random, and leaky neurons, one a class, tell the class by how often they fire.

    .. math::
        h = \hat A^K X + r, \qquad p_t \sim \mathrm{Bernoulli}(\min(h, 1)), \qquad
        u_t = v_{t-1} + \frac{W p_t - v_{t-1}}{\tau}, \qquad o_t = [u_t \ge \theta], \qquad v_t = u_t - \theta o_t,

    and the output is the rate :math:`\frac1T\sum_t o_t`, trained by its squared distance from the one-hot label
    (:meth:`criterion`).

    Source: `Zhu et al. 2022, Spiking Graph Convolutional Networks <https://www.ijcai.org/proceedings/2022/338>`_
    (IJCAI). The authors' code trains on mini-batches of 64 nodes; here all nodes of the graph run at once. It adds a
    constant rate of 0.05 to the features of CiteSeer and PubMed, and of Cora where it reports 80.8 %: ``input_rate``.
    Its settings are, for ``timesteps``, ``tau`` and ``threshold``: Cora 200, 80, 0.2; CiteSeer 400, 30, 0.6; PubMed
    400, 32, 0.1; with weight decay 0.01, or ``dropout=0.6``.

    :class:`~msg.models.SpikingGCN` is the deterministic form: neurons in place of the draws, a linear read-out in place
    of the output neurons. Features are probabilities here: what is below 0 or above 1 is cut off. There is one weighted
    layer, and its neurons are the output, so there is nothing to normalise between layers or to go past. Rates are
    multiples of ``1/T``: with few steps classes tie, and the first of them counts.

    What is drawn in training differs from pass to pass; in evaluation it is the same each time. It depends on ``seed``
    (see :class:`~msg.layers.Draws`).

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        num_hops: ``K``.
        timesteps: ``T``.
        tau: time constant of the output neurons in steps.
        threshold: of the output neurons, ``θ``.
        dropout: probability of dropping a current, at each step by itself, in training.
        input_rate: ``r``, added to every propagated feature.
        surrogate: derivative that stands in for that of firing; the reset is differentiated too.
        seed: of the draws.

    Shapes:
        ``x``: ``[N, F]``; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``, constant; returns rates ``[N, C]``.
        With ``nodes``, a mask ``[N]`` or numbers ``[M]``, only theirs are simulated, ``[M, C]``, from the same spikes.

    Raises:
        ValueError: for impossible sizes, or a part of a graph.
    """

    instead_on_a_part = "SpikingGNN"
    takes_nodes = True

    timesteps = Timesteps

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_hops: int = 2,
        timesteps: int = 200,
        tau: float = 80.0,
        threshold: float = 0.2,
        dropout: float = 0.0,
        input_rate: float = 0.0,
        surrogate: Surrogate = Sigmoid(4.0),  # noqa: B008 - a frozen value
        seed: int | None = None,
    ):
        super().__init__()
        check_sizes(num_hops=num_hops)
        if not 0 <= input_rate <= 1:
            raise ValueError(f"input_rate must be a probability, not {input_rate}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.timesteps, self.input_rate = timesteps, input_rate
        self.propagation = Propagation(num_hops)
        self.synapse = BernoulliLinear(in_channels, out_channels, seed)
        self.dropout = Dropout(dropout)
        neuron = ScaledLIF(tau, threshold, "subtract", at_threshold=True)
        self.neurons = SpikeTrain(neuron, surrogate, detach_reset=False, dim=0)
        self._propagated = Memo()

    def reset_parameters(self) -> None:
        """Draw the weights anew, and begin the draws of spikes anew."""
        self.synapse.reset_parameters()

    def _probabilities(self, features: Tensor | SparseMatrix, graph: Graph) -> Tensor:
        """Propagated features, kept while features and graph are the same."""

        def propagate() -> Tensor:
            return self.propagation.along(to_dense(features).detach(), graph) + self.input_rate

        tensors = (to_tensor(features), graph.edge_index, graph.edge_weight)
        return self._propagated.recall(tensors, (self.propagation.num_hops, self.input_rate), propagate)

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, *, nodes: Tensor | None = None
    ) -> Tensor:
        features, graph = self.prepare(x, edge_index, edge_weight)
        rows = None if nodes is None else numbers_of(nodes)
        currents = self.synapse(self._probabilities(features, graph), self.timesteps, rows)
        return self.neurons(self.dropout(currents)).mean(0)

    def criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean squared difference of rates and one-hot labels, over nodes and classes.

        Args:
            logits: rates ``[M, C]``.
            labels: classes, int64 ``[M]``.
        """
        return F.mse_loss(logits, F.one_hot(labels, logits.size(-1)).to(logits.dtype))

    def extra_repr(self) -> str:
        return (
            f"in_channels={self.in_channels}, out_channels={self.out_channels}, timesteps={self.timesteps}, "
            f"input_rate={self.input_rate:g}"
        )


SPEC = ModelSpec(
    build=BernoulliSpikingGCN,
    reads=frozenset({"num_hops", "timesteps", "dropout", "threshold", "tau", "input_rate"}),
    about="SpikingGCN as published: random spikes, rates of output neurons",
    defaults={"timesteps": 200, "threshold": 0.2, "tau": 80.0},
    own_loss=True,
)
