"""Randomness of a module's own, which can be had again."""

from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn


def generator_of(*words: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that a seed and more decide, mixed into 32 bits: torch's on the CPU reads no more of a seed."""
    return torch.Generator(device).manual_seed(int(np.random.SeedSequence(words).generate_state(1)[0]))


class Draws(nn.Module):
    """Generators of random numbers for a module, one a forward pass.

    What is drawn depends on a seed and on how many passes there were in training mode, and both are buffers: a copy, a
    pickle or a ``state_dict`` goes on as the module would have. In evaluation mode every pass draws the same. A pass
    that is computed again within a backward pass, as by ``torch.utils.checkpoint``, draws as the last one did.

    Args:
        seed: a number; ``None`` takes one from torch's generator, so that ``torch.manual_seed`` before the module is
            made decides it.

    Raises:
        ValueError: for a seed that is none.
    """

    seed: Tensor
    passes: Tensor

    def __init__(self, seed: int | None = None):
        super().__init__()
        if seed is not None and (not isinstance(seed, Integral) or not 0 <= seed < 2**63):
            raise ValueError(f"seed must be a whole number from 0 to 2**63 - 1, or None, not {seed!r}")
        self.given = None if seed is None else int(seed)
        self.register_buffer("seed", torch.zeros((), dtype=torch.long))
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin anew, with another seed if none was given."""
        self.seed.fill_(int(torch.randint(2**31, ())) if self.given is None else self.given)
        self.passes.zero_()

    def _next(self) -> tuple[int, int]:
        """What decides all that is drawn in this pass."""
        if self.training and torch._C._current_graph_task_id() < 0:  # what torch tells checkpointed code apart by
            self.passes += 1
        return int(self.seed), int(self.passes) if self.training else 0

    def next(self, device: torch.device | str = "cpu") -> torch.Generator:
        """The generator of this pass.

        Args:
            device: of what is drawn.
        """
        return generator_of(*self._next(), device=device)

    def key(self) -> np.uint64:
        """64 bits in place of a generator, for random numbers that are counted."""
        return np.random.SeedSequence(self._next()).generate_state(1, np.uint64)[0]

    def extra_repr(self) -> str:
        return f"seed={int(self.seed)}"
