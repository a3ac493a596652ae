"""Any file of an image becomes uint8 pixels, or a slide that is read tile by tile."""

import os
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, TiffImagePlugin
from torch import Tensor

from foveal_env.images.jpeg import damage_of_jpeg
from foveal_env.images.slides import Slide, open_slide
from foveal_env.images.tiff import OtherKind, is_tiled

COLOURS = {1: "L", 3: "RGB"}  # Pillow's names, by number of channels
SUFFIXES = (".bmp", ".btf", ".gif", ".jpeg", ".jpg", ".png", ".svs", ".tf8", ".tif", ".tiff", ".webp")
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
WITH_PLANES = {2: 3, 5: 4, 6: 3}  # channels of RGB, CMYK and YCbCr, by TIFF's numbers: the kinds that may have planes
PALETTE = 3
MAX_PIXELS = 89_478_485  # of an image that is decoded whole, as in Pillow; slides have no limit


def read_image(path: str | os.PathLike, channels: int, *, max_pixels: int = MAX_PIXELS) -> Tensor | Slide:
    """Read an image, upright; a tiled TIFF is opened as a `foveal_env.images.slides.Slide`.

    16 bits a channel become 8. What is transparent is laid on black, because black is also what lies outside an image.
    An animation gives its first frame. A tiled TIFF that cannot be looked at tile by tile (a palette, CMYK, planes,
    turned) is read whole. A JPEG whose markers are damaged is read with a warning; most other damage of formats without
    a checksum (JPEG, WebP, GIF, BMP, TIFF) cannot be seen.

    Args:
        path: the file.
        channels: 3 for colour, 1 for grey.
        max_pixels: largest image in px that is decoded; slides have no limit.

    Returns:
        [C, H, W] uint8, or a slide.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or has more than `max_pixels`; it names the file.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(f"{path} is not a file")
    if is_tiled(path):
        try:
            return open_slide(path, channels)
        except OtherKind:
            pass  # Pillow reads it or says what is wrong
    try:
        pixels, damage = _decode(path, channels, max_pixels)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such image: {path}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path} is too large: {error} (max_pixels raises the limit)") from error
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise ValueError(f"{path} is not an image that can be read: {error}") from error
    if damage:
        warnings.warn(f"{path} is damaged, and may show something else: {damage}")
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _decode(path: str | os.PathLike, channels: int, max_pixels: int) -> tuple[np.ndarray, str | None]:
    """Return the pixels of a file, [H, W, C] uint8, and what damage can be told of them."""
    if max_pixels > MAX_PIXELS:  # Pillow's own limit is for the whole process
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels)
    with _opener.open(path) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ValueError(f"it has {width} x {height} px, more than max_pixels={max_pixels:,} allows")
        is_jpeg = image.format in ("JPEG", "MPO")
        grey = _grey_of_tiff(image) if isinstance(image, TiffImagePlugin.TiffImageFile) else Grey()
        pixels = np.array(_flat(ImageOps.exif_transpose(image), grey).convert(COLOURS[channels]))
    damage = damage_of_jpeg(Path(path).read_bytes()) if is_jpeg else None
    return pixels.reshape(*pixels.shape[:2], channels), damage


class _Opener:
    """Opens files with Pillow, TIFFs so that libtiff reads them.

    Of a TIFF that is not compressed Pillow's own reader mistakes the shape if it is turned, and the pixels if it has
    planes of 16 bits. libtiff does not, and reads all that is compressed anyway.
    """

    def __init__(self):
        self.unlock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.unlock)

    def unlock(self) -> None:
        """Begin anew: after a fork, the lock may be held by a thread that the child does not have."""
        self._lock, TiffImagePlugin.READ_LIBTIFF = threading.Lock(), False

    def open(self, path: str | os.PathLike) -> Image.Image:
        """Open a file; its pixels are not read yet."""
        with self._lock:  # Pillow's switch is one for the whole process
            before, TiffImagePlugin.READ_LIBTIFF = TiffImagePlugin.READ_LIBTIFF, True
            try:
                return Image.open(path, formats=_formats())
            finally:
                TiffImagePlugin.READ_LIBTIFF = before


_opener = _Opener()


class Grey(NamedTuple):
    """What the values of a grey image of more than 8 bits mean."""

    white: int = 65535
    is_inverted: bool = False  # whether 0 is white


def _grey_of_tiff(image: TiffImagePlugin.TiffImageFile) -> Grey:
    """Return what grey values of a TIFF mean; ValueError for a kind that Pillow would show wrongly."""
    tags = image.tag_v2
    kind, bits = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION), tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0]
    kind = -1 if kind is None else int(kind)
    count, extra = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1), tags.get(TiffImagePlugin.EXTRASAMPLES, ())
    in_planes = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2 and count > 1
    if in_planes and (len(extra) > 1 or 0 in extra or count != WITH_PLANES.get(kind, 0) + len(extra)):
        raise ValueError("its channels lie in planes, in a way that cannot be read: write it interleaved")
    if 2 in tags.get(TiffImagePlugin.SAMPLEFORMAT, ()) and (bits == 8 or tags.prefix == b"MM"):
        raise ValueError("it holds signed values, whose black is not known")
    if tags.get(TiffImagePlugin.FILLORDER) == 2 and bits > 8:
        raise ValueError(f"it holds the bits of {bits}-bit values in reverse order")
    if kind == PALETTE and not max(tags.get(TiffImagePlugin.COLORMAP, ())) > 255:
        raise ValueError("its palette has no value above 255 of 65535: all of it would be black")
    return Grey(white=4095 if bits == 12 else 65535, is_inverted=kind == 0)


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that Pillow may find in a file; others, such as EPS, make it start programs."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _flat(image: Image.Image, grey: Grey) -> Image.Image:
    """Return an image without transparency and with 8 bits a channel."""
    if image.mode.startswith("I"):  # 16 bits, and 32 that hold 16
        values = np.asarray(image)
        if values.min() < 0 or values.max() > grey.white:
            raise ValueError(f"its values reach from {values.min()} to {values.max()}, beyond 16 bits")
        values = grey.white - values if grey.is_inverted else values
        if 0 < values.max() < grey.white / 255:
            raise ValueError(f"it has 16 bits, but no value above {values.max()}: all of it would be black")
        return Image.fromarray((values.astype(np.uint32) * 255 // grey.white).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("it holds floating point values, whose white is not known")
    if image.mode == "La":  # multiplied with the alpha already, as if on black
        return image.getchannel("L")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
    return image
