"""What `foveal_env.images` and `sources.composed` say in tensors, compiled for the CPU; tests hold both equal.

Numba compiles it at the first call and keeps the result on disk. The work is cut into one share for each torch thread,
in plain Python threads (the compiled code lets go of the interpreter): Numba's own pool would end a forked process.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

SHARE = 32  # patches or pictures below which a thread costs more than it brings

_compile = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
_threads: list[ThreadPoolExecutor] = []
os.register_at_fork(after_in_child=_threads.clear)


def halve_all(texels: Tensor, offset: Tensor, size: Tensor) -> None:
    """Fill the levels above the first of B pyramids; see `foveal_env.images`.

    Args:
        texels: [V, C] uint8, changed in place.
        offset: [B] int64, first entry of each pyramid.
        size: [B, 2] int64 (H, W).
    """
    arrays = texels.numpy(), offset.numpy(), np.ascontiguousarray(size.numpy())
    _share(lambda first, last: _halve_all(*arrays, first, last), len(offset), least=2)


def box_averages(
    texels: Tensor, offset: Tensor, size: Tensor, centre: Tensor, side: Tensor, *, patch: int, finest: float
) -> Tensor:
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
        [B, K, C, P, P] float32 in [0, 1].
    """
    (batch, count), channels = side.shape, texels.shape[1]
    out = torch.empty(batch, count, channels, patch, patch)
    arrays = (
        texels.numpy().reshape(-1),
        channels,
        offset.numpy(),
        np.ascontiguousarray(size.numpy()),
        np.ascontiguousarray(centre.detach().numpy(), dtype=np.float32),
        np.ascontiguousarray(side.detach().numpy(), dtype=np.float32),
        float(finest),
        out.numpy(),
    )
    _share(lambda first, last: _box_averages(*arrays, first, last), batch * count, least=SHARE)
    return out


def add_crops(canvas: Tensor, pictures: Tensor, which: Tensor, crop: Tensor, corner: Tensor, side: int) -> None:
    """Compute `foveal_env.sources.composed.add_crops`, with its arguments."""
    arrays = canvas.numpy(), pictures.numpy(), which.numpy(), crop.numpy(), corner.numpy()
    _share(lambda first, last: _add_crops(*arrays, side, first, last), len(canvas), least=16)


