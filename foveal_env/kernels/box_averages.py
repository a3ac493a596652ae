"""Averages of boxes over the levels of pyramids, compiled for the CPU; a test holds them equal to those in tensors.

A patch is two weighted sums: down the texels of its window into one row for each row of boxes, then, turned, across
these. Both take LANES neighbours at once. A compiler does not find that by itself, since the sums are short and begin
anywhere, so that the two steps are written for LLVM as Numba's intrinsics: about twice as fast as plain loops
on a CPU with AVX-512 (benchmarks/README.md).
"""

import math
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from foveal_env.kernels.threads import compile_, share

LANES = 16  # a power of two


def box_averages(
    texels: Tensor, offset: Tensor, size: Tensor, centre: Tensor, side: Tensor, *, patch: int, finest: float
) -> Tensor | None:
    """Compute `foveal_env.images.Images.box_averages`, on its fields.

    Args:
        texels: [V, C] uint8.
        offset: [B] int64, first entry of each pyramid.
        size: [B, 2] int64 (H, W).
        centre: [B, K, 2] float32 (x, y) in px.
        side: [B, K] float32 in px.
        patch: side P of a patch in boxes.
        finest: texels across a box, at least.

    Returns:
        [B, K, C, P, P] float32 in [0, 1], without a gradient; None where a centre or a side is NaN or infinite, or a
        side is not above 0.
    """
    (batch, count), channels = side.shape, texels.shape[1]
    out, lost = torch.empty(batch, count, channels, patch, patch), np.zeros(1, dtype=bool)
    flat = texels.numpy().reshape(-1)
    arrays = (
        # Whole lanes are read. The windows of a tiny image may be longer than all of its pyramid; of a larger one the
        # coarser levels, a third of the finest one's texels, are more than LANES.
        flat if len(flat) >= 16 * LANES else np.pad(flat, (0, LANES)),
        channels,
        offset.numpy(),
        np.ascontiguousarray(size.numpy()),
        np.ascontiguousarray(centre.detach().numpy(), dtype=np.float32),
        np.ascontiguousarray(side.detach().numpy(), dtype=np.float32),
        float(finest),
        out.numpy(),
        lost,
    )
    share(lambda first, last: _box_averages(*arrays, first, last), batch * count, seconds=6e-9 * out.numel())
    return None if lost[0] else out


@compile_
def _box_averages(texels, channels, offset, size, centre, side, finest, out, lost, first, last):
    count, patch = side.shape[1], out.shape[3]
    longest = _whole((int(2 * finest * patch) + 3) * channels)  # a window, its ends cut, and one texel behind it
    rows = np.zeros((_whole(patch), longest), np.float32)  # sums down: of each row of boxes, for each texel
    columns = np.empty((longest, _whole(patch)), np.float32)  # the same, turned
    boxes = np.zeros((LANES, LANES), np.float32)  # sums across: of some columns of boxes, for each row of them
    for number in range(first, last):
        image, which = number // count, number % count
        length = side[image, which]
        if not (
            math.isfinite(centre[image, which, 0]) and math.isfinite(centre[image, which, 1]) and 0 < length < np.inf
        ):
            lost[0] = True
            return
        start, height, width = offset[image], size[image, 0], size[image, 1]
        box = np.float64(length) / patch
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
            (centre[image, which, 0] - np.float64(length) / 2) / texel,
            (centre[image, which, 1] - np.float64(length) / 2) / texel,
            box / texel,
            rows,
            columns,
            boxes,
            out[image, which],
        )


