"""Dynamic graphs: lists of snapshots that are made, not downloaded."""

import numpy as np
import torch
from torch_geometric.data import Data


def pulses(num_nodes: int = 100, num_snapshots: int = 50, delay: int = 2, degree: int = 3, seed: int = 0) -> list[Data]:
    r"""What did most of my neighbours send, some snapshots ago? A task that needs memory, and edges that change.

    In each snapshot every node sends one of two pulses, :math:`p_t(u) \in \{0, 1\}`, and receives those of ``degree``
    other nodes, all drawn anew. Its label is what most of those senders sent ``delay`` snapshots ago,

    .. math::
        y_t(v) = \Bigl[\sum_{u \in N_{t-k}(v)} \bigl(2 p_{t-k}(u) - 1\bigr) > 0\Bigr], \qquad k = \text{delay}.

    Snapshots are independent, so a model that sees only the present one is right in half of the cases, whatever it is,
    if ``delay`` is above 0; one that keeps what arrived is right in all of them.

    Args:
        num_nodes: The number of nodes.
        num_snapshots: The number of snapshots.
        delay: How many snapshots ago.
        degree: The number of senders to each node, odd.
        seed: The seed of pulses and edges.

    Returns:
        One :class:`torch_geometric.data.Data` a snapshot: ``x`` ``[N, 2]``, the pulse that is sent, one-hot;
        ``edge_index`` ``[2, degree * N]``; ``y`` ``[N]``, -1 in the first ``delay`` ones.

    Raises:
        ValueError: If an argument is out of range.
    """
    if not (0 < degree < num_nodes and degree % 2 == 1 and 0 <= delay < num_snapshots):
        raise ValueError("pulses needs an odd degree below num_nodes, and 0 <= delay < num_snapshots")
    random = np.random.Generator(np.random.PCG64(seed))
    target = np.repeat(np.arange(num_nodes), degree)
    snapshots, votes = [], []
    for time in range(num_snapshots):
        sent = (random.random(num_nodes) < 0.5).astype(np.int64)
        keys = random.random((num_nodes, num_nodes))
        np.fill_diagonal(keys, np.inf)
        source = np.argsort(keys, axis=1)[:, :degree]
        votes.append((sent[source].sum(1) > degree // 2).astype(np.int64))
        label = votes[time - delay] if time >= delay else np.full(num_nodes, -1)
        edge_index = torch.from_numpy(np.stack([source.reshape(-1), target]))
        x = torch.from_numpy(np.eye(2, dtype=np.float32)[sent])
        snapshots.append(Data(x=x, edge_index=edge_index, y=torch.from_numpy(label)))
    return snapshots
