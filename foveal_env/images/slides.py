"""Gigapixel pictures that are looked at without being loaded: tiled, pyramidal TIFF files and their relatives.

A glimpse reads only the tiles under its patches, each from the level of the file that fits its zoom, through a bounded
cache. What is cut out of them is a small image like any other, see `foveal_env.images`, prepared for that glimpse. The
smallest level is kept in memory and serves the widest patches; where it is large, it is read once, band by band, and
what is kept is a reduction: of the last 16 slides at most 134 MB each, of usual ones a few.

Tiles are read with tifffile: .svs, OME-TIFF, BigTIFF and plain tiled TIFF. On two slides of different compression it
took 0.4 and 2.2 ms a tile, OpenSlide 1.7 and 7.5 ms and pyvips 1.5 ms and an error for a region of the same size (with
a script that is not kept).
"""

import logging
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foveal_env.images.batch import Images
from foveal_env.kernels.pyramid import FINEST
from foveal_env.kernels.threads import Threads

SUFFIXES = (".btf", ".ome.tif", ".ome.tiff", ".svs", ".tf8")  # as .tif and .tiff: slides where they are tiled
OVERVIEW = 2**25  # px of the overview, at most: it is kept in memory, for the last few slides
BAND = 1024  # px of the smallest level that are reduced at a time, in rows
TILE = 2**22  # px of a tile, at most
UNASSOCIATED = 2  # TIFF's number for an extra sample that says how opaque a pixel is, whose colour knows nothing of it
STEP = 8  # largest ratio of the widths of two neighbouring levels
CACHE = 128 * 2**20  # bytes of decoded tiles that are kept, for all slides of the process


class OtherKind(ValueError):
    """A sound file of a kind that is not looked at tile by tile; another reader may know it."""


