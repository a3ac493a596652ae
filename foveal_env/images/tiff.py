"""Tiled TIFF files: their levels, and windows of them, of which only the tiles under a window are read and decoded.

Tiles are read with tifffile: .svs, OME-TIFF, BigTIFF and plain tiled TIFF.
"""

import io
import logging
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from foveal_env.images.jpeg import size_of_jpeg
from foveal_env.kernels.threads import Threads

SUFFIXES = (".btf", ".ome.tif", ".ome.tiff", ".svs", ".tf8")  # as .tif and .tiff: slides if they are tiled
TILE = 2**22  # px of a tile, at most
SIZED = (
    1,
    5,
    8,
    32773,
    32946,
    34925,
    34926,
    50000,
)  # compressions of plain bytes: what comes out is as large as a tile
JPEG = 7
IMAGES = (JPEG, 33003, 33004, 33005, 34712, 34927, 34933, 50001)  # tiles are images, which tell their size themselves
UNASSOCIATED = 2  # TIFF's number for an alpha channel that the colours are not multiplied with
CACHE = 128 * 2**20  # bytes of decoded tiles that are kept, for all slides of the process


class OtherKind(ValueError):
    """A sound file of a kind that is not looked at tile by tile; another reader may know it."""


class Level:
    """One level of a file.

    Args:
        path: the file.
        page: tifffile's page of the level.
        finest: (H, W) of the finest level, in px.
        channels: 3 for colour, 1 for grey.
        key: name of the level, different from that of any other level of any file.
    """

    def __init__(self, path: str, page: Any, finest: tuple[int, int], channels: int, key: Hashable):
        self.path, self.page, self.channels, self.key = path, page, channels, key
        self.size = (int(page.imagelength), int(page.imagewidth))
        self.scale = (self.size[0] / finest[0], self.size[1] / finest[1])  # texels in a px of the finest level, (y, x)

    def window(self, left: int, top: int, width: int, height: int, *, keep: bool = True) -> np.ndarray:
        """Return a window that lies inside the level, [height, width, C] uint8.

        Args:
            left, top: texel of its top-left corner.
            width, height: its sides in texels.
            keep: whether its tiles stay in the cache.
        """
        tall, wide = int(self.page.tilelength), int(self.page.tilewidth)
        across = -(-self.size[1] // wide)
        out = np.zeros((height, width, self.channels), np.uint8)
        rows = range(top // tall, -(-(top + height) // tall))
        columns = range(left // wide, -(-(left + width) // wide))
        places = [(row, column) for row in rows for column in columns]
        keys = [(self.key, row * across + column) for row, column in places]
        tiles = tile_cache.get(keys, lambda key: self.read(key[1]), keep=keep)
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
            _check_tile(data, int(page.compression))
            tile = page.decode(data, number, jpegtables=page.jpegtables)[0]
        except FileNotFoundError as error:
            raise FileNotFoundError(f"no such image: {self.path}") from error
        except Exception as error:  # whatever a codec raises
            raise ValueError(f"{self.path} has a tile that cannot be read: {error}") from error
        alpha = UNASSOCIATED in page.extrasamples or (page.samplesperpixel == 4 and not page.extrasamples)
        return blank if tile is None else _to_bytes(tile[0], self.channels, alpha=alpha)


class TileCache:
    """The tiles that were used last, for all threads; `size` is what they take in bytes, at most `limit`."""

    def __init__(self, limit: int):
        self.limit, self.size = limit, 0
        self._tiles: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self._readers = Threads("foveal_env.images.tiff")

    def get(self, keys: Sequence[Any], read: Callable[[Any], np.ndarray], *, keep: bool) -> list[np.ndarray]:
        """Return tiles by key; those that are not here are read by several threads, and kept if `keep`."""
        with self._lock:
            tiles = {key: self._tiles[key] for key in keys if key in self._tiles}
            for key in tiles:
                self._tiles.move_to_end(key)
        missing = [key for key in keys if key not in tiles]
        read_all = self._readers.map if len(missing) > 1 else map
        new = dict(zip(missing, read_all(read, missing), strict=True))
        if keep:
            self._keep(new)
        tiles |= new
        return [tiles[key] for key in keys]

    def _keep(self, tiles: dict[Any, np.ndarray]) -> None:
        with self._lock:
            self._tiles.update(tiles)
            self.size = sum(tile.nbytes for tile in self._tiles.values())
            while self.size > self.limit:
                self.size -= self._tiles.popitem(last=False)[1].nbytes

    def unlock(self) -> None:
        """Forget who holds the lock: after a fork, a thread that the child does not have."""
        self._lock = threading.Lock()


tile_cache = TileCache(CACHE)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=tile_cache.unlock)


def is_tiled(path: str | os.PathLike) -> bool:
    """Return whether a file is one to look at tile by tile: by its name, or a TIFF that is tiled."""
    name = str(path).lower()
    if not name.endswith((*SUFFIXES, ".tif", ".tiff")):
        return False
    try:
        import tifffile

        with _quiet(), tifffile.TiffFile(path) as file:
            return bool(file.pages.first.is_tiled)
    except Exception:  # not installed, or no TIFF: Pillow reads it or says what is wrong
        return name.endswith(SUFFIXES)


def stamp(path: str | os.PathLike) -> tuple[int, int]:
    """Return what tells a file from another at the same place: time of the last change, and size in bytes."""
    try:
        entry = os.stat(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such image: {path}") from error
    return entry.st_mtime_ns, entry.st_size


def read_levels(path: str, channels: int) -> list[Level]:
    """Return the levels of a file, finest first.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: tifffile is not installed.
        ValueError: the file cannot be read, is cut off, lacks all tiles of a level, or is a stack of planes.
        OtherKind: the file is not tiled, or its pixels are of a kind that is not known.
    """
    try:
        import tifffile
    except ImportError as error:
        raise ImportError(f"reading {path} needs tifffile and imagecodecs: pip install 'foveal-env[wsi]'") from error
    mark = stamp(path)
    try:
        with _quiet(), tifffile.TiffFile(path) as file:
            axes = file.series[0].axes if file.is_ome else "YX"
            pages = [level.keyframe.aspage() for level in file.series[0].levels]
            faults = [_fault(page, mark[1]) for page in pages]
            for page in pages:
                page.jpegtables, page.decode  # noqa: B018, they are read while the file is open
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such image: {path}") from error
    except Exception as error:  # whatever a damaged file makes of the reader
        raise ValueError(f"{path} is not an image that can be read: {error}") from error
    if set(axes) - set("YXS"):
        raise ValueError(f"{path} is not a slide that can be read: it is a stack of planes (axes {axes})")
    for fault in filter(None, faults):
        raise type(fault)(f"{path} is not a slide that can be read: {fault}")
    pages.sort(key=lambda page: -page.imagelength * page.imagewidth)
    finest = (int(pages[0].imagelength), int(pages[0].imagewidth))
    return [Level(path, page, finest, channels, (path, mark, channels, number)) for number, page in enumerate(pages)]


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


def _fault(page: Any, file_size: int) -> ValueError | None:
    """Say why a level cannot be looked at."""
    kind = _other_kind(page)
    damage = None if kind else _damage(page, file_size)
    return OtherKind(kind) if kind else ValueError(damage) if damage else None


def _other_kind(page: Any) -> str | None:
    if not page.is_tiled or page.planarconfig != 1:
        return "its levels must be tiled, with interleaved channels"
    if page.bitspersample not in (8, 16) or page.dtype not in (np.uint8, np.uint16):
        return f"its channels must have 8 or 16 bits, got {page.bitspersample} ({page.dtype})"
    if int(page.photometric) not in (1, 2, 6) or page.samplesperpixel > 4:  # black is 0, RGB, YCbCr
        return f"it must be grey, with black as 0, or of colour, got {page.samplesperpixel} of kind {page.photometric}"
    if int(page.compression) not in (*SIZED, *IMAGES):
        return f"its compression {page.compression} is not known"
    turned = page.tags.get("Orientation")
    if turned is not None and turned.value != 1:
        return f"it must be upright, got orientation {turned.value}"
    return None


def _damage(page: Any, file_size: int) -> str | None:
    if not 0 < page.tilewidth * page.tilelength <= TILE:
        return f"its tiles have {page.tilewidth} x {page.tilelength} px; up to {TILE:,} px can be read"
    tiles = math.ceil(page.imagewidth / page.tilewidth) * math.ceil(page.imagelength / page.tilelength)
    if tiles < 1 or min(len(page.dataoffsets), len(page.databytecounts)) < tiles:
        return f"it lists {len(page.dataoffsets)} of {tiles} tiles"
    if not any(page.databytecounts):
        return f"all tiles of its level of {page.imagewidth} x {page.imagelength} px are empty"
    end = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=False)))
    if end > file_size:
        return f"it ends {end - file_size} bytes early"
    return None


