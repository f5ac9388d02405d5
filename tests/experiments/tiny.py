"""Models that are trained in no time, and a table of them."""

import torch
from torch import nn

from msg.experiments import Published, Table, TableColumn, TableRow
from msg.models import ModelSpec


class Tiny(nn.Linear):
    """A linear map of a node's own features."""

    def forward(self, x, edge_index):
        return super().forward(x)


class Lost(Tiny):
    """One whose loss is not finite."""

    def forward(self, x, edge_index):
        return super().forward(x, edge_index) * torch.nan


def tiny(in_channels, out_channels, hidden_channels, dropout):
    return Tiny(in_channels, out_channels)


def lost(in_channels, out_channels, hidden_channels):
    return Lost(in_channels, out_channels)


def wide(in_channels, out_channels, hidden_channels):
    """One that diverges where it is wide."""
    return (Lost if hidden_channels > 32 else Tiny)(in_channels, out_channels)


def broken(in_channels, out_channels):
    raise ValueError("it has no weights")


READS = frozenset({"hidden_channels"})
MODELS = {
    "tiny": ModelSpec(tiny, READS | {"dropout"}, "a linear map"),
    "lost": ModelSpec(lost, READS, "not a number"),
    "wide": ModelSpec(wide, READS, "not a number where it is wide"),
    "broken": ModelSpec(broken, frozenset(), "cannot be built"),
}

TABLE = Table(
    "small",
    "Of no interest, 10 % of it",
    (
        TableRow("tiny", "Tiny", "ours", "tiny"),
        TableRow("narrow", "Narrow", "ours", "wide", {"width": 32}),
        TableRow("wide", "Wide κ", "others", "wide", shown=False),
        TableRow("missing", "Missing", "others", "no-such-model"),
    ),
    (TableColumn("karate", "public"), TableColumn("disease", "random:30/10/60")),
    seeds=(100, 101, 102),
    trials=5,
    epochs=4,
    published=(Published("Somebody 2020", {"Tiny": {"karate": "71.0"}, "Other": {"disease": "80.0 ± 1.0"}}),),
)
