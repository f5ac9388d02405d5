import statistics

import pytest
import torch


@pytest.fixture
def drawn(example):
    return example.sentences(500, torch.Generator().manual_seed(0))


def test_sentences_follow_the_rules_of_the_task(example, drawn):
    channels, recalls, targets = drawn
    assert channels.shape == (12, 500, 4)
    assert recalls.shape == targets.shape == (12, 500)
    delays = []
    for n in range(500):
        memory, stored = None, None
        for t in range(12):
            zero, one, store, recall = channels[t, n].tolist()
            assert zero + one == (0 if recall else 1)  # a recall is shown alone, everything else is a bit
            assert recall == int(recalls[t, n])
            if recall:
                assert targets[t, n] == memory
                delays.append(t - stored)
                memory = stored = None
            if store:
                assert memory is None  # between two stores there is a recall
                memory, stored = one, t
        assert memory is None
    assert (recalls.sum(0) > 0).all()
    assert min(delays) == 2
    # six characters are expected; that the recall has to fit in shortens it
    assert 4 < statistics.mean(delays) < 6


def test_both_bits_are_recalled_alike(example, drawn):
    _, recalls, targets = drawn
    assert targets[recalls].double().mean().item() == pytest.approx(0.5, abs=0.06)


def test_input_neurons_fire_at_50_hz_in_their_channel_only(example, drawn):
    channels = drawn[0][:, :40]
    trains = example.spike_trains(channels, torch.Generator().manual_seed(1))
    assert trains.shape == (2400, 40, 100)
    rates = trains.unflatten(0, (12, 200)).mean(1).unflatten(-1, (4, 25)).mean(-1)
    torch.testing.assert_close(rates, 0.05 * channels.float(), rtol=0, atol=0.02)
    assert (rates[channels == 0] == 0).all()


@pytest.mark.slow
def test_an_iteration_trains_and_the_picture_has_both_curves(example):
    errors, final = example.train(adaptive=10, iterations=2, seed=0, batch=4)
    assert len(errors) == 2
    assert all(0 <= error <= 1 for error in [*errors, final])
    figure = example.draw({"LSNN": [errors], "LIF": [errors, errors]})
    assert len(figure.axes[0].lines) == 4  # and the line at 0.05
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["LSNN", "LIF", "0.05"]


@pytest.mark.slow
def test_adaptation_solves_the_task_within_200_iterations(example):
    assert example.train(adaptive=10, iterations=200, seed=0)[1] < 0.05
