"""Scenes composed of small pictures: translated and cluttered digits, on a canvas of any size.

The generator is the one of the recurrent attention literature (Mnih et al. 2014): on a canvas of zeros, each piece of
clutter is an 8x8 px crop at a uniform offset of a picture drawn uniformly from the same split, added at a uniform
position; then the target picture is added at a uniform position; sums are clipped to white.
"""

import os
from numbers import Integral

import torch
from torch import Tensor, nn

from foveal_env.data import Scenes
from foveal_env.images import Images
from foveal_env.kernels.crops import add_crops
from foveal_env.kernels.hashing import scramble, shuffled
from foveal_env.sources.base import SPLITS, Source

CLUTTER_SIDE = 8
VALIDATION_SHARE = 0.1  # of a set that comes with a training and a test part


class Composed(Source):
    """Small grey pictures placed on a canvas; the base of the digit-type sources.

    Args:
        split: "train", "validation" or "test".
        canvas: side of the square canvas in px.
        clutter: number of 8x8 px pieces of clutter.
        augment: rotate, scale and shear each target picture a little, at random; in the training split only.
        root: folder of the data set, by default the variable FOVEAL_DATA.
        download: fetch the data set into `root` if it is not there.
    """

    channels = 1
    knows_target = True

    def __init__(
        self,
        split: str = "train",
        *,
        canvas: int = 100,
        clutter: int = 8,
        augment: bool = False,
        root: str | os.PathLike | None = None,
        download: bool = False,
    ):
        super().__init__(split)
        self.pictures, self.labels, self.classes = self.load(split, root=root, download=download)
        self.count, self.side = len(self.pictures), self.pictures.shape[-1]  # pictures [count, side, side] uint8
        if not isinstance(canvas, Integral) or canvas < self.side:
            raise ValueError(f"canvas must be at least the {self.side} px of a picture, in whole px, got {canvas!r}")
        if clutter < 0:
            raise ValueError(f"clutter must be at least 0, got {clutter}")
        self.canvas, self.clutter = canvas, clutter
        self.augment = augment and split == "train"

    def load(self, split: str, *, root: str | os.PathLike | None, download: bool) -> tuple:
        """Return the pictures of a split [n, side, side] uint8, their labels [n] int64 and the class names."""
        raise NotImplementedError

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices; evaluation scene i shows picture i modulo their number."""
        salt = SPLITS.index(self.split)
        draws = scramble(index[:, None], salt, torch.arange(3, device=index.device))  # [B, 3]
        which = (draws[:, 0] if self.split == "train" else index) % self.count
        targets = self.pictures.to(index.device)[which]
        if self.augment:
            targets = varied(targets, index)
        room = self.canvas - self.side
        corner = draws[:, 1:] % (room + 1)  # (x, y)
        own, whole = torch.arange(len(index), device=index.device)[:, None], torch.zeros_like(corner)[:, None]

        def paint(canvas: Tensor) -> None:
            if self.clutter:
                self._add_clutter(canvas[..., 0], index, salt)
            add_crops(canvas[..., 0], targets, own, whole, corner[:, None], side=self.side)

        centre = (corner + self.side / 2) / self.canvas * 2 - 1
        extent = torch.full_like(centre, self.side / self.canvas * 2)
        return Scenes(
            images=Images.painted(len(index), self.canvas, self.canvas, 1, paint, index.device),
            label=self.labels.to(index.device)[which],
            box=torch.cat([centre, extent], dim=-1),
            prompt=torch.zeros(len(index), 0, device=index.device),
            index=index,
        )

    def _add_clutter(self, canvas: Tensor, index: Tensor, salt: int) -> None:
        stream = torch.arange(3, 8, device=index.device)
        piece = torch.arange(self.clutter, device=index.device)
        draws = scramble(scramble(index, salt, stream[:, None])[..., None] + piece)  # [5, B, pieces]
        offsets, places = self.side - CLUTTER_SIDE + 1, self.canvas - CLUTTER_SIDE + 1
        crop, corner = torch.stack([draws[1:3] % offsets, draws[3:] % places]).permute(0, 2, 3, 1)  # (x, y) last
        add_crops(canvas, self.pictures.to(index.device), draws[0] % self.count, crop, corner, side=CLUTTER_SIDE)


class Digits(Composed):
    """1,797 real handwritten digits that come with scikit-learn (UCI), enlarged from 8 to 28 px; nothing is fetched.

    Split at random, once: 1,257 for training, 180 for validation, 360 for testing.
    """

    SIDE, TEST, VALIDATION = 28, 360, 180

    def load(self, split: str, *, root: str | os.PathLike | None, download: bool) -> tuple:
        """Return the pictures of a split, their labels and the class names; `root` and `download` are not used."""
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        small = torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16
        pictures = nn.functional.interpolate(small, size=(self.SIDE, self.SIDE), mode="bicubic", align_corners=False)
        pictures = (pictures[:, 0].clamp(0, 1) * 255).round().to(torch.uint8)
        order = shuffled(len(pictures))
        held_out = self.TEST + self.VALIDATION
        chosen = {
            "test": order[: self.TEST],
            "validation": order[self.TEST : held_out],
            "train": order[held_out:],
        }[split]
        return pictures[chosen], torch.from_numpy(labels).long()[chosen], tuple("0123456789")


class Mnist(Composed):
    """MNIST through torchvision: 60,000 training pictures, of which every tenth validates, and 10,000 for testing."""

    dataset = "MNIST"

    def load(self, split: str, *, root: str | os.PathLike | None, download: bool) -> tuple:
        """Return the pictures of a split, their labels and the class names."""
        from foveal_env.sources.torchvision_data import open_dataset

        data = open_dataset(self.dataset, root=root, download=download, train=split != "test")
        chosen = split_training(len(data.data), split)
        names = tuple(name.partition(" - ")[0] for name in data.classes)  # "0 - zero" in MNIST
        return data.data[chosen], data.targets[chosen], names


class FashionMnist(Mnist):
    """Fashion-MNIST through torchvision, split as MNIST."""

    dataset = "FashionMNIST"


class Kmnist(Mnist):
    """KMNIST through torchvision, split as MNIST."""

    dataset = "KMNIST"


def split_training(count: int, split: str) -> Tensor:
    """Return the indices of a split of a data set whose test part is apart: a tenth of the rest validates."""
    if split == "test":
        return torch.arange(count)
    order = shuffled(count)
    held_out = round(count * VALIDATION_SHARE)
    return order[:held_out] if split == "validation" else order[held_out:]


def varied(pictures: Tensor, index: Tensor) -> Tensor:
    """Rotate, scale and shear pictures [B, side, side] uint8 by up to 12 degrees, 12 % and 0.15; `index` decides."""
    side = pictures.shape[-1]
    draws = scramble(index, torch.arange(11, 14, device=index.device)[:, None]).float() / 2**52 - 1  # [3, B] in [-1, 1)
    angle, scale, shear = draws[0] * 0.21, 1 + draws[1] * 0.12, draws[2] * 0.15
    cos, sin = angle.cos() / scale, angle.sin() / scale
    line = (torch.arange(side, device=index.device) + 0.5) * (2 / side) - 1
    x, y = (
        torch.stack([part, other])[..., None] * line
        for part, other in ((cos, sin), (shear * cos - sin, shear * sin + cos))
    )  # [2, B, side]: what each column and each row adds to the two coordinates
    grid = (x[:, :, None] + y[..., None]).permute(1, 2, 3, 0)
    moved = nn.functional.grid_sample(pictures[:, None].float(), grid, align_corners=False)
    return moved[:, 0].round_().to(torch.uint8)
