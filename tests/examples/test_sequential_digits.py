import pytest
import torch
from sklearn.datasets import load_digits


def test_a_pixel_a_step_and_three_parts_apart(example):
    parts = example.sequences(0)
    assert [len(y) for _, y in parts] == [1078, 359, 360]
    assert all(x.shape == (64, len(y), 2) for x, y in parts)
    # every digit of the data set is in exactly one part
    rows = torch.cat([x[..., 0].t() for x, _ in parts]) * 16
    digits = load_digits()
    want = torch.tensor(digits.data, dtype=torch.float32)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, want.tolist()))
    torch.testing.assert_close(parts[0][0].sum(-1), torch.ones(64, 1078))
    again, other = example.sequences(0), example.sequences(1)
    assert torch.equal(again[2][0], parts[2][0])
    assert not torch.equal(other[2][1], parts[2][1])


def test_all_models_have_the_same_number_of_parameters(example):
    sizes = [example.parameters(make()) for make, _ in example.MODELS.values()]
    assert max(sizes) < 1.03 * min(sizes)
    lstm = example.lstm_of(5000)
    hidden = lstm.network.hidden_size
    # four gates of input, recurrent and two bias weights, and the read-out
    assert example.parameters(lstm) == 4 * hidden * (2 + hidden + 2) + 10 * hidden + 10


@pytest.mark.parametrize("name", ["LSNN, threshold 0.01", "LIF, threshold 0.3", "LSTM"])
def test_the_last_step_names_the_digit(example, name):
    torch.manual_seed(0)
    model, x = example.MODELS[name][0](), example.sequences(0)[1][0][:, :5]
    logits = model(x)
    assert logits.shape == (5, 10)
    # the first of 64 pixels is seen as well
    changed = x.clone()
    changed[63] = 1 - changed[63]
    assert not torch.equal(model(changed), logits)


def test_training_keeps_the_epoch_that_validation_chooses(example):
    torch.manual_seed(0)
    parts = [(x[:, :40], y[:40]) for x, y in example.sequences(0)]
    model = example.Spiking(10, 5, 0.3)
    history, test = example.train(model, parts, epochs=3, lr=0.01)
    assert len(history) == 3
    assert example.accuracy(model, *parts[1]) == max(history)
    assert example.accuracy(model, *parts[2]) == test
    assert len(example.draw({"LSNN": [history], "LSTM": [history]}).axes[0].lines) == 2


@pytest.mark.slow
def test_adaptation_is_worth_ten_points(example):
    accuracies = {}
    for name in ("LSNN, threshold 0.01", "LIF, threshold 0.01"):
        make, lr = example.MODELS[name]
        torch.manual_seed(0)
        accuracies[name] = example.train(make(), example.sequences(0), epochs=40, lr=lr)[1]
    assert accuracies["LSNN, threshold 0.01"] > accuracies["LIF, threshold 0.01"] + 0.1
