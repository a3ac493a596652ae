"""What `foveal_env.images` and `foveal_env.sources` say in tensors, compiled for the CPU; tests hold both equal.

Numba compiles it at the first call and keeps the result on disk. The work is cut into one share for each torch thread,
in plain Python threads (the compiled code lets go of the interpreter): Numba's own pool would end a forked process.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from foveal_env.kernels.threads import Threads

WORTH = 1e-3  # seconds of work that make a thread worth its while: one of torch's may still spin on its core

compile_ = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
_threads = Threads("foveal_env.compiled")


def halve_all(texels: Tensor, offset: Tensor, size: Tensor) -> None:
    """Fill the levels above the first of B pyramids; see `foveal_env.images`.

    Args:
        texels: [V, C] uint8, changed in place.
        offset: [B] int64, first entry of each pyramid.
        size: [B, 2] int64 (H, W).
    """
    arrays = texels.numpy().reshape(-1), texels.shape[1], offset.numpy(), np.ascontiguousarray(size.numpy())
    share(lambda first, last: _halve_all(*arrays, first, last), len(offset), seconds=2e-10 * texels.numel())


def add_crops(canvas: Tensor, pictures: Tensor, which: Tensor, crop: Tensor, corner: Tensor, side: int) -> None:
    """Compute `foveal_env.sources.composed.add_crops`, with its arguments."""
    arrays = canvas.numpy(), pictures.numpy(), which.numpy(), crop.numpy(), corner.numpy()
    share(
        lambda first, last: _add_crops(*arrays, side, first, last), len(canvas), seconds=1e-9 * which.numel() * side**2
    )


def mixed(value: Tensor) -> Tensor:
    """Compute `foveal_env.sources.base.mixed`."""
    value = value.contiguous()
    out = torch.empty_like(value)
    _mixed(value.numpy().reshape(-1), out.numpy().reshape(-1))
    return out


def share(work: Callable[[int, int], Any], count: int, *, seconds: float) -> None:
    """Call ``work(first, last)`` so that range(count) is done once, by as many threads as torch uses at most.

    `seconds` is about how long one thread would take; small work is done by one.

    The work is cut finer than into one part for each thread: a thread of torch's that still spins after its last
    operation takes a core for a while, and then the others do more.
    """
    threads = min(torch.get_num_threads(), count, int(seconds / WORTH))
    if threads < 2:
        work(0, count)
        return
    cuts = min(4 * threads, count)
    parts = iter([(count * cut // cuts, count * (cut + 1) // cuts) for cut in range(cuts)])

    def help_out() -> None:
        for first, last in parts:  # a list's iterator hands out each part once, whoever asks
            work(first, last)

    others = [_threads.submit(help_out) for _ in range(threads - 1)]
    help_out()
    for other in others:
        if not other.cancel():
            other.result()


@compile_
def _halve_all(texels, channels, offset, size, first, last):
    widest = 0
    for image in range(first, last):
        widest = max(widest, size[image, 1])
    added = np.empty((widest + 1) * channels, np.uint16)
    odd = np.empty((2, widest), np.uint16)  # what is added before the division by four, see `images.halved`
    for x in range(widest):
        odd[0, x], odd[1, x] = 1 + (x & 1), 2 - (x & 1)
    for image in range(first, last):
        start, height, width = offset[image] * channels, size[image, 0], size[image, 1]
        while max(height, width) > 1:
            end = start + height * width * channels
            _halve(texels[start:end], height, width, channels, texels[end:], added, odd)
            start, height, width = end, (height + 1) // 2, (width + 1) // 2


@compile_
def _halve(fine, height, width, channels, coarse, added, odd):
    """Average 2 x 2 texels of one level into the next."""
    half, length = (width + 1) // 2, width * channels
    for y in range((height + 1) // 2):
        below = min(2 * y + 1, height - 1)
        upper, lower = fine[2 * y * length : (2 * y + 1) * length], fine[below * length : (below + 1) * length]
        row, half_up = coarse[y * half * channels : (y + 1) * half * channels], odd[y & 1]
        for k in range(length):
            added[k] = np.uint16(upper[k]) + np.uint16(lower[k])
        if width % 2:  # the last texel counts twice
            for c in range(channels):
                added[length + c] = added[length - channels + c]
        if channels == 1:
            for x in range(np.uint64(half)):
                two = x + x
                row[x] = (added[two] + added[two + np.uint64(1)] + half_up[x]) >> 2
        elif channels == 3:
            for x in range(np.uint64(half)):
                to, two = x * np.uint64(3), x * np.uint64(6)
                row[to] = (added[two] + added[two + np.uint64(3)] + half_up[x]) >> 2
                row[to + np.uint64(1)] = (added[two + np.uint64(1)] + added[two + np.uint64(4)] + half_up[x]) >> 2
                row[to + np.uint64(2)] = (added[two + np.uint64(2)] + added[two + np.uint64(5)] + half_up[x]) >> 2
        else:
            for x in range(half):
                for c in range(channels):
                    left = 2 * x * channels + c
                    row[x * channels + c] = (added[left] + added[left + channels] + half_up[x]) >> 2


@compile_
def _add_crops(canvas, pictures, which, crop, corner, side, first, last):
    for image in range(first, last):
        for piece in range(which.shape[1]):
            picture = pictures[which[image, piece]]
            x, y = crop[image, piece]
            left, top = corner[image, piece]
            for line in range(side):
                source = picture[y + line, x : x + side]
                target = canvas[image, top + line, left : left + side]
                for column in range(side):
                    target[column] = min(np.int32(target[column]) + np.int32(source[column]), 255)


@compile_
def _mixed(value, out):
    for k in range(len(value)):
        bits = np.uint64(value[k])
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        out[k] = np.int64(bits ^ (bits >> np.uint64(31)))
