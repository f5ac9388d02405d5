"""What a training is made of, from a graph, a seed and a model."""

from functools import partial

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from msg.datasets import apply_split, link_split
from msg.nn import FermiDirac, GraphDecoder, StructuralDecoder, TangentInnerProduct
from msg.training.augmentation import Augmentation
from msg.training.batches import MiniBatches
from msg.training.observation import manifold_of
from msg.training.tasks import Decoder, LinkPrediction, inner_product


def draw_split(data: Data, seed: int) -> Data:
    """The same graph, or set of graphs, with another seed's split; a given split is the same for all seeds."""
    drawn = data.split.startswith(("random:", "per-class:", "folds:"))
    return apply_split(data, data.split, seed).to(data["edge_index"].device) if drawn else data


def link_prediction(
    data: Data,
    split: str,
    model: nn.Module,
    seed: int,
    batches: MiniBatches | None = None,
    augmentation: Augmentation = Augmentation(),  # noqa: B008 - a frozen value
) -> LinkPrediction:
    """Links of a graph, decoded as :func:`decoder_of` says.

    Args:
        data: the graph.
        split: see :func:`msg.datasets.link_split`.
        model: whose output is decoded.
        seed: of the split and the training negatives.
        batches: how training edges are divided.
        augmentation: what is drawn anew for every update.

    Raises:
        ValueError: if the graph cannot be split so.
    """
    parts, device = link_split(data, split, seed), data["edge_index"].device
    parts = type(parts)(*(part.to(device) for part in parts))
    decoder = decoder_of(model, parts.train["edge_index"])
    own = getattr(model, "link_decoder", None)
    if batches is not None and isinstance(own, GraphDecoder):
        raise ValueError(f"{type(own).__name__} reads the edges of the whole graph: train without batches")
    return LinkPrediction(parts, decoder, seed, batches, augmentation)


def decoder_of(model: nn.Module, edge_index: Tensor) -> Decoder:
    """How pairs are scored from what a model returns.

    The model's own ``link_decoder``, if it has one, which is trained with it; else the distance on its manifold; else
    an inner product.

    Args:
        model: whose output is decoded.
        edge_index: edges that pass messages, for decoders that read them too.
    """
    own = getattr(model, "link_decoder", None)
    if own is None:
        return _plain_decoder(model)
    return partial(own, edge_index=edge_index) if isinstance(own, GraphDecoder) else own


def add_tangent_decoder(model: nn.Module) -> None:
    """Score pairs by the inner product of tangent vectors, in place of a distance.

    Raises:
        ValueError: for a model without a manifold.
    """
    manifold = manifold_of(model)
    if manifold is None:
        raise ValueError(f"{type(model).__name__} has no manifold: its pairs are scored by an inner product as it is")
    model.link_decoder = TangentInnerProduct(manifold)


def add_structural_decoder(model: nn.Module) -> None:
    """Give a model a :class:`~msg.layers.StructuralDecoder` about the decoder that it has or would have.

    It is trained with the model.

    Raises:
        ValueError: for a model whose decoder looks at edges already.
    """
    own = getattr(model, "link_decoder", None)
    if isinstance(own, GraphDecoder):
        raise ValueError(f"{type(model).__name__} has a decoder that reads edges: leave the structural one out")
    if isinstance(own, nn.Module):
        model.plain_link_decoder = own  # held by the model, not by the one about it
    model.link_decoder = StructuralDecoder(_plain_decoder(model) if own is None else own)


def _plain_decoder(model: nn.Module) -> Decoder:
    manifold = manifold_of(model)
    if manifold is None:
        return inner_product
    if getattr(model, "out_channels", None) is not None:
        raise ValueError(
            f"{type(model).__name__} returns logits, and a link is scored by points: make it without out_channels"
        )
    return FermiDirac(manifold)


def own_random_state(device: str | torch.device):
    """A context that leaves torch's generators as it found them."""
    device = torch.device(device)
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
