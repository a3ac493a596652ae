"""Slow versions in float64, independent of what they check, and noise to check it on."""

import torch


def noise(*shape, seed=0):
    """Return uint8 [*shape], uniform."""
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def box_averages(image, centre, side, patch):
    """Average each box of a square, every pixel weighed with the area that it shares with the box.

    Args:
        image: [C, H, W] uint8.
        centre: (x, y) in px.
        side: side of the square in px.
        patch: boxes along a side, P.

    Returns:
        [C, P, P] float64 in [0, 1]; what lies outside is 0.
    """

    def shares(middle, count):  # [P, count]: the share of each box in each pixel of a line
        step = side / patch
        first = middle - side / 2 + step * torch.arange(patch, dtype=torch.float64)[:, None]
        pixel = torch.arange(count, dtype=torch.float64)
        return (torch.minimum(first + step, pixel + 1) - torch.maximum(first, pixel)).clamp(min=0) / step

    (x, y), side = (float(value) for value in centre), float(side)
    height, width = image.shape[1:]
    return shares(y, height) @ (image.double() / 255) @ shares(x, width).T
