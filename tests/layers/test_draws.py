import copy
import io
import pickle

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from msg.layers import Draws


def _numbers(draws, times=1):
    return [torch.rand(5, generator=draws.next()).tolist() for _ in range(times)]


def test_evaluation_draws_the_same_and_training_does_not():
    draws = Draws(3).eval()
    first, second = _numbers(draws, 2)
    assert first == second
    trained = _numbers(draws.train(), 3)
    assert len({tuple(numbers) for numbers in [first, *trained]}) == 4
    assert _numbers(draws.eval())[0] == first  # however much was trained between


def test_training_is_reproducible_and_goes_on_from_where_it_was_kept():
    draws, again = Draws(3), Draws(3)
    want = _numbers(draws, 6)
    assert _numbers(again, 2) == want[:2]
    buffer = io.BytesIO()
    torch.save(again.state_dict(), buffer)
    buffer.seek(0)
    other = Draws(8)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    for twin in (other, copy.deepcopy(again), pickle.loads(pickle.dumps(again))):
        assert _numbers(twin, 4) == want[2:]


def test_the_seed_is_torchs_unless_one_is_given():
    torch.manual_seed(1)
    a = Draws()
    torch.manual_seed(1)
    b, c = Draws(), Draws()
    assert _numbers(a) == _numbers(b)
    assert _numbers(c) != _numbers(Draws())
    before = torch.get_rng_state()
    _numbers(a)
    Draws(5).reset_parameters()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_pass_that_is_computed_again_draws_the_same(reentrant):
    draws, seen = Draws(3), []

    def drawn(x):
        seen.append(torch.rand(5, generator=draws.next()))
        return (x * seen[-1]).exp()

    for number in (1, 2):
        x = torch.ones(5, requires_grad=True)
        out = checkpoint(drawn, x, use_reentrant=reentrant)
        out.sum().backward()
        assert (int(draws.passes), len(seen)) == (number, 2 * number)
        assert torch.equal(seen[-1], seen[-2])
        torch.testing.assert_close(x.grad, seen[-1] * out.detach())
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("given", [None, 4])
def test_reset_begins_anew(given):
    draws = Draws(given)
    first = _numbers(draws)
    draws.reset_parameters()
    assert (_numbers(draws) == first) == (given is not None)
    assert "seed=" in repr(draws)


@pytest.mark.parametrize("seed", [-1, 1.5, "3", 2**63])
def test_what_is_no_seed_is_refused_at_once(seed):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        Draws(seed)
