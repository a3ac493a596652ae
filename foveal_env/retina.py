"""The retina: from images and gazes to glimpses. Pure, batched, and the same cost for any image size."""

from functools import lru_cache

import torch
from torch import Tensor

from foveal_encoders.base import Glimpse, Layout
from foveal_env.images import Images


def extract(images: Images, gaze: Tensor, layout: Layout, shift: Tensor | None = None) -> Glimpse:
    """Take the patches of `layout` around each gaze.

    Args:
        images: B prepared images.
        gaze: [B, 2], (x, y); (-1, -1) is the top-left corner of the image, (1, 1) the bottom-right.
        layout: arrangement of the patches; one of zoom z covers a square of min(H, W) / 2**z px.
        shift: [B], added to the zoom of every patch; None is 0.

    Returns:
        Glimpse of patches [B, K, C, P, P] and of where [B, K, 3]. A pixel of a patch is the average of its box, in
        [0, 1]; outside the image is 0. It is exact up to boxes of 8 px; see `foveal_env.images.batch` for the error of
        larger ones. `where` is (x, y, z) of each patch's own centre, in the coordinates of the gaze.

    Raises:
        ValueError: a gaze is NaN or infinite, or `gaze` is not [B, 2].
    """
    if gaze.shape != (len(images), 2):
        raise ValueError(f"{len(images)} images need gazes [{len(images)}, 2], got {list(gaze.shape)}")
    where, centre, side, zooms = _squares(images.half, images.shorter_half, gaze, layout, shift)
    patches = images.box_averages(centre, side, layout.patch)
    return Glimpse(patches, torch.cat([where, zooms], dim=-1))


def patch_squares(size: Tensor, gaze: Tensor, layout: Layout, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the squares that the patches cover: centre [B, K, 2] (x, y) and side [B, K], in px of the image.

    Args:
        size: [B, 2] (H, W) in px.
        gaze: [B, 2] (x, y) in [-1, 1].
        layout: arrangement of the patches.
        shift: [B], added to the zoom of every patch; None is 0.
    """
    half = size.flip(1).float()[:, None] / 2
    return _squares(half, half.amin(dim=2), gaze, layout, shift)[1:3]


def _squares(
    half: Tensor, shorter: Tensor, gaze: Tensor, layout: Layout, shift: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the centres in the coordinates of the gaze [B, K, 2] and in px [B, K, 2], the sides in px, and the zooms.

    The sides are [B, K], the zooms [B, K, 1].
    """
    offsets, shrink, zooms = _offsets(layout, gaze.device)
    side, zooms = shorter * shrink, zooms.expand(len(gaze), -1)
    if layout.field:
        more = layout.zoom_shift(2 * shorter[:, 0])
        shift = more if shift is None else more + shift
    if shift is not None:
        side, zooms = side * torch.exp2(-shift)[:, None], zooms + shift[:, None]
    where = gaze[:, None].expand(-1, layout.patches, -1)
    if layout.grid:
        where = where + offsets * side[..., None] / half
    return where, (where + 1) * half, side, zooms[..., None]


@lru_cache
def _offsets(layout: Layout, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the offsets [K, 2] in sides of the patch, the sides [K] in halves of the image's, and the zooms [K]."""
    offsets = layout.offsets().to(device)
    return offsets[:, :2], 2 * torch.exp2(-offsets[:, 2]), offsets[:, 2]
