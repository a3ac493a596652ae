"""What all composed scenes share: small pictures, the canvas that they are laid on, and the clutter between them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import torch
from torch import Tensor, nn

from foveal_env.kernels.crops import add_crops
from foveal_env.kernels.hashing import scramble
from foveal_env.sources import SOURCES

CLUTTER_PX = 8  # side of a piece of clutter


@dataclass(frozen=True)
class SmallPictures:
    """Grey square pictures of one size, and their classes."""

    pixels: Tensor  # [n, s, s] uint8
    labels: Tensor  # [n] int64
    classes: tuple[str, ...]
    order: Tensor | None = None  # [n] in which evaluation scenes show them; None if they lie in a random order

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def side(self) -> int:
        """Side of a picture in px, s."""
        return self.pixels.shape[-1]

    def on(self, device: torch.device) -> "SmallPictures":
        """Return the pictures on a device, to which they are copied once."""
        if device == self.pixels.device:
            return self
        if device not in self._copies:
            order = None if self.order is None else self.order.to(device)
            copy = SmallPictures(self.pixels.to(device), self.labels.to(device), self.classes, order)
            # To count them, the device would have to be waited for.
            copy.__dict__["class_sizes"] = self.class_sizes.to(device)
            self._copies[device] = copy
        return self._copies[device]

    @cached_property
    def _copies(self) -> "dict[torch.device, SmallPictures]":
        return {}

    @cached_property
    def class_sizes(self) -> Tensor:
        """Number of pictures of each class, [classes] int64."""
        return torch.bincount(self.labels, minlength=len(self.classes))

    @cached_property
    def _by_class(self) -> Tensor:  # [n] numbers of the pictures, class after class
        return self.labels.argsort(stable=True)

    @cached_property
    def _first_of_class(self) -> Tensor:  # [classes] where each class begins in `_by_class`
        return self.class_sizes.cumsum(0) - self.class_sizes

    @cached_property
    def _rank_in_class(self) -> Tensor:  # [n] place of each picture among those of its class
        return self._by_class.argsort() - self._first_of_class[self.labels]

    def places(self, index: Tensor) -> Tensor:
        """Return what evaluation scenes are drawn from, [B] int64, by their index.

        Every n indices in a row have the same places whatever the order: all pictures, and one scene of each.
        """
        if self.order is None:
            return index
        number = index % len(self)
        return index - number + self.order.to(index.device)[number]

    def of_class(self, label: Tensor, draw: Tensor) -> Tensor:
        """Return the number of a picture of each class [...], by random numbers `draw` [...] >= 0."""
        return self._by_class[self._first_of_class[label] + draw % self.class_sizes[label]]

    def another(self, number: Tensor, draw: Tensor) -> Tensor:
        """Return the number of another picture of the same class, by `draw`; the same one if there is no other."""
        label = self.labels[number]
        size, rank = self.class_sizes[label], self._rank_in_class[number]
        return self._by_class[self._first_of_class[label] + (rank + 1 + draw % (size - 1).clamp(min=1)) % size]


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """Which small pictures are laid on a canvas.

    Args:
        pictures_from: source of the pictures: a digit-type one, or "folder" with the option `folder`.
        side: side in px that pictures of a folder are resized to.
        folder: folder of classes, for ``pictures_from="folder"``.
        root: folder of the data set, by default the variable FOVEAL_DATA.
        download: fetch the data set into `root` if it is not there.
    """

    pictures_from: str = "digits"
    side: int = 28
    folder: str = ""
    root: str | os.PathLike | None = None
    download: bool = False

    def load(self, split: str) -> SmallPictures:
        """Return the pictures of a split; ValueError if the source is unknown or has no small pictures."""
        return SOURCES.resolve(self.pictures_from).small_pictures(split, self)


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What small pictures are laid on.

    Args:
        canvas: side of the square canvas in px, or several of them, each equally likely.
        clutter: pieces of clutter, 8 x 8 px each, on 100 x 100 px.
        background: None is black, "photos" are scikit-learn's two photographs, and any other value is a folder of
            images. They are dimmed to half. Of each the left three fifths are for training, then one fifth for
            validation and one for testing.
        augment: rotate, scale and shear each picture a little, at random; in the training split only.

    Raises ValueError if there is no canvas, a side is not whole, or the clutter is below 0.
    """

    canvas: int | Sequence[int] = 100
    clutter: float = 8.0
    background: str | None = None
    augment: bool = False

    def __post_init__(self):
        if not self.sides or not all(isinstance(side, Integral) and side > 0 for side in self.sides):
            raise ValueError(f"canvas must be a side in whole px, or several, got {self.canvas!r}")
        if not self.clutter >= 0:
            raise ValueError(f"clutter must be at least 0, got {self.clutter}")

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the canvases in px."""
        return tuple(self.canvas) if isinstance(self.canvas, Sequence) else (self.canvas,)

    @property
    def only_side(self) -> int | None:
        """Side of the canvas in px; None if there are several."""
        return self.sides[0] if len(self.sides) == 1 else None

    def pieces(self, side: int) -> int:
        """Return the number of pieces of clutter on a canvas of `side` px."""
        return round(self.clutter * (side / 100) ** 2)


def add_clutter(canvas: Tensor, pictures: Tensor, draws: Tensor) -> None:
    """Add crops of 8 x 8 px at uniform offsets of uniformly drawn pictures at uniform positions, in place.

    Args:
        canvas: [B, S, S] uint8.
        pictures: [n, s, s] uint8.
        draws: [5, B, pieces] int64 >= 0, random: which picture, (x, y) in the picture, (x, y) on the canvas.
    """
    offsets, places = pictures.shape[-1] - CLUTTER_PX + 1, canvas.shape[-1] - CLUTTER_PX + 1
    crop, corner = torch.stack([draws[1:3] % offsets, draws[3:] % places]).permute(0, 2, 3, 1)  # (x, y) last
    add_crops(canvas, pictures, draws[0] % len(pictures), crop, corner, side=CLUTTER_PX)


def boxes_at(corner: Tensor, side: int | Tensor, canvas: int) -> Tensor:
    """Return the boxes of squares in gaze coordinates.

    Args:
        corner: [..., 2] top-left corners (x, y) in px.
        side: side of all squares in px, or of each [...].
        canvas: side of the canvas in px.

    Returns:
        [..., 4] float32 (x, y of the centre, width, height).
    """
    extent = torch.as_tensor(side, dtype=torch.float32, device=corner.device).expand(corner.shape[:-1])[..., None]
    centre = (corner + extent / 2) / canvas * 2 - 1
    return torch.cat([centre, (extent / canvas * 2).expand_as(centre)], dim=-1)


def warp(pictures: Tensor, index: Tensor) -> Tensor:
    """Rotate, scale and shear pictures by up to 12 degrees, 12 % and 0.15, at random.

    Args:
        pictures: [B, s, s] uint8.
        index: [B] int64; the warp of a picture depends on its index alone.
    """
    side = pictures.shape[-1]
    draws = scramble(index, torch.arange(11, 14, device=index.device)[:, None]).float() / 2**52 - 1  # [3, B] in [-1, 1)
    angle, scale, shear = draws[0] * 0.21, 1 + draws[1] * 0.12, draws[2] * 0.15
    cos, sin = angle.cos() / scale, angle.sin() / scale
    line = (torch.arange(side, device=index.device, dtype=torch.float32) + 0.5) * (2 / side) - 1
    x, y = (
        torch.stack([part, other])[..., None] * line
        for part, other in ((cos, sin), (shear * cos - sin, shear * sin + cos))
    )  # [2, B, side]: what each column and each row adds to the two coordinates
    grid = (x[:, :, None] + y[..., None]).permute(1, 2, 3, 0)
    pixels = nn.functional.grid_sample(pictures[:, None].float(), grid, align_corners=False)
    return pixels[:, 0].round_().to(torch.uint8)
