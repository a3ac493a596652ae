"""The retina: from images and gazes to glimpses. Pure, batched, and the same cost for any image size."""

from functools import lru_cache

import torch
from torch import Tensor

from encoders.base import Glimpse, Layout
from foveal_env.images import Images


def extract(images: Images, gaze: Tensor, layout: Layout) -> Glimpse:
    """Take the patches of `layout` around each gaze.

    Args:
        images: B prepared images.
        gaze: [B, 2], (x, y); (-1, -1) is the top-left corner of the image, (1, 1) the bottom-right.
        layout: which patches; a patch of zoom z covers a square of min(H, W) / 2**z px.

    Returns:
        Glimpse of patches [B, K, C, P, P] in [0, 1], each pixel the average of its box, 0 outside the image,
        and where [B, K, 3], (x, y, z) of each patch's own centre in the coordinates of the gaze.
    """
    centre, side = patch_squares(images.size, gaze, layout)
    patches = images.box_averages(centre, side, layout.patch)
    zoom = _offsets(layout, gaze.device)[:, 2:].expand(len(gaze), -1, -1)
    where = torch.cat([centre * (2 / images.size.flip(1)[:, None]) - 1, zoom], dim=-1)
    return Glimpse(patches, where)


def patch_squares(size: Tensor, gaze: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Return the squares that the patches cover: centre [B, K, 2] (x, y) and side [B, K], in px of the image.

    Args:
        size: [B, 2] (H, W) in px.
        gaze: [B, 2] (x, y) in [-1, 1].
        layout: which patches.
    """
    offsets = _offsets(layout, gaze.device)
    side = size.amin(dim=1, keepdim=True) * torch.exp2(-offsets[:, 2])
    centre = (gaze[:, None] + 1) / 2 * size.flip(1)[:, None] + offsets[:, :2] * side[..., None]
    return centre, side


@lru_cache
def _offsets(layout: Layout, device: torch.device) -> Tensor:
    return layout.offsets().to(device)
