"""From files of any kind to pixels."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from foveal_env.images.slides import OtherKind, Slide, is_slide, open_slide

COLOURS = {1: "L", 3: "RGB"}
SUFFIXES = (".bmp", ".btf", ".gif", ".jpeg", ".jpg", ".png", ".svs", ".tf8", ".tif", ".tiff", ".webp")
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
MAX_PIXELS = 89_478_485  # of a picture that is decoded whole, as in Pillow; slides have no limit


def read_image(path: str | os.PathLike, channels: int, *, max_pixels: int = MAX_PIXELS) -> "Tensor | Slide":
    """Read a picture file, upright, as [C, H, W] uint8; a tiled TIFF is opened as a `foveal_env.images.slides.Slide`.

    16 bits a channel become 8; what is transparent is laid on black, as is what lies outside a picture; of an
    animation the first picture is taken. A tiled TIFF of a kind that is not looked at tile by tile (a palette, CMYK,
    planes, turned) is read whole.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or has more than `max_pixels`; it names the file.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(f"{path} is not a file")
    if is_slide(path):
        try:
            return open_slide(path, channels)
        except OtherKind:
            pass  # Pillow reads it or says what is wrong
    if max_pixels > MAX_PIXELS:  # Pillow's own limit is for the whole process
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels)
    try:
        with Image.open(path, formats=_formats()) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise ValueError(f"it has {width} x {height} px, more than max_pixels={max_pixels:,} allows")
            pixels = np.array(_flat(ImageOps.exif_transpose(picture)).convert(COLOURS[channels]))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such picture: {path}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path} is too large: {error} (max_pixels raises the limit)") from error
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise ValueError(f"{path} is not a picture that can be read: {error}") from error
    return torch.from_numpy(pixels).reshape(*pixels.shape[:2], channels).permute(2, 0, 1)


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that Pillow may find in a file; others, such as EPS, make it start programs."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _flat(picture: Image.Image) -> Image.Image:
    """Return a picture without transparency and with 8 bits a channel."""
    if picture.mode.startswith("I"):  # 16 bits, and 32 that hold 16
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"its values reach from {values.min()} to {values.max()}, beyond 16 bits")
        if 0 < values.max() < 257:
            raise ValueError(f"it has 16 bits, but no value above {values.max()}: all of it would be black")
        return Image.fromarray((values // 257).astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("it holds floating point values, whose white is not known")
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
    return picture
