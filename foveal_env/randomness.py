"""Randomness that repeats: seeded construction, and the draws of an update by its number."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global generator as if seeded with `seed`; it is left as it was.

    Meanwhile float32 is the default type, in which everything here is made whatever the user's own default.
    """
    with torch.random.fork_rng(devices=[]), float32_by_default():
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Let float32 be the type of numbers that name none."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def draw_of_update(seed: int, update: int, scenes: int) -> tuple[torch.Generator, Tensor]:
    """Return the randomness of an update and the scenes that it draws, [scenes] int64.

    Both depend on the seed and the update's number alone: a resumed training draws what one never stopped draws.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + update)
    return generator, torch.randint(2**62, (scenes,), generator=generator)
