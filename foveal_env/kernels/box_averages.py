"""Squares of images, averaged over boxes: the work of every glimpse.

A box is averaged over the texels of one level of a pyramid (`foveal_env.kernels.pyramid`): the first in which it is
less than 2 * FINEST texels wide. Each texel weighs as much as the area that it shares with the box. So a box is exact
in the image itself, and in a coarser level only the texels that its border cuts are wrong. Outside the image is 0.

Compiled, a patch is two weighted sums. The first adds up the texels of the window down, into one row for each row of
boxes. These rows are turned, and the second adds them up across. Both take LANES neighbours at once. LLVM does not
vectorise these short, unaligned sums by itself, so both steps are written as Numba's intrinsics. They are about twice
as fast as plain loops on a CPU with AVX-512.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from foveal_env.kernels.dispatch import dispatch
from foveal_env.kernels.pyramid import FINEST, levels
from foveal_env.kernels.threads import compile_, share

LANES = 16  # a power of two


def box_averages(
    texels: Tensor,
    offset: Tensor,
    size: Tensor,
    centre: Tensor,
    side: Tensor,
    patch: int,
    *,
    finest: float = FINEST,
    longest: int = 0,
) -> Tensor:
    """Cut squares out of images and average each over P x P boxes.

    Args:
        texels: [V, C] uint8, pyramids.
        offset: [B] int64, first texel of each pyramid.
        size: [B, 2] int64 (H, W) in px.
        centre: [B, K, 2] float32, centres (x, y) of K squares for each image in px.
        side: [B, K] float32, their sides in px, above 0.
        patch: boxes along a side, P.
        finest: texels across a box, at least, in every level but the first.
        longest: longest side of any image in px, or more; 0 if it is not known.

    Returns:
        [B, K, C, P, P] float32 in [0, 1], rows along y, without a gradient. On another device than the CPU, an
        impossible square is NaN: to look at its numbers, the device would have to be waited for at every glimpse.

    Raises:
        ValueError: on the CPU, a centre or a side is NaN or infinite, or a side is not above 0.
    """
    form = dispatch(texels, compiled=box_averages_compiled, in_tensors=box_averages_in_tensors)
    return form(texels, offset, size, centre, side, patch, finest=finest, longest=longest)


def check_squares(centre: Tensor, side: Tensor) -> None:
    """Raise a ValueError that tells which centres or sides of squares are impossible."""
    if not torch.isfinite(centre).all():
        raise ValueError(f"the centre of a patch must be finite, got {centre[~torch.isfinite(centre)].tolist()[:4]}")
    wrong = ~(torch.isfinite(side) & (side > 0))
    if wrong.any():
        raise ValueError(f"the side of a patch must be above 0 and finite, got {side[wrong].tolist()[:4]}")


@torch.no_grad()
def box_averages_in_tensors(
    texels: Tensor,
    offset: Tensor,
    size: Tensor,
    centre: Tensor,
    side: Tensor,
    patch: int,
    *,
    finest: float = FINEST,
    longest: int = 0,
) -> Tensor:
    """Compute `box_averages` on any device: each patch is rows x window of texels x columns."""
    if side.is_cpu:
        check_squares(centre, side)
    is_possible = torch.isfinite(centre).all(dim=-1) & torch.isfinite(side) & (side > 0)
    centre, side = torch.where(is_possible[..., None], centre, 0.0), torch.where(is_possible, side, 1.0)
    starts, sizes, _ = levels(size, longest)
    box = side / patch
    level = (torch.log2(box / finest)).floor().clamp(min=0).long()  # [B, K]
    level = torch.minimum(level, (sizes.amax(dim=2) > 1).sum(dim=1, keepdim=True))
    texel = torch.exp2(level.double())  # in px
    start = offset[:, None] + starts.gather(1, level)
    height, width = (sizes[..., axis].gather(1, level)[..., None] for axis in (0, 1))  # [B, K, 1]

    corner = (centre - side[..., None] / 2).double() / texel[..., None]
    steps = (box.double() / texel)[..., None, None] * torch.arange(patch + 1, device=side.device)
    end = size.flip(1).double()[:, None] / texel[..., None]
    borders = torch.minimum((corner[..., None] + steps).clamp(min=0), end[..., None])  # [B, K, (x, y), P + 1] in texels
    first = borders[..., 0].floor().long()
    place = torch.arange(int(2 * finest * patch) + 2, device=side.device)  # of a window, F x F texels
    columns, rows = _weights(borders, first, place).unbind(dim=2)  # [B, K, P, F]

    x, y = (first[..., axis, None] + place for axis in (0, 1))
    line = start[..., None] + torch.minimum(y, height - 1) * width
    window = texels[line[..., None] + torch.minimum(x, width - 1)[..., None, :]].float()  # [B, K, F, F, C]
    sums = torch.einsum("bkpf,bkfgc,bkqg->bkcpq", rows, window, columns)
    area = torch.where(is_possible, (255 * (box / texel) ** 2).float(), torch.nan)
    return sums / area[..., None, None, None]


def _weights(borders: Tensor, first: Tensor, place: Tensor) -> Tensor:
    """Return the length that each box shares with each texel of the window, [B, K, (x, y), P, F] float32."""
    texel = (first[..., None] + place)[..., None, :]
    shares = torch.minimum(borders[..., 1:, None], texel + 1) - torch.maximum(borders[..., :-1, None], texel)
    return shares.clamp(min=0).float()


def box_averages_compiled(
    texels: Tensor,
    offset: Tensor,
    size: Tensor,
    centre: Tensor,
    side: Tensor,
    patch: int,
    *,
    finest: float = FINEST,
    longest: int = 0,
) -> Tensor:
    """Compute `box_averages` on the CPU."""
    (batch, count), channels = side.shape, texels.shape[1]
    out = torch.empty(batch, count, channels, patch, patch, dtype=torch.float32)
    impossible = np.zeros(1, dtype=bool)
    flat = texels.numpy().reshape(-1)
    arrays = (
        # Whole lanes are read. The windows of a tiny image may be longer than all of its pyramid. Of a larger one the
        # coarser levels, a third of the finest one's texels, are more than LANES.
        flat if len(flat) >= 16 * LANES else np.pad(flat, (0, LANES)),
        channels,
        offset.numpy(),
        np.ascontiguousarray(size.numpy()),
        np.ascontiguousarray(centre.detach().numpy(), dtype=np.float32),
        np.ascontiguousarray(side.detach().numpy(), dtype=np.float32),
        float(finest),
        out.numpy(),
        impossible,
    )
    share(lambda first, last: _box_averages(*arrays, first, last), batch * count, seconds=6e-9 * out.numel())
    if impossible[0]:
        check_squares(centre, side)
    return out


@compile_
def _box_averages(texels, channels, offset, size, centre, side, finest, out, impossible, first, last):
    count, patch = side.shape[1], out.shape[3]
    longest = _whole((int(2 * finest * patch) + 3) * channels)  # a window, its ends cut, and one texel behind it
    rows = np.zeros((_whole(patch), longest), np.float32)  # sums down: of each row of boxes, for each texel
    columns = np.empty((longest, _whole(patch)), np.float32)  # the same, turned
    boxes = np.zeros((LANES, LANES), np.float32)  # sums across: of some columns of boxes, for each row of them
    for number in range(first, last):
        image, which = number // count, number % count
        length = np.float64(side[image, which])
        x, y = centre[image, which, 0], centre[image, which, 1]
        if not (math.isfinite(x) and math.isfinite(y) and 0 < length < np.inf):
            impossible[0] = True
            return
        start, height, width = offset[image], size[image, 0], size[image, 1]
        box = length / patch
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
            (x - length / 2) / texel,
            (y - length / 2) / texel,
            box / texel,
            rows,
            columns,
            boxes,
            out[image, which],
        )


@compile_
def _patch(texels, start, channels, width, bottom, right, x, y, box, rows, columns, boxes, out):
    """Average the boxes of a patch.

    (x, y) is the corner of the patch, (right, bottom) the end of the image and `box` the side of a box, in texels of
    the level. The level begins at texels[start]. `rows`, `columns` and `boxes` are room to work in.
    """
    patch = out.shape[1]
    if not (x < right and y < bottom and x + patch * box > 0 and y + patch * box > 0):
        out[:] = 0
        return
    # Numba's math.floor and math.ceil return whole numbers of 64 bits, in which a huge patch does not end.
    left = int(max(0.0, np.floor(x)))
    length = (int(min(np.float64(width), np.ceil(x + patch * box) + 1.0)) - left) * channels
    stride, lowest = width * channels, math.ceil(bottom) - 1
    window = start + left * channels
    last_line = int(min(max(y + patch * box, 0.0), np.float64(lowest)))
    # The window begins earlier if it would end behind the last texel. That is by less than LANES, because the part of
    # it that counts lies in the texels.
    before = max(0, window + last_line * stride + _whole(length) - len(texels))
    window -= before

    for i in range(patch):
        first, last, too_much, part = _texels_of_box(y + i * box, box, bottom, lowest)
        if last < first:
            rows[i] = 0
            continue
        for k in range(0, _whole(length), LANES):
            weights = np.float32(1), too_much, part
            _weigh(texels, window + first * stride + k, stride, last - first, weights, rows, i * rows.shape[1] + k)
    for i in range(0, patch, LANES):
        for k in range(0, _whole(length), LANES):
            corner = i * rows.shape[1] + k
            turned = k * columns.shape[1] + i
            _turn(rows, corner, rows.shape[1], columns, turned, columns.shape[1], LANES, LANES)
    for c in range(channels):
        _sum_across(columns, before + c - left * channels, channels, x, box, right, width - 1, boxes, out, c)


@compile_
def _sum_across(columns, corner, channels, x, box, right, furthest, boxes, out, channel):
    """Average the boxes of one channel of a patch; the first texel of the level is at columns[corner]."""
    patch, wide = out.shape[1], columns.shape[1]
    area = 1 / (255 * box * box)
    for j in range(0, patch, LANES):
        across = min(LANES, patch - j)
        for i in range(0, patch, LANES):
            for number in range(across):
                first, last, too_much, part = _texels_of_box(x + (j + number) * box, box, right, furthest)
                if last < first:
                    boxes[number] = 0
                    continue
                weights = np.float32(area), np.float32(area * too_much), np.float32(area * part)
                at = (corner + first * channels) * wide + i
                _weigh(columns, at, channels * wide, last - first, weights, boxes, number * LANES)
            _turn(boxes, 0, LANES, out, (channel * patch + i) * patch + j, patch, min(LANES, patch - i), across)


@compile_
def _texels_of_box(start, box, end, furthest):
    """Return what to add up: (first, last, too_much, part), or last < first if the box lies outside.

    The sum is that of the texels first, ..., last - 1, less `too_much` of the first, and `part` of the last.
    """
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


intrinsic_ = cast(Callable[[Callable], Callable[..., None]], intrinsic)  # a call lacks the first argument, the typing

_LINE = ir.VectorType(ir.FloatType(), LANES)
_INDEX = ir.VectorType(ir.IntType(32), LANES)


@intrinsic_
def _weigh(_, source, at, step, count, weights, out, to):
    """Write a line of LANES numbers: all * (line 0 + ... + line count - 1) - less * line 0 + more * line `count`.

    Line n begins at source[at + n * step] and the result at out[to], both arrays taken as flat. `weights` are (all,
    less, more). Up to 256 lines of uint8 are added up exactly; a box is at most 2 * FINEST texels high.
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


