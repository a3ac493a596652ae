"""Square crops of small pictures, added to canvases."""

import numpy as np
import torch
from torch import Tensor

from foveal_env.kernels.dispatch import dispatch
from foveal_env.kernels.threads import compile_, share


def add_crops(canvas: Tensor, pictures: Tensor, which: Tensor, crop: Tensor, corner: Tensor, *, side: int) -> None:
    """Add square crops of pictures to canvases, in place; sums are clipped to white. All of a crop lies inside both.

    Args:
        canvas: [B, S, S] uint8.
        pictures: [count, s, s] uint8.
        which: [B, J] int64, the picture of each of J crops.
        crop: [B, J, 2] int64 (x, y) of its top-left corner in the picture.
        corner: [B, J, 2] int64 (x, y) of its top-left corner on the canvas.
        side: side of the crops in px.
    """
    form = dispatch(canvas, compiled=add_crops_compiled, in_tensors=add_crops_in_tensors)
    form(canvas, pictures, which, crop, corner, side=side)


def add_crops_in_tensors(
    canvas: Tensor, pictures: Tensor, which: Tensor, crop: Tensor, corner: Tensor, *, side: int
) -> None:
    """Compute `add_crops` on any device."""
    inside = torch.arange(side, device=canvas.device)

    def lines(corners: Tensor) -> tuple[Tensor, Tensor]:  # x [B, J, 1, side] and y [B, J, side, 1]
        return corners[..., 0, None, None] + inside, corners[..., 1, None, None] + inside[:, None]

    (x, y), (left, top) = lines(crop), lines(corner)
    pieces = pictures[which[..., None, None], y, x].int()
    image = torch.arange(len(canvas), device=canvas.device)[:, None, None, None] * canvas[0].numel()
    sums = canvas.flatten().int()
    sums.index_add_(0, (image + top * canvas.shape[-1] + left).flatten(), pieces.flatten())
    canvas.copy_(sums.clamp_(max=255).view(canvas.shape))


def add_crops_compiled(
    canvas: Tensor, pictures: Tensor, which: Tensor, crop: Tensor, corner: Tensor, *, side: int
) -> None:
    """Compute `add_crops` on the CPU."""
    arrays = canvas.numpy(), pictures.numpy(), which.numpy(), crop.numpy(), corner.numpy()
    seconds = 1e-9 * which.numel() * side**2
    share(lambda first, last: _add_crops(*arrays, side, first, last), len(canvas), seconds=seconds)


@compile_
def _add_crops(canvas, pictures, which, crop, corner, side, first, last):
    for image in range(first, last):
        for piece in range(which.shape[1]):
            picture = pictures[which[image, piece]]
            x, y = crop[image, piece]
            left, top = corner[image, piece]
            for line in range(side):
                source = picture[y + line, x : x + side]
                target = canvas[image, top + line, left : left + side]
                for column in range(side):
                    target[column] = min(np.int32(target[column]) + np.int32(source[column]), 255)
