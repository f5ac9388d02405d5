"""Polynormer, PyG's, as a model that reads a graph's nodes and edges alone."""

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn.models import Polynormer as PyGPolynormer

from msg.graph.sparse import to_dense
from msg.kernels.tracing import exporting, traced
from msg.models.network import GraphNetwork
from msg.models.spec import ModelSpec
from msg.sizes import check_sizes


class Polynormer(GraphNetwork):
    r"""Polynomial-expressive graph transformer: equivariant local attention along edges, then linear attention of all
    nodes.

    :class:`torch_geometric.nn.models.Polynormer` with its schedule: the first ``warm_up`` updates train local attention
    under a read-out of its own, all later ones local and global attention. How many updates there were is kept with the
    weights, so that those of the best epoch are read out as they were trained. What is not read in a phase has no
    gradient in it (:attr:`resting`). Under ``torch.compile`` updates are counted outside of the graph.

    Source: `Deng et al. 2024, Polynormer: Polynomial-Expressive Graph Transformer in Linear Time
    <https://arxiv.org/abs/2403.01232>`_.

    Args:
        in_channels: number of features ``F``.
        out_channels: number of classes ``C``.
        hidden_channels: width. There is one head: with several, PyG's 2.8.1 fails in its global attention.
        num_layers: number of local layers.
        global_layers: number of global ones.
        dropout: probability, after each layer.
        input_dropout: probability of dropping a feature.
        warm_up: updates before global attention.

    Shapes:
        ``x``: ``[N, F]``, dense or sparse (then it is made dense); ``edge_index``: ``[2, E]``; returns the logarithms
        of probabilities, ``[N, C]``.

    Raises:
        ValueError: for impossible sizes, and for weights of edges, which it does not read.
    """

    instead_on_a_part = "MSG"

    updates: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 7,
        global_layers: int = 2,
        dropout: float = 0.5,
        input_dropout: float = 0.15,
        warm_up: int = 100,
    ):
        super().__init__()
        check_sizes(num_layers=num_layers, global_layers=global_layers)
        check_sizes(0, warm_up=warm_up)
        self.in_channels, self.out_channels, self.warm_up = in_channels, out_channels, warm_up
        options: dict[str, Any] = {"in_dropout": input_dropout, "dropout": dropout, "global_dropout": dropout}
        sizes = in_channels, hidden_channels, out_channels, num_layers, global_layers
        self.network = PyGPolynormer(*sizes, **options)
        self.network.lin_in.requires_grad_(False)  # PyG makes it and does not read it
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self._phase()

    def _phase(self) -> None:
        """Let all nodes attend to all once the warm-up is over."""
        self.network._global = int(self.updates) > self.warm_up

    @torch.compiler.disable
    def _count(self) -> None:
        self.updates += 1
        self._phase()

    @property
    def resting(self) -> list[nn.Parameter]:
        """Parameters that are not read in the present phase."""
        network = self.network
        parts = (network.pred_local,) if network._global else (network.global_attn, network.pred_global, network.ln)
        return [parameter for part in parts for parameter in part.parameters()]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._phase()

    def reset_parameters(self) -> None:
        """Reset all weights; the schedule begins anew."""
        self.network.reset_parameters()
        self.updates.zero_()
        self._phase()

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        features, graph = self.prepare(x, edge_index, edge_weight)
        if graph.edge_weight is not None:
            raise ValueError("Polynormer does not read weights of edges: leave edge_weight out")
        if self.training and not exporting():
            self._count()  # pyright: ignore[reportCallIssue] - of the decorator
        elif not traced():  # else as it was last set
            self._phase()
        dense = to_dense(features)
        return self.network(dense, graph.edge_index, graph.edge_index.new_zeros(dense.size(0)))

    def extra_repr(self) -> str:
        """Sizes and schedule."""
        return f"{self.in_channels}, {self.out_channels}, warm_up={self.warm_up}"


SPEC = ModelSpec(
    build=Polynormer,
    reads=frozenset({"hidden_channels", "num_layers", "dropout"}),
    about="PyG's Polynormer: local attention, then linear attention of all nodes",
    defaults={"hidden_channels": 64},
)
