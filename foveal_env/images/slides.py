"""Gigapixel images that are looked at without being loaded: tiled, pyramidal TIFF files and their relatives.

A glimpse reads only the tiles under its patches, from the level of the file that fits its zoom, through a bounded
cache. Their pixels make a small image, which is prepared like any other for that glimpse. The smallest level is the
overview, which serves the widest patches and stays in memory. A large smallest level is read once, band by band, and
only its reduction is kept: at most 134 MB for each of the last 16 slides, and a few MB for a usual one.
"""

import math
import os
from functools import cached_property, lru_cache

import torch
from torch import Tensor, nn

from foveal_env.images.batch import Images
from foveal_env.images.tiff import Level, read_levels, stamp
from foveal_env.kernels.pyramid import FINEST

OVERVIEW = 2**25  # px of the overview, at most: it stays in memory, for the last few slides
BAND = 1024  # px of the smallest level that are reduced at a time, in rows
STEP = 8  # largest ratio of the widths of two neighbouring levels


class Slide:
    """One tiled file; `size` is (H, W) of the finest level, in px.

    Args:
        path: the file.
        channels: 3 for colour, 1 for grey.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: tifffile is not installed.
        ValueError: the file cannot be read, is cut off, lacks a level or all tiles of one, or is a stack of planes; or
            its smallest level is more than 64 times too large for an overview. A tile that cannot be decoded is an
            error only when a glimpse reads it.
        OtherKind: it is a ValueError too: the file is not tiled, or its pixels are of a kind that is not known.
    """

    def __init__(self, path: str | os.PathLike, *, channels: int = 3):
        self.path, self.channels = str(path), channels
        self._levels = read_levels(self.path, channels)
        self.size = self._levels[0].size
        self._check_steps()
        self._shrink = self._shrink_of_overview()
        scale = self._levels[-1].scale
        self._overview_scale = (scale[0] / self._shrink, scale[1] / self._shrink)

    def _check_steps(self) -> None:
        for finer, coarser in zip(self._levels, self._levels[1:], strict=False):
            if finer.size[0] > STEP * coarser.size[0]:
                raise ValueError(
                    f"{self.path} lacks a level between {finer.size[1]} x {finer.size[0]} and {coarser.size[1]} x "
                    f"{coarser.size[0]} px: each may be at most {STEP} times as wide as the next"
                )

    def _shrink_of_overview(self) -> int:
        """Return how many texels of the smallest level make one of the overview, along a side."""
        smallest, shrink = self._levels[-1].size, 1
        while math.prod(math.ceil(length / shrink) for length in smallest) > OVERVIEW:
            shrink *= 2
        if shrink > STEP:
            raise ValueError(
                f"{self.path} has {self.size[1]} x {self.size[0]} px and no level of at most {OVERVIEW * STEP**2:,} "
                f"px; the smallest has {smallest[1]} x {smallest[0]}. Write it again as a pyramid, for instance with "
                "`vips tiffsave IN OUT --tile --pyramid --bigtiff`"
            )
        return shrink

    @cached_property
    def overview(self) -> Images:
        """The smallest level, or a reduction of it, prepared, as a batch of one."""
        level, bands = self._levels[-1], []
        tall = level.size[0] if self._shrink == 1 else BAND
        for top in range(0, level.size[0], tall):
            height = min(tall, level.size[0] - top)
            band = torch.from_numpy(level.window(0, top, level.size[1], height, keep=False)).permute(2, 0, 1)
            if self._shrink > 1:
                mean = nn.functional.avg_pool2d(band.float(), self._shrink, ceil_mode=True, count_include_pad=False)
                band = mean.round_().to(torch.uint8)
            bands.append(band)
        return Images.prepare([torch.cat(bands, dim=1)])

    def level(self, box: float) -> int:
        """Return the number of the coarsest level that has FINEST texels across a box, or else of the finest level.

        Args:
            box: side of the box in px of the finest level.

        Returns:
            Index of a level, finest first; the number of levels stands for the overview.
        """
        scales = [*[level.scale[0] for level in self._levels], self._overview_scale[0]]
        fitting = [number for number, scale in enumerate(scales) if box * scale >= FINEST]
        if fitting:
            return fitting[-1]
        return 0 if len(self._levels) > 1 or self._shrink > 1 else 1  # a single small level is the overview itself

    def pixels(self) -> Tensor:
        """Return the overview, [C, H, W] uint8."""
        return self.overview.pixels(0)

    def box_averages(self, centre: Tensor, side: Tensor, patch: int) -> Tensor:
        """Average squares as `Images.box_averages` does.

        Args:
            centre: [K, 2] float32, centres (x, y) of the squares in px.
            side: [K] float32, their sides in px.
            patch: boxes along a side, P.

        Returns:
            [K, C, P, P] float32 in [0, 1].
        """
        number = torch.tensor([self.level(box) for box in (side / patch).tolist()])
        out = torch.empty(len(side), self.channels, patch, patch, dtype=torch.float32)
        wide = number == len(self._levels)
        if wide.any():
            scale = torch.tensor(self._overview_scale)
            squares = (centre[wide] * scale.flip(0))[None], (side[wide] * scale[0])[None]
            out[wide] = self.overview.box_averages(*squares, patch)[0]
        if not wide.all():
            squares = zip(number[~wide].tolist(), centre[~wide], side[~wide].tolist(), strict=True)
            windows = [_cut_out(self._levels[number], middle, length) for number, middle, length in squares]
            images, centres, sides = zip(*windows, strict=True)
            inside = torch.tensor(centres)[:, None], torch.tensor(sides)[:, None]
            out[~wide] = Images.prepare(images).box_averages(*inside, patch)[:, 0]
        return out


def _cut_out(level: Level, centre: Tensor, side: float) -> tuple[Tensor, tuple[float, float], float]:
    """Cut the window around a square out of a level.

    Args:
        level: the level.
        centre: [2] float32 (x, y) in px of the finest level.
        side: its side in px of the finest level.

    Returns:
        The window [C, h, w] uint8, and in it the centre (x, y) and the side of the square, in texels.
    """
    x, y = (centre.double() * torch.tensor(level.scale[::-1], dtype=torch.float64)).tolist()
    half = side * level.scale[0] / 2
    left, top = max(0, int(x - half)), max(0, int(y - half))
    right, bottom = min(level.size[1], int(x + half) + 2), min(level.size[0], int(y + half) + 2)
    if right <= left or bottom <= top:  # all of it lies outside
        left, top, right, bottom = 0, 0, 1, 1
        x, y = -10.0 * half - 10, -10.0 * half - 10
    pixels = level.window(left, top, right - left, bottom - top)
    return torch.from_numpy(pixels).permute(2, 0, 1), (x - left, y - top), 2 * half


@lru_cache(maxsize=16)
def _open(path: str, mark: tuple[int, int], channels: int) -> Slide:
    return Slide(path, channels=channels)


def open_slide(path: str | os.PathLike, channels: int) -> Slide:
    """Return a slide, the same one for the same file: its overview is read once. Raises what `Slide` does."""
    return _open(str(path), stamp(path), channels)