def _share(work: Callable[[int, int], Any], count: int, *, least: int) -> None:
    """Call ``work(first, last)`` so that range(count) is done once, by as many threads as torch uses."""
    shares = max(1, min(torch.get_num_threads(), count // least))
    edges = [count * part // shares for part in range(shares + 1)]
    if shares > 1 and not _threads:
        _threads.append(ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="foveal_env.compiled"))
    others = [_threads[0].submit(work, edges[part], edges[part + 1]) for part in range(1, shares)]
    work(edges[0], edges[1])
    for other in others:
        other.result()


@_compile
def _halve_all(texels, offset, size, first, last):
    for image in range(first, last):
        start, height, width = offset[image], size[image, 0], size[image, 1]
        while max(height, width) > 1:
            next_height, next_width = (height + 1) // 2, (width + 1) // 2
            fine = texels[start : start + height * width]
            start += height * width
            _halve(fine, height, width, texels[start : start + next_height * next_width])
            height, width = next_height, next_width


@_compile
def _halve(fine, height, width, coarse):
    half = (width + 1) // 2
    whole = width // 2
    channels = fine.shape[1]
    for y in range((height + 1) // 2):
        below = min(2 * y + 1, height - 1)
        upper = fine[2 * y * width : (2 * y + 1) * width]
        lower = fine[below * width : (below + 1) * width]
        row = coarse[y * half : (y + 1) * half]
        for c in range(channels):
            for x in range(whole):
                total = np.int32(upper[2 * x, c]) + np.int32(upper[2 * x + 1, c])
                total += np.int32(lower[2 * x, c]) + np.int32(lower[2 * x + 1, c])
                row[x, c] = (total + 1 + ((x ^ y) & 1)) >> 2
            if whole < half:
                total = 2 * (np.int32(upper[width - 1, c]) + np.int32(lower[width - 1, c]))
                row[whole, c] = (total + 1 + ((whole ^ y) & 1)) >> 2


@_compile
def _box_averages(texels, channels, offset, size, centre, side, finest, out, first, last):
    count, patch = side.shape[1], out.shape[3]
    longest = int(2 * finest * patch) + 3
    added = np.empty(longest * channels, np.uint16)
    rows = np.empty((patch, longest * channels), np.float32)
    for number in range(first, last):
        image, which = number // count, number % count
        start, height, width = offset[image], size[image, 0], size[image, 1]
        box = np.float64(side[image, which]) / patch
        texel = 1.0
        while box >= 2 * finest * texel and max(height, width) > 1:
            start += height * width
            height, width = (height + 1) // 2, (width + 1) // 2
            texel *= 2
        _patch(
            texels[start * channels : (start + height * width) * channels],
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
def _patch(level, channels, width, bottom, right, x, y, box, added, rows, out):
    """Average the boxes of one patch; (x, y) is its corner and `box` the side of a box, in texels of the level."""
    patch = out.shape[1]
    if not (x < right and y < bottom and x + patch * box > 0 and y + patch * box > 0):
        out[:] = 0
        return
    left = int(max(0.0, math.floor(x)))
    length = (int(min(np.float64(width), math.ceil(x + patch * box) + 1.0)) - left) * channels
    for i in range(patch):  # down each column: rows[i] = sums of the box's rows of texels
        start, stop = min(max(y + i * box, 0.0), bottom), min(max(y + (i + 1) * box, 0.0), bottom)
        _add_rows(level, width * channels, left * channels, start, stop, added, rows[i, :length])
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
def _add_rows(level, stride, left, start, stop, added, row):
    if stop <= start:
        row[:] = 0
        return
    first, last = int(start), int(stop)
    before, after = np.float32(start - first), np.float32(stop - last)
    length = len(row)
    top = level[first * stride + left : first * stride + left + length]
    if first == last:
        share = after - before
        for k in range(length):
            row[k] = share * np.float32(top[k])
        return
    share = np.float32(1) - before
    if last - first > 1:
        one = level[(first + 1) * stride + left : (first + 1) * stride + left + length]
        for k in range(length):
            added[k] = one[k]
        for number in range(first + 2, last):
            more = level[number * stride + left : number * stride + left + length]
            for k in range(length):
                added[k] += more[k]
        for k in range(length):
            row[k] = share * np.float32(top[k]) + np.float32(added[k])
    else:
        for k in range(length):
            row[k] = share * np.float32(top[k])
    if after > 0:
        end = level[last * stride + left : last * stride + left + length]
        for k in range(length):
            row[k] += after * np.float32(end[k])


@_compile
def _add_columns(rows, channels, first, last, before, after, scale, out, j):
    """Add up the texels first ... last of each row, the first less `before`, of the last only `after`."""
    for i in range(out.shape[1]):
        if channels == 1:
            row = rows[i, first : last + 1]
            total = np.float32(0)
            for k in range(last - first):
                total += row[k]
            out[0, i, j] = total * scale - before * row[0] + after * row[last - first]
        elif channels == 3:
            row = rows[i, 3 * first : 3 * last + 3]
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            for k in range(last - first):
                red += row[np.uint32(3 * k)]
                green += row[np.uint32(3 * k + 1)]
                blue += row[np.uint32(3 * k + 2)]
            end = row[3 * (last - first) :]
            out[0, i, j] = red * scale - before * row[0] + after * end[0]
            out[1, i, j] = green * scale - before * row[1] + after * end[1]
            out[2, i, j] = blue * scale - before * row[2] + after * end[2]
        else:
            for c in range(channels):
                row = rows[i, first * channels : (last + 1) * channels]
                total = np.float32(0)
                for k in range(last - first):
                    total += row[k * channels + c]
                total = total * scale - before * row[c]
                out[c, i, j] = total + after * row[(last - first) * channels + c]


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