@compile_
def _patch(texels, start, channels, width, bottom, right, x, y, box, rows, columns, boxes, out):
    """Average the boxes of a patch; (x, y) is its corner, `box` the side of one, in texels of the level at `start`."""
    patch = out.shape[1]
    if not (x < right and y < bottom and x + patch * box > 0 and y + patch * box > 0):
        out[:] = 0
        return
    left = int(max(0.0, math.floor(x)))
    length = (int(min(np.float64(width), math.ceil(x + patch * box) + 1.0)) - left) * channels
    stride, lowest = width * channels, math.ceil(bottom) - 1
    window = start + left * channels
    last_line = int(min(max(y + patch * box, 0.0), np.float64(lowest)))
    # The window begins earlier, so as not to end behind the last texel: by less than LANES, since what is wanted of it
    # lies in the texels.
    before = max(0, window + last_line * stride + _whole(length) - len(texels))
    window -= before

    for i in range(patch):
        first, last, share_of_first, share_of_last = _texels_of_box(y + i * box, box, bottom, lowest)
        if last < first:
            rows[i] = 0
            continue
        for k in range(0, _whole(length), LANES):
            weights = np.float32(1), share_of_first, share_of_last
            _weigh(texels, window + first * stride + k, stride, last - first, weights, rows, i * rows.shape[1] + k)

    for i in range(0, patch, LANES):
        for k in range(0, _whole(length), LANES):
            corner = i * rows.shape[1] + k
            turned = k * columns.shape[1] + i
            _turn(rows, corner, rows.shape[1], columns, turned, columns.shape[1], LANES, LANES)

    area = 1 / (255 * box * box)
    step = channels * columns.shape[1]
    for j in range(0, patch, LANES):
        across = min(LANES, patch - j)
        for c in range(channels):
            for i in range(0, patch, LANES):
                for number in range(across):
                    first, last, share_of_first, share_of_last = _texels_of_box(
                        x + (j + number) * box, box, right, width - 1
                    )
                    if last < first:
                        boxes[number] = 0
                        continue
                    weights = np.float32(area), np.float32(area * share_of_first), np.float32(area * share_of_last)
                    column = before + (first - left) * channels + c
                    _weigh(columns, column * columns.shape[1] + i, step, last - first, weights, boxes, number * LANES)
                _turn(boxes, 0, LANES, out, (c * patch + i) * patch + j, patch, min(LANES, patch - i), across)


@compile_
def _texels_of_box(start, box, end, furthest):
    """Return its first and last texel, what the first has too much, and what the last has; none if last < first."""
    start, stop = min(max(start, 0.0), end), min(max(start + box, 0.0), end)
    if stop <= start:
        return 1, 0, np.float32(0), np.float32(0)
    first = int(start)
    last = min(int(stop), furthest)
    return first, last, np.float32(start - first), np.float32(stop - last)


@compile_
def _whole(length):
    """Round up to whole lanes."""
    return (length + LANES - 1) // LANES * LANES


_LINE = ir.VectorType(ir.FloatType(), LANES)
_INDEX = ir.VectorType(ir.IntType(32), LANES)


@intrinsic
def _weigh(_, source, at, step, count, weights, out, to):
    """Write a line of LANES numbers: all * (line 0 + ... + line count - 1) - less * line 0 + more * line `count`.

    Line n begins at source[at + n * step], the result at out[to]; `weights` are (all, less, more); arrays are taken as
    flat. Up to 256 lines of uint8 are added up exactly; a box of a level is at most 2 * FINEST texels high.
    """
    whole = source.dtype == types.uint8

    def write(context, builder, signature, arguments):
        source, at, step, count, weights, out, to = arguments
        number = ir.IntType(8) if whole else ir.FloatType()
        summed = ir.VectorType(ir.IntType(16), LANES) if whole else _LINE

        def line(n: Any) -> Any:
            index = builder.add(at, builder.mul(n, step))
            value = builder.load(_pointer(context, builder, signature.args[0], source, index, number))
            value.align = 1 if whole else 4
            return builder.zext(value, summed) if whole else value

        def float_(value: Any) -> Any:
            return builder.uitofp(value, _LINE) if whole else value

        total = cgutils.alloca_once(builder, summed)
        builder.store(ir.Constant(summed, None), total)
        with cgutils.for_range(builder, count) as loop:
            add = builder.add if whole else builder.fadd
            builder.store(add(builder.load(total), line(loop.index)), total)
        everything, less, more = (_all_lanes(builder, weight) for weight in cgutils.unpack_tuple(builder, weights))
        fused = {"flags": ["contract"]}
        value = builder.fmul(float_(builder.load(total)), everything, **fused)
        value = builder.fsub(value, builder.fmul(float_(line(at.type(0))), less, **fused), **fused)
        value = builder.fadd(value, builder.fmul(float_(line(count)), more, **fused), **fused)
        pointer = _pointer(context, builder, signature.args[5], out, to, ir.FloatType())
        builder.store(value, pointer).align = 4
        return context.get_dummy_value()

    index = types.int64
    return types.void(source, index, index, index, types.UniTuple(types.float32, 3), out, index), write


