"""SpikeGCL: features presented group by group over time, binary embeddings learned by contrast."""

import torch
from torch import Tensor, nn
from torch_geometric.nn.inits import glorot

from msg.calls import autocasts, watched
from msg.graph import Graph, Memo, SparseMatrix
from msg.graph.memo import settings_of
from msg.graph.sparse import to_tensor
from msg.kernels.tracing import traced
from msg.layers import Draws, GroupedGCN, SpikeLinear, SpikeTrain, StepwiseBatchNorm, check_norm, dropout
from msg.models.network import GraphNetwork
from msg.models.spec import ModelSpec
from msg.neurons import Neuron, NeuronLike, ScaledLIF, Sigmoid, Surrogate, resolve_neuron
from msg.neurons.timesteps import FixedTimesteps
from msg.sizes import check_sizes


class _Shared(nn.Module):
    """A graph convolution that is the same for all groups, after a normalisation of its own.

    Args:
        channels: width of input and output.
        norm: ``"none"``, ``"batch"`` or ``"layer"``.
    """

    def __init__(self, channels: int, norm: str):
        super().__init__()
        kinds = {"none": nn.Identity, "batch": StepwiseBatchNorm, "layer": nn.LayerNorm}
        self.norm = kinds[norm](channels)
        self.lin = nn.Linear(channels, channels, bias=False)
        self.bias = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        glorot(self.lin.weight)
        nn.init.zeros_(self.bias)
        if not isinstance(self.norm, nn.Identity):
            self.norm.reset_parameters()

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        return graph.normalized(h.dtype).matmul(self.lin(self.norm(h))) + self.bias


