"""Graphs whose geometry is known."""

import torch


def path_edges(number):
    return torch.stack([torch.arange(number - 1), torch.arange(1, number)])


def cycle(number):
    return torch.stack([torch.arange(number), torch.arange(1, number + 1) % number])


def complete(number):
    return torch.triu_indices(number, number, 1)


def star(leaves):
    return torch.stack([torch.zeros(leaves, dtype=torch.long), torch.arange(1, leaves + 1)])


def torus_grid(side):
    """A grid without a rim."""
    place = torch.arange(side**2).view(side, side)
    return torch.cat([torch.stack([place.flatten(), place.roll(-1, axis).flatten()]) for axis in (0, 1)], dim=1)


def small():
    """A connected graph of ten nodes, drawn."""
    chords = torch.randint(10, (2, 8), generator=torch.Generator().manual_seed(1))
    return torch.cat([path_edges(10), chords], dim=1)


def shortest(edge_index, num_nodes):
    """Lengths of shortest paths by Floyd and Warshall."""
    lengths = torch.full((num_nodes, num_nodes), float("inf"), dtype=torch.float64).fill_diagonal_(0)
    source, target = edge_index[:, edge_index[0] != edge_index[1]]
    lengths[source, target] = lengths[target, source] = 1
    for k in range(num_nodes):
        lengths = torch.minimum(lengths, lengths[:, k : k + 1] + lengths[k : k + 1])
    return lengths
