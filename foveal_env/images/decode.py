"""Any file of an image becomes uint8 pixels, or a slide that is read tile by tile."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from foveal_env.images.slides import Slide, open_slide
from foveal_env.images.tiff import OtherKind, is_tiled

COLOURS = {1: "L", 3: "RGB"}  # Pillow's names, by number of channels
SUFFIXES = (".bmp", ".btf", ".gif", ".jpeg", ".jpg", ".png", ".svs", ".tf8", ".tif", ".tiff", ".webp")
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
MAX_PIXELS = 89_478_485  # of an image that is decoded whole, as in Pillow; slides have no limit


def read_image(path: str | os.PathLike, channels: int, *, max_pixels: int = MAX_PIXELS) -> Tensor | Slide:
    """Read an image, upright; a tiled TIFF is opened as a `foveal_env.images.slides.Slide`.

    16 bits a channel become 8. What is transparent is laid on black, because black is also what lies outside an image.
    An animation gives its first frame. A tiled TIFF that cannot be looked at tile by tile (a palette, CMYK, planes,
    turned) is read whole.

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
        pixels = _decode(path, channels, max_pixels)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such image: {path}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path} is too large: {error} (max_pixels raises the limit)") from error
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise ValueError(f"{path} is not an image that can be read: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _decode(path: str | os.PathLike, channels: int, max_pixels: int) -> np.ndarray:
    """Return the pixels of a file, [H, W, C] uint8."""
    if max_pixels > MAX_PIXELS:  # Pillow's own limit is for the whole process
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels)
    with Image.open(path, formats=_formats()) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ValueError(f"it has {width} x {height} px, more than max_pixels={max_pixels:,} allows")
        pixels = np.array(_flat(ImageOps.exif_transpose(image)).convert(COLOURS[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that Pillow may find in a file; others, such as EPS, make it start programs."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _flat(image: Image.Image) -> Image.Image:
    """Return an image without transparency and with 8 bits a channel."""
    if image.mode.startswith("I"):  # 16 bits, and 32 that hold 16
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"its values reach from {values.min()} to {values.max()}, beyond 16 bits")
        if 0 < values.max() < 257:
            raise ValueError(f"it has 16 bits, but no value above {values.max()}: all of it would be black")
        return Image.fromarray((values // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("it holds floating point values, whose white is not known")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
    return image
