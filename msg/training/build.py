"""What a training is made of, from a graph, a seed and a model."""

import torch
from torch import nn
from torch_geometric.data import Data

from msg.datasets import apply_split, link_split
from msg.nn import FermiDirac
from msg.training.augmentation import Augmentation
from msg.training.batches import MiniBatches
from msg.training.observation import manifold_of
from msg.training.tasks import LinkPrediction, inner_product


def draw_split(data: Data, seed: int) -> Data:
    """The same graph with another seed's node split; a given split is the same for all seeds."""
    drawn = data.split.startswith(("random:", "per-class:"))
    return apply_split(data, data.split, seed).to(data["edge_index"].device) if drawn else data


def link_prediction(
    data: Data,
    split: str,
    model: nn.Module,
    seed: int,
    batches: MiniBatches | None = None,
    augmentation: Augmentation = Augmentation(),  # noqa: B008 - a frozen value
) -> LinkPrediction:
    """Links of a graph; those of a model with a manifold are decoded by distance on it, else by inner product.

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
    manifold = manifold_of(model)
    decoder = inner_product if manifold is None else FermiDirac(manifold)
    parts, device = link_split(data, split, seed), data["edge_index"].device
    return LinkPrediction(type(parts)(*(part.to(device) for part in parts)), decoder, seed, batches, augmentation)


def own_random_state(device: str | torch.device):
    """A context that leaves torch's generators as it found them."""
    device = torch.device(device)
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
