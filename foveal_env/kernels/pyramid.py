"""Pyramids of 8-bit levels, each half as wide as the one before, down to one texel (Williams, SIGGRAPH 1983).

The levels of an image lie one after another, each row by row, and so do the images of a batch.
B images, V texels of all of them, C channels, L levels.
"""

import math

import numpy as np
import torch
from torch import Tensor

from foveal_env.kernels.dispatch import dispatch
from foveal_env.kernels.threads import compile_, share

FINEST = 4.0  # texels across a box, at least, unless the box is narrower than that in the image itself


def levels(size: Tensor, longest: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return where the levels of pyramids lie.

    Args:
        size: [B, 2] (H, W) in px.
        longest: longest side of any image in px, or more. 0: it is looked up, for which a device must be waited.

    Returns:
        Start of each level [B, L] relative to the first, size of each level [B, L, 2] and length of each pyramid [B],
        in texels. L is the number of levels of the largest image. Levels after the single texel have no length.
    """
    count = max(1, math.ceil(math.log2(max(1, longest or int(size.max())))) + 1)
    halvings = 2 ** torch.arange(count, device=size.device)
    sizes = (size[:, None] + halvings[:, None] - 1) // halvings[:, None]
    texels = sizes.prod(dim=2)
    texels[:, 1:] *= sizes[:, :-1].amax(dim=2) > 1
    ends = texels.cumsum(1)
    return ends - texels, sizes, ends[:, -1]


def pyramid_length(height: int, width: int) -> int:
    """Return the number of texels of the pyramid of an image of height x width px."""
    length = height * width
    while max(height, width) > 1:
        height, width = (height + 1) // 2, (width + 1) // 2
        length += height * width
    return length


def fill_levels(texels: Tensor, offset: Tensor, size: Tensor, shape: tuple[int, int] | None = None) -> None:
    """Fill the levels above the first of B pyramids, in place.

    A texel is the average of 2 x 2; an odd last one counts twice. Half a grey value is rounded up in every other texel
    only, as on a chess board, because the mean of a level would rise otherwise.

    Args:
        texels: [V, C] uint8, of which the first level of each pyramid is set.
        offset: [B] int64, first texel of each pyramid.
        size: [B, 2] int64 (H, W) in px.
        shape: (H, W) of all images, if they are known to be of one size. Otherwise a device must be waited for.
    """
    form = dispatch(texels, compiled=fill_levels_compiled, in_tensors=fill_levels_in_tensors)
    form(texels, offset, size, shape)


def fill_levels_in_tensors(texels: Tensor, offset: Tensor, size: Tensor, shape: tuple[int, int] | None = None) -> None:
    """Compute `fill_levels` on any device, for all images of one size at a time."""
    if shape is not None:
        _fill_levels_of_one_size(texels, offset, *shape)
        return
    for one in size.unique(dim=0):
        _fill_levels_of_one_size(texels, offset[(size == one).all(dim=1)], *one.tolist())


def _fill_levels_of_one_size(texels: Tensor, start: Tensor, height: int, width: int) -> None:
    """Fill the levels above the first, which begin at `start` [B], of images of height x width px."""
    while max(height, width) > 1:
        place = torch.arange(height * width, device=texels.device)
        level = _halve_in_tensors(texels[start[:, None] + place].unflatten(1, (height, width)))
        start = start + height * width
        height, width = level.shape[1:3]
        place = torch.arange(height * width, device=texels.device)
        texels[start[:, None] + place] = level.flatten(1, 2)


def _halve_in_tensors(level: Tensor) -> Tensor:
    """Average 2 x 2 texels: [B, H, W, C] uint8 to [B, ceil(H / 2), ceil(W / 2), C]."""
    for axis in (1, 2):
        if level.shape[axis] % 2:
            level = torch.cat([level, level.narrow(axis, level.shape[axis] - 1, 1)], dim=axis)
    wide = level.to(torch.int16)
    total = wide[:, ::2, ::2] + wide[:, 1::2, ::2] + wide[:, ::2, 1::2] + wide[:, 1::2, 1::2]
    y, x = (torch.arange(count, device=level.device, dtype=torch.int16) for count in total.shape[1:3])
    odd = ((y[:, None] ^ x) & 1)[..., None]
    return ((total + 1 + odd) >> 2).to(torch.uint8)


def fill_levels_compiled(texels: Tensor, offset: Tensor, size: Tensor, shape: tuple[int, int] | None = None) -> None:
    """Compute `fill_levels` on the CPU."""
    arrays = texels.numpy().reshape(-1), texels.shape[1], offset.numpy(), np.ascontiguousarray(size.numpy())
    share(lambda first, last: _fill_levels(*arrays, first, last), len(offset), seconds=2e-10 * texels.numel())


@compile_
def _fill_levels(texels, channels, offset, size, first, last):
    widest = 0
    for image in range(first, last):
        widest = max(widest, size[image, 1])
    pairs = np.empty((widest + 1) * channels, np.uint16)  # sums of two texels, one below the other
    half_up = np.empty((2, widest), np.uint16)  # of even and odd lines: what is added before the division by four
    for x in range(widest):
        half_up[0, x], half_up[1, x] = 1 + (x & 1), 2 - (x & 1)
    for image in range(first, last):
        start, height, width = offset[image] * channels, size[image, 0], size[image, 1]
        while max(height, width) > 1:
            end = start + height * width * channels
            _halve(texels[start:end], height, width, channels, texels[end:], pairs, half_up)
            start, height, width = end, (height + 1) // 2, (width + 1) // 2


@compile_
def _halve(fine, height, width, channels, coarse, pairs, half_up):
    """Average 2 x 2 texels of one level into the next."""
    half, length = (width + 1) // 2, width * channels
    for y in range((height + 1) // 2):
        below = min(2 * y + 1, height - 1)
        upper, lower = fine[2 * y * length : (2 * y + 1) * length], fine[below * length : (below + 1) * length]
        for k in range(length):
            pairs[k] = np.uint16(upper[k]) + np.uint16(lower[k])
        if width % 2:  # the last texel counts twice
            for c in range(channels):
                pairs[length + c] = pairs[length - channels + c]
        _halve_line(pairs, half_up[y & 1], coarse[y * half * channels : (y + 1) * half * channels], half, channels)


@compile_
def _halve_line(pairs, half_up, row, half, channels):
    """Average neighbours of a line. One and three channels are written out, because only then it becomes vectors."""
    if channels == 1:
        for x in range(np.uint64(half)):
            two = x + x
            row[x] = (pairs[two] + pairs[two + np.uint64(1)] + half_up[x]) >> 2
    elif channels == 3:
        for x in range(np.uint64(half)):
            to, two = x * np.uint64(3), x * np.uint64(6)
            row[to] = (pairs[two] + pairs[two + np.uint64(3)] + half_up[x]) >> 2
            row[to + np.uint64(1)] = (pairs[two + np.uint64(1)] + pairs[two + np.uint64(4)] + half_up[x]) >> 2
            row[to + np.uint64(2)] = (pairs[two + np.uint64(2)] + pairs[two + np.uint64(5)] + half_up[x]) >> 2
    else:
        for x in range(half):
            for c in range(channels):
                left = 2 * x * channels + c
                row[x * channels + c] = (pairs[left] + pairs[left + channels] + half_up[x]) >> 2