@intrinsic_
def _turn(_, source, at, step, out, to, out_step, height, width):
    """Transpose a square of LANES x LANES numbers, and write the first `height` rows and `width` columns of the result.

    Row n of the square begins at source[at + n * step], row n of the result at out[to + n * out_step], both arrays
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
    with builder.if_else(builder.icmp_signed(">=", width, width.type(LANES))) as (whole, part_of_it):
        with whole:
            builder.store(row, _pointer(context, builder, kind, array, index, ir.FloatType())).align = 4
        with part_of_it:
            rest, to = cgutils.alloca_once(builder, row.type), cgutils.alloca_once(builder, index.type)
            builder.store(row, rest)
            builder.store(index, to)
            for count in (LANES >> n for n in range(1, LANES.bit_length())):
                bit = builder.and_(width, width.type(count))
                with builder.if_then(builder.icmp_signed("!=", bit, width.type(0))):
                    _store_next(context, builder, kind, array, to, rest, count)


def _store_next(context: Any, builder: Any, kind: Any, array: Any, to: Any, rest: Any, count: int) -> None:
    """Store the first `count` lanes of `rest` at array[to], and advance both."""
    row, index = builder.load(rest), builder.load(to)
    first = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count)))
    pointer = _pointer(context, builder, kind, array, index, ir.FloatType(), count)
    builder.store(builder.shuffle_vector(row, row, first), pointer).align = 4
    behind = ir.Constant(_INDEX, [(n + count) % LANES for n in range(LANES)])
    builder.store(builder.shuffle_vector(row, row, behind), rest)
    builder.store(builder.add(index, index.type(count)), to)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, number: Any, lanes: int = LANES) -> Any:
    """Return a pointer to `lanes` numbers of an array, the first of them at a flat index."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.PointerType(ir.VectorType(number, lanes)))


def _all_lanes(builder: Any, value: Any) -> Any:
    """Return a vector whose every lane is a value."""
    line = builder.insert_element(ir.Constant(_LINE, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(line, line, ir.Constant(_INDEX, [0] * LANES))
