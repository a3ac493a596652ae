"""Photographs behind the pictures of a composed scene."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from foveal_env.images import Images
from foveal_env.images.decode import SUFFIXES, read_image

FIFTHS = {"train": (0, 3), "validation": (3, 4), "test": (4, 5)}  # of the width of each photograph


def photographs(background: str | None, split: str) -> list[Tensor]:
    """Return the part of each photograph that is for a split, [H, W] uint8, grey and dimmed to half.

    Args:
        background: "photos" for scikit-learn's two photographs, or a folder of images; None for none.
        split: "train", "validation" or "test".

    Raises ValueError if the folder has no images.
    """
    if background is None:
        return []
    first, end = FIFTHS[split]
    parts = [
        photo[:, photo.shape[1] * first // 5 : photo.shape[1] * end // 5]
        for photo in (_own_photographs() if background == "photos" else _photographs_in(background))
    ]
    return [(part / 2).to(torch.uint8) for part in parts if part.numel()]


def lay_under(canvas: Tensor, photos: Sequence[Tensor], draws: Tensor) -> None:
    """Fill canvases with random parts of photographs, in place; a small photograph is mirrored at its edges.

    Args:
        canvas: [B, S, S] uint8.
        photos: photographs [H, W] uint8.
        draws: [B, 3] int64 >= 0, random: which photograph, and where its part begins (down, right).
    """
    side = canvas.shape[-1]
    for row, (which, *begins) in enumerate(draws.tolist()):
        photo = photos[which % len(photos)]
        lines, columns = (
            _to_and_fro(begin % max(1, length - side + 1), side, length)
            for begin, length in zip(begins, photo.shape, strict=True)
        )
        canvas[row] = photo[lines][:, columns].to(canvas.device)


def _own_photographs() -> list[Tensor]:
    from sklearn.datasets import load_sample_images

    return [torch.tensor(photo).float().mean(dim=-1) for photo in load_sample_images().images]


def _photographs_in(folder: str) -> list[Tensor]:
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"background must be 'photos' or a folder of images; there are none in {folder!r}")
    return [Images.prepare([read_image(path, 1)]).pixels(0)[0].float() for path in files]


def _to_and_fro(begin: int, count: int, length: int) -> Tensor:
    """Return `count` places from `begin` on in range(length), turning back at both ends, [count] int64."""
    place = (begin + torch.arange(count)) % (2 * length)
    return torch.minimum(place, 2 * length - 1 - place)
