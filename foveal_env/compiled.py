"""What `foveal_env.images` and `foveal_env.sources` say in tensors, compiled for the CPU; tests hold both equal.

Numba compiles it at the first call and keeps the result on disk. The work is cut into one share for each torch thread,
in plain Python threads (the compiled code lets go of the interpreter): Numba's own pool would end a forked process.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from foveal_env.threads import Threads

WORTH = 1e-3  # seconds of work that make a thread worth its while: one of torch's may still spin on its core

_compile = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
_threads = Threads("foveal_env.compiled")


def halve_all(texels: Tensor, offset: Tensor, size: Tensor) -> None:
    """Fill the levels above the first of B pyramids; see `foveal_env.images`.

    Args:
        texels: [V, C] uint8, changed in place.
        offset: [B] int64, first entry of each pyramid.
        size: [B, 2] int64 (H, W).
    """
    arrays = texels.numpy().reshape(-1), texels.shape[1], offset.numpy(), np.ascontiguousarray(size.numpy())
    _share(lambda first, last: _halve_all(*arrays, first, last), len(offset), seconds=2e-10 * texels.numel())


def box_averages(
    texels: Tensor, offset: Tensor, size: Tensor, centre: Tensor, side: Tensor, *, patch: int, finest: float
) -> Tensor | None:
    """Compute `Images.box_averages`, on its fields.

    Args:
        texels: [V, C] uint8.
        offset: [B] int64, first entry of each pyramid.
        size: [B, 2] int64 (H, W).
        centre: [B, K, 2] float32 (x, y) in px.
        side: [B, K] float32 in px.
        patch: side P of a patch in boxes.
        finest: texels across a box, at least.

    Returns:
        [B, K, C, P, P] float32 in [0, 1]; None where a centre is NaN or infinite.
    """
    (batch, count), channels = side.shape, texels.shape[1]
    out, lost = torch.empty(batch, count, channels, patch, patch), np.zeros(1, dtype=bool)
    arrays = (
        texels.numpy().reshape(-1),
        channels,
        offset.numpy(),
        np.ascontiguousarray(size.numpy()),
        np.ascontiguousarray(centre.detach().numpy(), dtype=np.float32),
        np.ascontiguousarray(side.detach().numpy(), dtype=np.float32),
        float(finest),
        out.numpy(),
        lost,
    )
    _share(lambda first, last: _box_averages(*arrays, first, last), batch * count, seconds=8e-9 * out.numel())
    return None if lost[0] else out


def add_crops(canvas: Tensor, pictures: Tensor, which: Tensor, crop: Tensor, corner: Tensor, side: int) -> None:
    """Compute `foveal_env.sources.composed.add_crops`, with its arguments."""
    arrays = canvas.numpy(), pictures.numpy(), which.numpy(), crop.numpy(), corner.numpy()
    _share(
        lambda first, last: _add_crops(*arrays, side, first, last), len(canvas), seconds=1e-9 * which.numel() * side**2
    )


def mixed(value: Tensor) -> Tensor:
    """Compute `foveal_env.sources.base.mixed`."""
    value = value.contiguous()
    out = torch.empty_like(value)
    _mixed(value.numpy().reshape(-1), out.numpy().reshape(-1))
    return out


def _share(work: Callable[[int, int], Any], count: int, *, seconds: float) -> None:
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


@_compile
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


@_compile
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


@_compile
def _box_averages(texels, channels, offset, size, centre, side, finest, out, lost, first, last):
    count, patch = side.shape[1], out.shape[3]
    longest = int(2 * finest * patch) + 3
    added = np.empty(longest * channels, np.uint16)
    rows = np.empty((patch, longest * channels), np.float32)
    for number in range(first, last):
        image, which = number // count, number % count
        if not (math.isfinite(centre[image, which, 0]) and math.isfinite(centre[image, which, 1])):
            lost[0] = True
            return
        start, height, width = offset[image], size[image, 0], size[image, 1]
        box = np.float64(side[image, which]) / patch
        texel = 1.0
        while box >= 2 * finest * texel and max(height, width) > 1:
            start += height * width
            height, width = (height + 1) // 2, (width + 1) // 2
            texel *= 2
        _patch(
            texels,
            start * channels,
            channels,
            width,
            size[image, 0] / texel,
            size[image, 1] / texel,
            (centre[image, which, 0] - np.float64(side[image, which]) / 2) / texel,
            (centre[image, which, 1] - np.float64(side[image, which]) / 2) / texel,
            box / texel,
            added,
            rows,
            out[image, which],
        )


@_compile
def _patch(texels, start, channels, width, bottom, right, x, y, box, added, rows, out):
    """Average the boxes of a patch; (x, y) is its corner, `box` the side of one, in texels of the level at `start`."""
    patch = out.shape[1]
    if not (x < right and y < bottom and x + patch * box > 0 and y + patch * box > 0):
        out[:] = 0
        return
    left = int(max(0.0, math.floor(x)))
    length = (int(min(np.float64(width), math.ceil(x + patch * box) + 1.0)) - left) * channels
    stride, left_top = width * channels, start + left * channels
    for i in range(patch):  # down each column: rows[i] = sums of the box's rows of texels
        top, end = min(max(y + i * box, 0.0), bottom), min(max(y + (i + 1) * box, 0.0), bottom)
        _add_rows(texels[left_top:], stride, top, end, added, rows[i, :length])
    scale = np.float32(1 / (255 * box * box))
    for j in range(patch):
        start, stop = min(max(x + j * box, 0.0), right), min(max(x + (j + 1) * box, 0.0), right)
        if stop <= start:
            out[:, :, j] = 0
            continue
        first = int(start)
        last = min(int(stop), width - 1)
        before, after = np.float32(start - first) * scale, np.float32(stop - last) * scale
        _add_columns(rows, channels, first - left, last - left, before, after, scale, out, j)


@_compile
def _add_rows(level, stride, start, stop, added, row):
    if stop <= start:
        row[:] = 0
        return
    first, last = int(start), int(stop)
    before, after = np.float32(start - first), np.float32(stop - last)
    length = len(row)
    top = level[first * stride : first * stride + length]
    if first == last:
        share = after - before
        for k in range(length):
            row[k] = share * np.float32(top[k])
        return
    share = np.float32(1) - before
    if last - first > 1:
        number = first + 1
        one = level[number * stride : number * stride + length]
        for k in range(length):
            added[k] = one[k]
        for number in range(first + 2, last - 1, 2):
            one = level[number * stride : number * stride + length]
            two = level[(number + 1) * stride : (number + 1) * stride + length]
            for k in range(length):
                added[k] += np.uint16(one[k]) + np.uint16(two[k])
        if (last - first) % 2:
            one = level[(last - 1) * stride : (last - 1) * stride + length]
            for k in range(length):
                added[k] += one[k]
        for k in range(length):
            row[k] = share * np.float32(top[k]) + np.float32(added[k])
    else:
        for k in range(length):
            row[k] = share * np.float32(top[k])
    if after > 0:
        end = level[last * stride : last * stride + length]
        for k in range(length):
            row[k] += after * np.float32(end[k])


@_compile
def _add_columns(rows, channels, first, last, before, after, scale, out, j):
    """Add up the texels first ... last of each row, the first less `before`, of the last only `after`."""
    begin, end = np.uint64(first * channels), np.uint64(last * channels)
    for i in range(out.shape[1]):
        if channels == 1:
            total = np.float32(0)
            for k in range(begin, end):
                total += rows[i, k]
            out[0, i, j] = total * scale - before * rows[i, begin] + after * rows[i, end]
        elif channels == 3:
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            for k in range(begin, end, np.uint64(3)):
                red += rows[i, k]
                green += rows[i, k + np.uint64(1)]
                blue += rows[i, k + np.uint64(2)]
            one, two = np.uint64(1), np.uint64(2)
            out[0, i, j] = red * scale - before * rows[i, begin] + after * rows[i, end]
            out[1, i, j] = green * scale - before * rows[i, begin + one] + after * rows[i, end + one]
            out[2, i, j] = blue * scale - before * rows[i, begin + two] + after * rows[i, end + two]
        else:
            for c in range(channels):
                total = np.float32(0)
                for k in range(begin, end, np.uint64(channels)):
                    total += rows[i, k + np.uint64(c)]
                total = total * scale - before * rows[i, begin + np.uint64(c)]
                out[c, i, j] = total + after * rows[i, end + np.uint64(c)]


@_compile
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


@_compile
def _mixed(value, out):
    for k in range(len(value)):
        bits = np.uint64(value[k])
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        out[k] = np.int64(bits ^ (bits >> np.uint64(31)))
