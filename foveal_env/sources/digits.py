"""Scenes of one small picture: translated and cluttered digits, on a canvas of any size.

The generator is the one of the recurrent attention literature (Mnih et al. 2014). The canvas is black. Each piece of
clutter is an 8 x 8 px crop at a uniform offset of a picture drawn uniformly from the same split, added at a uniform
position. Then the target picture is added at a uniform position. Sums are clipped to white.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral

import torch
from torch import Tensor, nn

from foveal_env.data import Scenes
from foveal_env.images import Images
from foveal_env.kernels.crops import add_crops
from foveal_env.kernels.hashing import scramble, shuffled
from foveal_env.sources.background import lay_under
from foveal_env.sources.base import SPLITS, Source, split_training
from foveal_env.sources.canvas import PictureSet, SmallPictures, add_clutter, boxes_at, warp
from foveal_env.sources.torchvision_data import open_dataset


class OnePicture(Source):
    """One small grey picture on a canvas; the base of the digit-type sources.

    A subclass names a data set of torchvision (`dataset`), or returns `small_pictures` of its own.

    Args:
        split: "train", "validation" or "test".
        canvas: side of the square canvas in px.
        clutter: number of pieces of clutter, 8 x 8 px each.
        augment: rotate, scale and shear each target picture a little, at random; in the training split only.
        root: folder of the data set, by default the variable FOVEAL_DATA.
        download: fetch the data set into `root` if it is not there.
    """

    channels = 1
    knows_target = True
    any_device = True
    dataset: str

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
        self.pictures = self.small_pictures(split, PictureSet(root=root, download=download))
        self.classes, self.count = self.pictures.classes, len(self.pictures)
        check_room(canvas, self.pictures)
        if not isinstance(clutter, Integral) or clutter < 0:
            raise ValueError(f"clutter must be at least 0, in whole pieces, got {clutter!r}")
        self.canvas, self.canvases, self.clutter, self.augment = canvas, (canvas,), clutter, augment
        if split != "train" and canvas == self.pictures.side and not clutter:
            self.distinct_scenes = self.count  # nothing is drawn

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices; evaluation scenes show the pictures in turn."""
        place = self.pictures.on(index.device).places(index)
        scenes = lay_one(
            self.pictures, place, split=self.split, canvas=self.canvases[0], pieces=self.clutter, augment=self.augment
        )
        return replace(scenes, index=index)

    @classmethod
    def small_pictures(cls, split: str, pictures: PictureSet) -> SmallPictures:
        """Return the pictures of a split; FileNotFoundError says how to get a data set that is not there."""
        data = open_dataset(cls.dataset, root=pictures.root, download=pictures.download, train=split != "test")
        part, order = split_training(len(data.data), split), None
        if split == "test":
            part, order = torch.arange(len(data.data)), part
        names = tuple(name.partition(" - ")[0] for name in data.classes)  # "0 - zero" in MNIST
        return SmallPictures(data.data[part], data.targets[part], names, order)


class Digits(OnePicture):
    """1,797 real handwritten digits that come with scikit-learn (UCI), enlarged from 8 to 28 px; nothing is fetched.

    Split at random, once: 1,257 for training, 180 for validation, 360 for testing.
    """

    @classmethod
    def small_pictures(cls, split: str, pictures: PictureSet) -> SmallPictures:
        """Return the pictures of a split; all come with scikit-learn."""
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        tiny = torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16
        pixels = nn.functional.interpolate(tiny, size=(28, 28), mode="bicubic", align_corners=False)
        pixels = (pixels[:, 0].clamp(0, 1) * 255).round().to(torch.uint8)
        order = shuffled(len(pixels))
        part = {"test": order[:360], "validation": order[360:540], "train": order[540:]}[split]
        return SmallPictures(pixels[part], torch.from_numpy(labels).long()[part], tuple("0123456789"))


class Mnist(OnePicture):
    """MNIST through torchvision: 60,000 training pictures, of which every tenth validates, and 10,000 for testing."""

    dataset = "MNIST"


class FashionMnist(OnePicture):
    """Fashion-MNIST through torchvision, split as MNIST."""

    dataset = "FashionMNIST"


class Kmnist(OnePicture):
    """KMNIST through torchvision, split as MNIST."""

    dataset = "KMNIST"


def check_room(canvas: int, pictures: SmallPictures) -> None:
    """Raise ValueError unless a picture fits on a canvas of whole px."""
    if not isinstance(canvas, Integral) or canvas < pictures.side:
        raise ValueError(f"canvas must be at least the {pictures.side} px of a picture, in whole px, got {canvas!r}")


def lay_one(
    pictures: SmallPictures,
    index: Tensor,
    *,
    split: str,
    canvas: int,
    pieces: int,
    augment: bool = False,
    photos: Sequence[Tensor] = (),
) -> Scenes:
    """Return scenes of one picture each, over clutter; evaluation scene i shows picture i modulo their number.

    Args:
        pictures: the pictures of the split.
        index: [B] int64.
        split: "train", "validation" or "test".
        canvas: side of the square canvas in px.
        pieces: number of pieces of clutter.
        augment: warp each picture; in the training split only.
        photos: photographs [H, W] uint8 behind everything; black if there are none.
    """
    salt, device = SPLITS.index(split), index.device
    draws = scramble(index[:, None], salt, torch.arange(3, device=device))  # [B, 3]
    which = (draws[:, 0] if split == "train" else index) % len(pictures)
    pixels = pictures.on(device).pixels
    targets = pixels[which]
    if augment and split == "train":
        targets = warp(targets, index)
    corner = draws[:, 1:] % (canvas - pictures.side + 1)  # (x, y)
    own, whole = torch.arange(len(index), device=device)[:, None], torch.zeros_like(corner)[:, None]

    def paint(texels: Tensor) -> None:
        if photos:
            lay_under(texels[..., 0], photos, scramble(index[:, None], salt, torch.arange(15, 18, device=device)))
        if pieces:
            streams = scramble(index, salt, torch.arange(3, 8, device=device)[:, None])  # [5, B]
            add_clutter(texels[..., 0], pixels, scramble(streams[..., None] + torch.arange(pieces, device=device)))
        add_crops(texels[..., 0], targets, own, whole, corner[:, None], side=pictures.side)

    return Scenes(
        images=Images.painted(len(index), canvas, canvas, 1, paint, device),
        label=pictures.on(device).labels[which],
        box=boxes_at(corner, pictures.side, canvas),
        prompt=torch.zeros(len(index), 0, dtype=torch.float32, device=device),
        index=index,
    )
