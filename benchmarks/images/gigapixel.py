"""A slide of 607 megapixels, built from Imagenette squares: memory and time of looking at it."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.images.inputs import LAYOUT, noise
from benchmarks.images.timing import own_process, peak_memory
from foveal_encoders.base import Layout
from foveal_env.images import Images
from foveal_env.make import make_source
from foveal_env.retina import extract
from foveal_env.sources.pictures import WholeImages

TO_THE_PIXEL = Layout(patch=16, zooms=8, zoom_range=(0.0, 10.5))  # of a slide, down to its own pixels


def write_mosaic(path: Path, across: int) -> None:
    """Write across x across Imagenette squares as a tiled, pyramidal BigTIFF."""
    import tifffile

    source = make_source("imagenette", "train")
    assert isinstance(source, WholeImages)
    tile, side = 320, across * 160
    half = np.zeros((side // 2, side // 2, 3), np.uint8)

    def finest() -> Any:
        for row in range(0, across, 2):
            which = torch.arange(2 * across) + row * across
            images, _ = source.images.read(which % source.count, which)
            squares = np.stack([images.pixels(number).permute(1, 2, 0).numpy() for number in range(2 * across)])
            band = squares.reshape(2, across, 160, 160, 3).transpose(0, 2, 1, 3, 4).reshape(tile, side, 3)
            half[row * 80 : row * 80 + 160] = band.reshape(160, 2, side // 2, 2, 3).mean((1, 3), dtype=np.float32)
            for column in range(0, side, tile):
                yield np.ascontiguousarray(band[:, column : column + tile])

    options = {"tile": (tile, tile), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    levels = 7
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(finest(), shape=(side, side, 3), dtype=np.uint8, subifds=levels - 1, **options)
        level = half
        for _ in range(levels - 1):
            file.write(level, subfiletype=1, **options)
            height, width = (length // 2 * 2 for length in level.shape[:2])
            level = level[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3), dtype=np.float32)
            level = level.astype(np.uint8)


def look_at_mosaic(path: str) -> dict[str, float]:
    """Open a slide and look at it; in a process of its own, for its memory."""
    from foveal_env.images.slides import Slide

    extract(Images.prepare(noise(64, 64)[None]), torch.zeros(1, 2), LAYOUT)  # compiled code is loaded
    start_memory = peak_memory(reset=True)
    start = time.perf_counter()
    slide = Slide(path)
    images = Images.prepare([slide])
    gazes = (torch.rand(400, 1, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1).unbind(0)
    extract(images, gazes[0], TO_THE_PIXEL)
    first = time.perf_counter() - start
    times = {}
    for name, layout in (("to_the_pixel", TO_THE_PIXEL), ("zooms_0_to_5", LAYOUT)):
        times[name] = []
        for gaze in gazes:
            start = time.perf_counter()
            extract(images, gaze, layout)
            times[name].append(time.perf_counter() - start)
    warm = times["to_the_pixel"][100:]
    peak = peak_memory()
    return {
        "megapixels": round(slide.size[0] * slide.size[1] / 1e6),
        "peak_mb": round((peak - start_memory) / 1e6),
        "first_ms": round(first * 1e3, 1),
        "warm_ms": round(float(np.median(warm)) * 1e3, 2),
        "warm_ms_95th": round(float(np.quantile(warm, 0.95)) * 1e3, 2),
        "warm_ms_zooms_0_to_5": round(float(np.median(times["zooms_0_to_5"][100:])) * 1e3, 2),
    }


def gigapixel() -> dict[str, float]:
    """Build a mosaic of 607 megapixels and look at it in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mosaic.tif"
        write_mosaic(path, across=154)
        return {**own_process("gigapixel", "look_at_mosaic", str(path)), "file_mb": round(path.stat().st_size / 1e6)}