class SpikeGCL(GraphNetwork):
    r"""Binary embeddings of nodes, learned without labels: features come group by group, each in a step of its own.

    Features are cut into ``T`` groups :math:`X_t` of :math:`\lceil F/T\rceil` columns, where fewer than ``T`` groups
    may be all, and

    .. math::
        h_t = \mathrm{ELU}\bigl(\hat A\,\mathrm{BN}_t(X_t)\,W_t + b_t\bigr), \qquad
        I_t = \hat A\,\mathrm{BN}(h_t)\,W + b, \qquad s_t = \mathrm{neuron}(I_t),

    with weights of its own for each group in the first convolution, and shared ones in all others. The embedding is
    :math:`[s_1 \Vert \dots \Vert s_T]`. The neurons are :class:`~msg.neurons.ScaledLIF` with a learned time constant
    that starts at 1; every step is differentiated by itself.

    :meth:`unsupervised_loss` asks that each step scores the graph above a corrupted one (columns of the features
    permuted, edges dropped), :math:`\sum_t \operatorname{mean}_v \max(0, m - (z_t - z'_t))` with the score
    :math:`z_t = \sum_j (s_t W_d)_j`. The output of the model is that of a linear map of the embedding, through which no
    gradient goes back: a linear probe. It reads the embedding as it is in evaluation, without dropout and with running
    statistics, in training too.

    Source: `Li et al. 2024, A Graph is Worth 1-bit Spikes: When Graph Contrastive Learning Meets Spiking Neural
    Networks <https://arxiv.org/abs/2305.19306>`_ (ICLR). The authors' settings, for ``threshold``, ``timesteps``,
    ``decoder_channels`` and epochs: Cora 5e-4, 64, 2, 5; CiteSeer 5e-3, 32, 64, 5; PubMed 5e-2, 32, 64, 50; Computers
    5e-2, 25, 32, 20; Photo 5e-2, 15, 8, 50; CS 0.5, 60, 32, 20 (no dropout); Physics 5e-2, 25, 16, 20 (margin 1);
    ogbn-arxiv 5e-2, 30, 1, 20 (no dropout).

    Differences from the released code: there the membrane is not reset after a view but lowered by the threshold, and
    goes on into the next view, the next epoch and the evaluation, which its output then depends on once the time
    constant has been learned; here each run starts from rest. There the probe is trained after the encoder, with a
    learning rate of 0.01 after 0.001; here by the same optimiser, if :meth:`unsupervised_loss` is added to its loss,
    beside the encoder for ``encoder_epochs`` and on embeddings that no longer change after that. ``num_layers``,
    ``norm="layer"`` (of hidden layers; features are then read as they are) and ``residual`` are additions.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        hidden_channels: width ``d`` of each step.
        num_layers: number of convolutions, the first with weights for each group.
        timesteps: ``T``.
        dropout: probability of dropping a feature or a hidden number before a convolution, in training.
        threshold: of the neurons, where none are given.
        norm: before each convolution: ``"batch"``, ``"layer"`` or ``"none"``.
        residual: add to the output of each shared convolution its input.
        decoder_channels: outputs of ``W_d``, which are summed up.
        margin: ``m``.
        drop_edge: probability of dropping an edge of the corrupted graph.
        encoder_epochs: how often :meth:`unsupervised_loss` trains the encoder in training mode, once an epoch on a
            whole graph; it is zero after that. ``None``: always. The authors train for 5 to 50, see above.
        neuron: prototype, copied; ``None`` is ``ScaledLIF(1.0, threshold, learn_tau=True)``.
        surrogate: derivative that stands in for that of firing.
        seed: of what is corrupted, see :class:`~msg.layers.Draws`.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse; ``edge_index``: ``[2, E]``; ``edge_weight``: ``[E]``; returns ``[N, C]``.

    Raises:
        ValueError: for impossible sizes, an unknown norm, or a part of a graph.
    """

    instead_on_a_part = "SpikingGNN"
    timesteps = FixedTimesteps

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 2,
        timesteps: int = 15,
        dropout: float = 0.5,
        threshold: float = 0.05,
        norm: str = "batch",
        residual: bool = False,
        decoder_channels: int = 8,
        margin: float = 0.0,
        drop_edge: float = 0.2,
        encoder_epochs: int | None = 50,
        neuron: NeuronLike | None = None,
        surrogate: Surrogate = Sigmoid(2.0),  # noqa: B008 - a frozen value
        seed: int | None = None,
    ):
        super().__init__()
        check_sizes(num_layers=num_layers, decoder_channels=decoder_channels)
        for name, value in (("dropout", dropout), ("drop_edge", drop_edge)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be a probability below 1, not {value}")
        if encoder_epochs is not None:
            check_sizes(0, encoder_epochs=encoder_epochs)
        check_norm(norm)
        self.in_channels, self.out_channels, self.timesteps = in_channels, out_channels, timesteps
        self.dropout, self.margin, self.drop_edge, self.residual = dropout, margin, drop_edge, residual
        self.encoder_epochs = encoder_epochs
        self.first = GroupedGCN(in_channels, hidden_channels, -(-in_channels // timesteps), norm == "batch")
        self.layers = nn.ModuleList(_Shared(hidden_channels, norm) for _ in range(num_layers - 1))
        neuron = ScaledLIF(1.0, threshold, learn_tau=True) if neuron is None else resolve_neuron(neuron)
        self.act, self.neurons = nn.ELU(), SpikeTrain(neuron, surrogate, detach_reset=False, detach_state=True, dim=0)
        self.decoder = SpikeLinear(hidden_channels, decoder_channels, bias=False)
        self.head = SpikeLinear(self.first.count * hidden_channels, out_channels)
        self.draws = Draws(seed)
        self._received, self._embeddings = Memo(), Memo()

    def reset_parameters(self) -> None:
        """Draw all weights anew, and begin the draws of corrupted graphs anew."""
        for module in (self.first, *self.layers, self.neurons, self.decoder, self.head, self.draws):
            module.reset_parameters()  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        return self.head(self._embedding(x, edge_index, edge_weight))

    def embed(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """Binary embeddings ``[N, groups * d]``, without gradient; arguments are those of the model."""
        return self._embedding(x, edge_index, edge_weight).clone()

    @torch.no_grad()
    def _embedding(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None) -> Tensor:
        """Kept while features, graph and encoder stay the same: each evaluation is of what the next update reads, and
        after ``encoder_epochs`` all are of one.
        """
        features, graph = self.prepare(x, edge_index, edge_weight)
        encoder = self.first, *self.layers, self.act, self.neurons
        parts = [part for one in encoder for part in one.modules()]

        def embedding() -> Tensor:
            modes = [part.training for part in parts]
            for part in parts:
                part.training = False
            try:
                return self._encode(features, graph, False).transpose(0, 1).flatten(1)
            finally:
                for part, mode in zip(parts, modes):
                    part.training = mode

        # a neuron from outside may give something else each time
        if traced() or not isinstance(self.neurons.neuron, Neuron) or any(map(watched, parts)):
            return embedding()
        inside = (tensor for one in encoder for tensor in (*one.parameters(), *one.buffers()))
        kind = graph.edge_index.device.type
        precision = autocasts(graph.edge_index) and torch.get_autocast_dtype(kind)
        return self._embeddings.recall(
            (to_tensor(features), graph.edge_index, graph.edge_weight, *inside),
            (precision, self.residual, *map(settings_of, encoder)),
            embedding,
        )

    def _encode(self, features: Tensor | SparseMatrix, graph: Graph, training: bool, keep: bool = True) -> Tensor:
        """Spikes ``[groups, N, d]``; ``keep``: these features come again, and so does what they send."""
        dropped, received = dropout(features, self.dropout, training), None
        if keep and dropped is features and isinstance(features, Tensor):
            tensors = (features, graph.edge_index, graph.edge_weight)
            received = self._received.recall(tensors, (), lambda: graph.normalized(features.dtype).matmul(features))
        h = self.first(dropped, graph, received)
        for layer in self.layers:
            h = dropout(self.act(h), self.dropout, training)
            h = h + layer(h, graph) if self.residual else layer(h, graph)
        return self.neurons(h.transpose(0, 1))

    def unsupervised_loss(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """How far the graph is from being scored above a corrupted one, summed over the steps.

        It is zero, without a gradient, once the encoder has been trained for ``encoder_epochs``.

        Args:
            x: features ``[N, F]``.
            edge_index: ``[2, E]``.
            edge_weight: ``[E]``.
        """
        features, graph = self.prepare(x, edge_index, edge_weight)
        if self.training and self.encoder_epochs is not None and int(self.draws.passes) >= self.encoder_epochs:
            return torch.zeros((), dtype=features.dtype, device=graph.edge_index.device)
        # only the sum of its outputs is read: its rows are summed up before the product
        decoder = self.decoder.weight.sum(0)
        good = self._encode(features, graph, self.training) @ decoder
        bad = self._encode(*self._corrupted(features, graph), self.training, keep=False) @ decoder
        # not relu: clamp has a gradient where a node scores alike in both, as torch's own margin ranking loss has
        return (self.margin - (good - bad)).clamp(min=0).mean(1).sum()

    def _corrupted(self, features: Tensor | SparseMatrix, graph: Graph) -> tuple[Tensor | SparseMatrix, Graph]:
        """Features with their columns permuted, and the graph without some of its edges."""
        device = graph.edge_index.device
        generator = self.draws.next(device)
        order = torch.randperm(self.in_channels, generator=generator, device=device)
        kept = torch.rand(graph.edge_index.size(1), generator=generator, device=device) >= self.drop_edge
        weight = None if graph.edge_weight is None else graph.edge_weight[kept]
        other = Graph(graph.edge_index[:, kept], weight, graph.num_nodes)
        if isinstance(features, Tensor):
            return features[:, order], other
        row, column, value = features.entries()
        return SparseMatrix(row, torch.argsort(order)[column], value, (features.size(0), features.size(1))), other

    def extra_repr(self) -> str:
        return (
            f"in_channels={self.in_channels}, out_channels={self.out_channels}, timesteps={self.timesteps}, "
            f"margin={self.margin:g}, drop_edge={self.drop_edge:g}"
        )


SPEC = ModelSpec(
    build=SpikeGCL,
    reads=frozenset(
        {
            "hidden_channels",
            "num_layers",
            "timesteps",
            "dropout",
            "threshold",
            "norm",
            "residual",
            "encoder_epochs",
            "decoder_channels",
            "margin",
        }
    ),
    about="SpikeGCL: binary embeddings by contrast, read by a linear probe",
    defaults={"timesteps": 15, "threshold": 0.05, "norm": "batch", "dropout": 0.5},
)