@intrinsic
def _turn(_, source, at, step, out, to, out_step, height, width):
    """Write the transpose of a square of LANES x LANES numbers, of it `height` rows and `width` columns.

    Row n of the square begins at source[at + n * step], and row n of the result at out[to + n * out_step]; arrays are
    taken as flat.
    """

    def write(context, builder, signature, arguments):
        source, at, step, out, to, out_step, height, width = arguments
        rows = []
        for n in range(LANES):
            index = builder.add(at, builder.mul(step, step.type(n)))
            rows.append(builder.load(_pointer(context, builder, signature.args[0], source, index, ir.FloatType())))
            rows[-1].align = 4
        low, high = ([half + n // 2 + n % 2 * LANES for n in range(LANES)] for half in (0, LANES // 2))
        for _ in range(LANES.bit_length() - 1):  # as often as it takes for a number to change its row for its column
            rows = [
                builder.shuffle_vector(
                    rows[n // 2], rows[n // 2 + LANES // 2], ir.Constant(_INDEX, high if n % 2 else low)
                )
                for n in range(LANES)
            ]
        for n, row in enumerate(rows):
            with builder.if_then(builder.icmp_signed("<", height.type(n), height)):
                index = builder.add(to, builder.mul(out_step, out_step.type(n)))
                _store_first(context, builder, signature.args[3], out, index, row, width)
        return context.get_dummy_value()

    index = types.int64
    return types.void(source, index, index, out, index, index, index, index), write


def _store_first(context: Any, builder: Any, kind: Any, array: Any, index: Any, row: Any, width: Any) -> None:
    """Store the first `width` of a row's lanes: all at once, or in parts of 8, 4, 2 and 1."""
    with builder.if_else(builder.icmp_signed(">=", width, width.type(LANES))) as (all_of_them, some):
        with all_of_them:
            builder.store(row, _pointer(context, builder, kind, array, index, ir.FloatType())).align = 4
        with some:
            rest, to = cgutils.alloca_once(builder, row.type), cgutils.alloca_once(builder, index.type)
            builder.store(row, rest)
            builder.store(index, to)
            part = LANES // 2
            while part:
                bit = builder.and_(width, width.type(part))
                with builder.if_then(builder.icmp_signed("!=", bit, width.type(0))):
                    row, index = builder.load(rest), builder.load(to)
                    first = ir.Constant(ir.VectorType(ir.IntType(32), part), list(range(part)))
                    pointer = _pointer(context, builder, kind, array, index, ir.FloatType(), part)
                    builder.store(builder.shuffle_vector(row, row, first), pointer).align = 4
                    moved = ir.Constant(_INDEX, [(n + part) % LANES for n in range(LANES)])
                    builder.store(builder.shuffle_vector(row, row, moved), rest)
                    builder.store(builder.add(index, index.type(part)), to)
                part //= 2


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, number: Any, lanes: int = LANES) -> Any:
    """Return a pointer to `lanes` numbers of an array, the first of them at a flat index."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.PointerType(ir.VectorType(number, lanes)))


def _all_lanes(builder: Any, value: Any) -> Any:
    line = builder.insert_element(ir.Constant(_LINE, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(line, line, ir.Constant(_INDEX, [0] * LANES))
