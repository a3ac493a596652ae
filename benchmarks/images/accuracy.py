"""How exact the averages of boxes are, and what more texels across a box would change."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.images.inputs import DEVICE, LAYOUT, digit_scenes, noise, photographs, random_gazes
from benchmarks.images.timing import seconds
from foveal_encoders.base import Layout
from foveal_env.images import Images
from foveal_env.kernels.box_averages import box_averages
from foveal_env.kernels.pyramid import FINEST
from foveal_env.retina import patch_squares


def look(images: Images, gaze: Tensor, layout: Layout, finest: float) -> Tensor:
    """Return the patches [B, K, C, P, P] of glimpses with at least `finest` texels across a box."""
    squares = patch_squares(images.size, gaze, layout)
    return box_averages(images.texels, images.offset, images.size, *squares, layout.patch, finest=finest)


def errors(images: list[Tensor], finest: float, *, gazes: int = 64, seed: int = 0) -> np.ndarray:
    """Return |glimpse - exact box average| of every pixel that shrinks the image, uniform gazes and zooms 0 to 5."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for image in images:
        prepared = Images.prepare([image.to(DEVICE)])
        for _ in range(gazes):
            zoom = float(torch.rand((), generator=generator) * 5)
            if min(image.shape[1:]) / 2**zoom <= LAYOUT.patch:
                continue
            layout = Layout(patch=LAYOUT.patch, zooms=1, zoom_range=(zoom, zoom))
            gaze = torch.rand(1, 2, generator=generator) * 2 - 1
            patch = look(prepared, gaze.to(DEVICE), layout, finest)[0, 0].cpu()
            found.append((patch - exact_patch(image, gaze, layout)).abs().flatten())
    return torch.cat(found).numpy()


def exact_patch(image: Tensor, gaze: Tensor, layout: Layout) -> Tensor:
    """Return the exact box averages [C, P, P] of an image [C, H, W], at a gaze [1, 2] and the layout's first zoom."""
    size = image.shape[1:]
    centre, side = patch_squares(torch.tensor([size]), gaze, layout)
    step = side[0, 0].item() / layout.patch
    rows, columns = (
        shares(centre[0, 0, 1 - axis].item() - side[0, 0].item() / 2, step, layout.patch, size[axis]) for axis in (0, 1)
    )
    return rows @ (image.double() / 255) @ columns.T


def shares(start: float, step: float, boxes: int, count: int) -> Tensor:
    """Return [boxes, count]: the share of each box in each pixel of a line."""
    first = start + step * torch.arange(boxes, dtype=torch.float64)[:, None]
    pixel = torch.arange(count, dtype=torch.float64)
    return (torch.minimum(first + step, pixel + 1) - torch.maximum(first, pixel)).clamp(min=0) / step


def accuracy_of_averages() -> dict[str, Any]:
    """Return the errors of what ships, and of fewer and more texels across a box, with their times."""
    sets = {"photographs": photographs(), "digit scenes": digit_scenes()}
    table = {finest: accuracy_of(finest, sets) for finest in (1.0, 2.0, 3.0, FINEST, 6.0, 8.0)}
    shipped = table[FINEST]
    return {
        "error_mean": round(max(shipped["mean"].values()), 6),
        "error_p999": round(max(shipped["p999"].values()), 6),
        "by_texels_across_a_box": table,
    }


def accuracy_of(finest: float, sets: dict[str, list[Tensor]]) -> dict[str, Any]:
    """Return mean and 99.9th percentile of the errors on each set of images, and the time of 64 glimpses."""
    found, gazes = {name: errors(images, finest) for name, images in sets.items()}, random_gazes(16, 64)
    large = Images.prepare([noise(2048, 2048).to(DEVICE)]).rows(torch.zeros(64, dtype=torch.int64))
    return {
        "mean": {name: float(values.mean()) for name, values in found.items()},
        "p999": {name: float(np.quantile(values, 0.999)) for name, values in found.items()},
        "milliseconds_2048": round(seconds(lambda: [look(large, g, LAYOUT, finest) for g in gazes]) / 16 * 1e3, 3),
    }
