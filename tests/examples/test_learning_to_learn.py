import pytest
import torch


def test_functions_are_fixed_within_an_episode_and_differ_between(example):
    x, y = example.functions(3000, torch.Generator().manual_seed(0))
    assert x.shape == (20, 3000, 2)
    assert y.shape == (20, 3000)
    assert x.abs().max() <= 1
    # 10 tanh units and weights of variance 1/3: near-linear, so least squares on half of the examples explains the rest
    inputs = torch.cat([x, torch.ones(20, 3000, 1)], -1).transpose(0, 1).double()
    fit = torch.linalg.lstsq(inputs[:, :10], y[:10].t().unsqueeze(-1).double()).solution
    rest = (inputs[:, 10:] @ fit).squeeze(-1).t() - y[10:]
    assert rest.square().mean() < 0.1 * y.var()
    assert (y.mean(0).var() / y.var()) > 0.3


def test_an_episode_shows_the_previous_target_only(example):
    x, y = example.functions(6, torch.Generator().manual_seed(0))
    shown = example.episode(x, y)
    assert shown.shape == (200, 6, 36)
    changed = y.clone()
    changed[7] += 0.5
    steps = (example.episode(x, changed) != shown).any(-1).any(-1).nonzero().flatten()
    assert steps.tolist() == list(range(80, 90))
    assert (shown[:10, :, 24:] == 0).all()
    assert torch.equal(shown[30], shown[39])


def test_the_code_tells_values_apart(example):
    code = example.population(torch.tensor([-1.0, -0.2, 0.0, 1.0]), 1.0)
    centres = torch.linspace(-1, 1, 12)
    slow = [[torch.exp(-(((v - c) / 0.25) ** 2) / 2) for c in centres] for v in (-1.0, -0.2, 0.0, 1.0)]
    torch.testing.assert_close(code, torch.tensor(slow))


def test_predictions_do_not_see_their_own_target(example):
    torch.manual_seed(0)
    model = example.train(iterations=1, seed=0, batch=4, hidden_channels=8)
    x, y = example.functions(4, torch.Generator().manual_seed(1))
    changed = y.clone()
    changed[5] += 1.0
    a, b = example.predict(model, x, y)[0], example.predict(model, x, changed)[0]
    assert a.shape == (20, 4)
    assert torch.equal(a[:6], b[:6])
    assert not torch.equal(a[6:], b[6:])


def test_error_and_baseline_and_picture(example):
    model = example.train(iterations=1, seed=0, batch=4, hidden_channels=8)
    before = [p.clone() for p in model.parameters()]
    error, mean = example.evaluate(model, seed=0, batch=50)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    _, y = example.functions(50, torch.Generator().manual_seed(10_000))
    want = [(y[:k].mean(0) - y[k] if k else y[0]).square().mean() for k in range(20)]
    torch.testing.assert_close(mean, torch.stack(want), rtol=1e-4, atol=1e-5)
    assert len(example.draw(error, mean).axes[0].lines) == 3


@pytest.mark.slow
def test_the_error_falls_to_a_third_within_ten_examples(example):
    error, _ = example.evaluate(example.train(iterations=1000, seed=0), seed=0)
    assert error[10] < error[0] / 3