def _check_tile(data: bytes, compression: int) -> None:
    """Raise ValueError if a tile is an image that says it is far larger; its decoder would take that memory."""
    if compression not in IMAGES:
        return
    size = size_of_jpeg(data) if compression == JPEG else Image.open(io.BytesIO(data)).size
    if size[0] * size[1] > TILE:
        raise ValueError(f"it is an image of {size[0]} x {size[1]} px; up to {TILE:,} px can be read")


def _to_bytes(tile: np.ndarray, channels: int, *, alpha: bool) -> np.ndarray:
    """Return a tile [h, w, S] of 8 or 16 bits as [h, w, C] uint8; what is transparent (`alpha`) is laid on black."""
    if tile.dtype == np.uint16:
        tile = (tile // 257).astype(np.uint8)
    if alpha and tile.shape[-1] in (2, 4):
        tile = (tile[..., :-1] * (tile[..., -1:] / np.float32(255)) + 0.5).astype(np.uint8)
    tile = tile[..., :3] if tile.shape[-1] >= 3 else tile[..., :1]
    if channels == 1 and tile.shape[-1] == 3:  # the weights of ITU-R 601, as Pillow's
        return np.round(tile @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
    return np.ascontiguousarray(np.broadcast_to(tile, (*tile.shape[:2], channels)))
