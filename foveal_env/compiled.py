"""Pyramids, compiled for the CPU; a test holds them equal to those in tensors."""

import numpy as np
from torch import Tensor

from foveal_env.kernels.threads import compile_, share


def halve_all(texels: Tensor, offset: Tensor, size: Tensor) -> None:
    """Fill the levels above the first of B pyramids; see `foveal_env.images`.

    Args:
        texels: [V, C] uint8, changed in place.
        offset: [B] int64, first entry of each pyramid.
        size: [B, 2] int64 (H, W).
    """
    arrays = texels.numpy().reshape(-1), texels.shape[1], offset.numpy(), np.ascontiguousarray(size.numpy())
    share(lambda first, last: _halve_all(*arrays, first, last), len(offset), seconds=2e-10 * texels.numel())


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
