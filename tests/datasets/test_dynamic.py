"""The generated dynamic graph: labels counted by hand, and what can be known of them with and without memory."""

import pytest
import torch

from msg.datasets import pulses


def test_labels_are_what_most_senders_sent_some_snapshots_ago():
    snapshots = pulses(num_nodes=12, num_snapshots=7, delay=2, degree=5, seed=3)
    assert len(snapshots) == 7
    for time, now in enumerate(snapshots):
        assert now.x.shape == (12, 2)
        assert (now.x.sum(1) == 1).all()
        source, target = now.edge_index
        assert target.bincount().tolist() == [5] * 12
        assert (source != target).all()
        assert now.edge_index.unique(dim=1).size(1) == 60
        if time < 2:
            assert (now.y == -1).all()
            continue
        then = snapshots[time - 2]
        for node in range(12):
            votes = [int(then.x[u, 1]) for u, v in then.edge_index.t().tolist() if v == node]
            assert int(now.y[node]) == (sum(votes) > 2)


def test_the_present_says_nothing_and_the_past_all():
    snapshots = pulses(num_nodes=400, num_snapshots=30, delay=1, seed=1)[1:]
    present = [(d.x[d.edge_index[0], 1].view(400, 3).sum(1) > 1).long() for d in snapshots]
    y = torch.stack([d.y for d in snapshots])
    # 11,600 labels: one standard deviation of a guess is half a percent
    assert abs((torch.stack(present) == y).double().mean() - 0.5) < 0.03
    assert abs(y.double().mean() - 0.5) < 0.03
    assert torch.equal(torch.stack(present[:-1]), y[1:])


def test_pulses_are_fixed_by_their_seed():
    first, again, other = (pulses(10, 5, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(a.x, b.x) and torch.equal(a.edge_index, b.edge_index) for a, b in zip(first, again))
    assert any(not torch.equal(a.x, b.x) for a, b in zip(first, other))
    assert first[0].edge_index[0, :6].tolist() == [1, 3, 5, 0, 5, 4]  # of this generator, for ever


@pytest.mark.parametrize("bad", [{"degree": 2}, {"degree": 101}, {"delay": -1}, {"delay": 50}])
def test_pulses_rejects_bad_arguments(bad):
    with pytest.raises(ValueError, match="pulses needs"):
        pulses(**bad)