class Slide:
    """One tiled file; its size in px is that of the finest level.

    Args:
        path: the file.
        channels: 3 for colour, 1 for grey.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: tifffile is not installed.
        ValueError: the file cannot be read, is cut off, lacks a level or all tiles of one, is a stack of planes, or its
            smallest level is more than 64 times too large for an overview. A tile that cannot be decoded is found when
            it is looked at.
        OtherKind: it is a ValueError as well: the file is not tiled, or its pixels are of a kind that is not known.
    """

    def __init__(self, path: str | os.PathLike, *, channels: int = 3):
        self.path, self.channels = str(path), channels
        pages, stamp = _pages(self.path)
        self._levels = [
            _Level(self.path, page, channels, (self.path, stamp, channels, n)) for n, page in enumerate(pages)
        ]
        self.size = self._levels[0].size
        for finer, coarser in zip(self._levels, self._levels[1:], strict=False):
            coarser.scale = (coarser.size[0] / self.size[0], coarser.size[1] / self.size[1])
            if finer.size[0] > STEP * coarser.size[0]:
                raise ValueError(
                    f"{self.path} lacks a level between {finer.size[1]} x {finer.size[0]} and {coarser.size[1]} x "
                    f"{coarser.size[0]} px: each may be at most {STEP} times as wide as the next"
                )
        smallest = self._levels[-1].size
        self._shrink = 1  # how many texels of the smallest level make one of the overview, along a side
        while math.prod(-(-length // self._shrink) for length in smallest) > OVERVIEW:
            self._shrink *= 2
        if self._shrink > STEP:
            raise ValueError(
                f"{self.path} has {self.size[1]} x {self.size[0]} px and no level of at most {OVERVIEW * STEP**2:,} "
                f"px; the smallest has {smallest[1]} x {smallest[0]}. Write it again as a pyramid, for instance with "
                "`vips tiffsave IN OUT --tile --pyramid --bigtiff`"
            )
        scale = self._levels[-1].scale
        self._overview_scale = (scale[0] / self._shrink, scale[1] / self._shrink)

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
        """Return which level fits boxes that are `box` px wide in the finest one: texels no coarser than a quarter.

        The number after that of the last level stands for the overview.
        """
        scales = [*[level.scale[0] for level in self._levels], self._overview_scale[0]]
        fitting = [number for number, scale in enumerate(scales) if box * scale >= FINEST]
        return fitting[-1] if fitting else 0 if len(self._levels) > 1 or self._shrink > 1 else 1

    def pixels(self) -> Tensor:
        """Return the overview, [C, H, W] uint8."""
        return self.overview.pixels(0)

    def box_averages(self, centre: Tensor, side: Tensor, patch: int) -> Tensor:
        """Average squares as `Images.box_averages` does; centre [K, 2], side [K] in px; returns [K, C, P, P]."""
        chosen = torch.tensor([self.level(box) for box in (side / patch).tolist()])
        out = torch.empty(len(side), self.channels, patch, patch)
        widest = chosen == len(self._levels)
        images, centres, sides = [], [], []
        if widest.any():
            scale = torch.tensor(self._overview_scale)
            found = self.overview.box_averages(
                (centre[widest] * scale.flip(0))[None], (side[widest] * scale[0])[None], patch
            )
            out[widest] = found[0]
        fine = (~widest).nonzero().flatten().tolist()
        if not fine:
            return out
        for number in fine:
            level = self._levels[chosen[number]]
            x, y = (centre[number].double() * torch.tensor(level.scale[::-1], dtype=torch.float64)).tolist()
            half = side[number].item() * level.scale[0] / 2
            left, top = max(0, int(x - half)), max(0, int(y - half))
            right, bottom = min(level.size[1], int(x + half) + 2), min(level.size[0], int(y + half) + 2)
            if right <= left or bottom <= top:  # all of it lies outside
                left, top, right, bottom = 0, 0, 1, 1
                x, y = -10.0 * half - 10, -10.0 * half - 10
            pixels = level.window(left, top, right - left, bottom - top)
            images.append(torch.from_numpy(pixels).permute(2, 0, 1))
            centres.append((x - left, y - top))
            sides.append(2 * half)
        prepared = Images.prepare(images)
        out[fine] = prepared.box_averages(torch.tensor(centres)[:, None], torch.tensor(sides)[:, None], patch)[:, 0]
        return out


class _Level:
    """One level of a file: reads windows of it, tile by tile."""

    def __init__(self, path: str, page: Any, channels: int, key: tuple):
        self.path, self.page, self.channels, self.key = path, page, channels, key  # what its tiles are known by
        self.size = (int(page.imagelength), int(page.imagewidth))
        self.scale = (1.0, 1.0)  # texels in a px of the finest level, (y, x)

    def window(self, left: int, top: int, width: int, height: int, *, keep: bool = True) -> np.ndarray:
        """Return [height, width, C] uint8; the window lies inside the level."""
        page = self.page
        tall, wide = int(page.tilelength), int(page.tilewidth)
        across = -(-self.size[1] // wide)
        out = np.zeros((height, width, self.channels), np.uint8)
        rows = range(top // tall, -(-(top + height) // tall))
        columns = range(left // wide, -(-(left + width) // wide))
        places = [(row, column) for row in rows for column in columns]
        tiles = _tiles(self, [row * across + column for row, column in places], keep=keep)
        for (row, column), tile in zip(places, tiles, strict=True):
            y, x = row * tall - top, column * wide - left
            part = tile[max(0, -y) : height - y, max(0, -x) : width - x]
            out[max(0, y) : max(0, y) + part.shape[0], max(0, x) : max(0, x) + part.shape[1]] = part
        return out

    def read(self, number: int) -> np.ndarray:
        """Decode one tile, [h, w, C] uint8; one that the file leaves out is 0."""
        page = self.page
        size = page.databytecounts[number]
        blank = np.zeros((page.tilelength, page.tilewidth, self.channels), np.uint8)
        if not size:
            return blank
        try:
            with open(self.path, "rb") as file:
                file.seek(page.dataoffsets[number])
                data = file.read(size)
            if len(data) < size:
                raise ValueError(f"it ends {size - len(data)} bytes early")
            tile = page.decode(data, number, jpegtables=page.jpegtables)[0]
        except FileNotFoundError as error:
            raise FileNotFoundError(f"no such picture: {self.path}") from error
        except Exception as error:  # whatever a codec raises
            raise ValueError(f"{self.path} has a tile that cannot be read: {error}") from error
        return blank if tile is None else _as_bytes(tile[0], self.channels, clear=UNASSOCIATED in page.extrasamples)


_cache: OrderedDict[tuple, np.ndarray] = OrderedDict()
_lock = threading.Lock()
_readers = Threads("foveal_env.images.slides")


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _tiles(level: _Level, numbers: Sequence[int], *, keep: bool) -> list[np.ndarray]:
    """Return tiles by number, from the cache or the file; the oldest leave the cache."""
    keys = [(level.key, number) for number in numbers]
    with _lock:
        found = {key: _cache[key] for key in keys if key in _cache}
        for key in found:
            _cache.move_to_end(key)
    missing = [key for key in keys if key not in found]
    read: Callable[[tuple], np.ndarray] = lambda key: level.read(key[1])  # noqa: E731
    if len(missing) > 1:
        found.update(zip(missing, _readers.map(read, missing), strict=True))
    else:
        found.update((key, read(key)) for key in missing)
    if keep:
        with _lock:
            _cache.update((key, found[key]) for key in missing)
            held = sum(tile.nbytes for tile in _cache.values())
            while held > CACHE:
                held -= _cache.popitem(last=False)[1].nbytes
    return [found[key] for key in keys]


def is_slide(path: str | os.PathLike) -> bool:
    """Return whether a file is one for `Slide`: by its name, or a TIFF that is tiled."""
    name = str(path).lower()
    if not name.endswith((*SUFFIXES, ".tif", ".tiff")):
        return False
    try:
        import tifffile

        with _quiet(), tifffile.TiffFile(path) as file:
            return bool(file.pages[0].is_tiled)
    except Exception:  # not installed, or no TIFF: Pillow reads it or says what is wrong
        return name.endswith(SUFFIXES)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what tifffile logs of a damaged file from the screen: one error names the file."""
    logger = logging.getLogger("tifffile")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _pages(path: str) -> tuple[list[Any], tuple[int, int]]:
    """Return the pages of the levels, finest first, and what tells this file from another at the same place."""
    try:
        import tifffile
    except ImportError as error:
        raise ImportError(f"reading {path} needs tifffile and imagecodecs: pip install 'foveal-env[wsi]'") from error
    try:
        found = os.stat(path)
        with _quiet(), tifffile.TiffFile(path) as file:
            axes = file.series[0].axes if file.is_ome else "YX"
            pages = [level.keyframe.aspage() for level in file.series[0].levels]
            faults = [_fault(page, found.st_size) for page in pages]
            for page in pages:
                page.jpegtables, page.decode  # noqa: B018, they are read while it is open
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such picture: {path}") from error
    except Exception as error:  # whatever a damaged file makes of the reader
        raise ValueError(f"{path} is not a picture that can be read: {error}") from error
    if set(axes) - set("YXS"):
        raise ValueError(f"{path} is not a slide that can be read: it is a stack of planes (axes {axes})")
    for kind, fault in filter(None, faults):
        raise kind(f"{path} is not a slide that can be read: {fault}")
    pages.sort(key=lambda page: -page.imagelength * page.imagewidth)
    return pages, (found.st_mtime_ns, found.st_size)


def _fault(page: Any, file_size: int) -> tuple[type[ValueError], str] | None:
    """Say why a level cannot be looked at, and whether that is its kind, or return None."""
    kind = _other_kind(page)
    damage = None if kind else _damage(page, file_size)
    return (OtherKind, kind) if kind else (ValueError, damage) if damage else None


def _other_kind(page: Any) -> str | None:
    if not page.is_tiled or page.planarconfig != 1:
        return "its levels must be tiled, with interleaved channels"
    if page.bitspersample not in (8, 16) or page.dtype not in (np.uint8, np.uint16):
        return f"its channels must have 8 or 16 bits, got {page.bitspersample} ({page.dtype})"
    if int(page.photometric) not in (1, 2, 6) or page.samplesperpixel > 4:  # black is 0, RGB, YCbCr
        return f"it must be grey, with black as 0, or of colour, got {page.samplesperpixel} of kind {page.photometric}"
    turned = page.tags.get("Orientation")
    if turned is not None and turned.value != 1:
        return f"it must be upright, got orientation {turned.value}"
    return None


def _damage(page: Any, file_size: int) -> str | None:
    if not 0 < page.tilewidth * page.tilelength <= TILE:
        return f"its tiles have {page.tilewidth} x {page.tilelength} px; up to {TILE:,} px can be read"
    tiles = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    if tiles < 1 or min(len(page.dataoffsets), len(page.databytecounts)) < tiles:
        return f"it lists {len(page.dataoffsets)} of {tiles} tiles"
    if not any(page.databytecounts):
        return f"all tiles of its level of {page.imagewidth} x {page.imagelength} px are empty"
    end = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=False)))
    if end > file_size:
        return f"it ends {end - file_size} bytes early"
    return None


@lru_cache(maxsize=16)
def _open(path: str, stamp: tuple[int, int], channels: int) -> Slide:
    return Slide(path, channels=channels)


def open_slide(path: str | os.PathLike, channels: int) -> Slide:
    """Return a slide, the same one for the same file: its overview is read once. Raises what `Slide` does."""
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such picture: {path}") from error
    return _open(str(path), (found.st_mtime_ns, found.st_size), channels)


def _as_bytes(tile: np.ndarray, channels: int, *, clear: bool) -> np.ndarray:
    """Return a tile [h, w, S] of 8 or 16 bits as [h, w, C] uint8; what is transparent (`clear`) is laid on black."""
    if tile.dtype == np.uint16:
        tile = (tile // 257).astype(np.uint8)
    if clear and tile.shape[-1] in (2, 4):
        tile = (tile[..., :-1] * (tile[..., -1:] / np.float32(255)) + 0.5).astype(np.uint8)
    tile = tile[..., :3] if tile.shape[-1] >= 3 else tile[..., :1]
    if channels == 1 and tile.shape[-1] == 3:  # the weights of ITU-R 601, as Pillow's
        return np.round(tile @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
    return np.ascontiguousarray(np.broadcast_to(tile, (*tile.shape[:2], channels)))
