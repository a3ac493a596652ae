"""Stems: what turns the pixels of a patch into a token."""

import torch
from torch import Tensor, nn

from foveal_encoders.base import Layout

SHARPNESS = 5.0  # of the spatial softmax: it singles places out from the first update on


class PatchStem(nn.Sequential):
    """A patch becomes a token: two 3x3 convolutions of stride 2, then a linear layer.

    The papers use a linear layer on the pixels; with small models the convolutions learn much faster.
    """

    def __init__(self, layout: Layout, *, channels: int, width: int, filters: int = 32):
        side = (layout.patch + 3) // 4
        super().__init__(
            nn.Conv2d(channels, filters, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(filters, 2 * filters, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(2 * filters * side * side, width),
        )


class Keypoints(nn.Sequential):
    """Where in a patch something stands out: the spatial softmax of Levine et al. (arXiv 1504.00702).

    Each of some learned maps of a patch becomes the mean place under its softmax over the pixels.
    """

    def __init__(self, layout: Layout, *, channels: int, points: int, filters: int):
        super().__init__(
            nn.Conv2d(channels, filters, 3, padding=1), nn.GELU(), nn.Conv2d(filters, points, 3, padding=1)
        )
        centre = (torch.arange(layout.patch) + 0.5) / layout.patch * 2 - 1
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        self.register_buffer("places", torch.stack([x, y], dim=-1).flatten(0, 1), persistent=False)  # [P * P, 2]

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Map [M, C, P, P] to points [M, points, 2], (x, y) in [-1, 1] of the patch, and the peaks [M, points].

        A peak is the largest share that the softmax gives to a pixel, in [0, 1]: how much stands out.
        """
        shares = (SHARPNESS * super().forward(patches).flatten(2).float()).softmax(dim=-1)
        return shares @ self.places, shares.amax(dim=-1)
