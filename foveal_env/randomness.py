"""Randomness that repeats: seeded construction, and the draws of an update by its number."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global generator as if seeded with `seed`; it is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def draw_of_update(seed: int, update: int, scenes: int) -> tuple[torch.Generator, Tensor]:
    """Return the randomness of an update and the scenes that it draws, [scenes] int64.

    Both depend on the seed and the update's number alone: a resumed training draws what one never stopped draws.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + update)
    return generator, torch.randint(2**62, (scenes,), generator=generator)
