"""Scenes that are whole images of any size and kind: CIFAR-10, Imagenette, and files of which nothing is known."""

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from foveal_env.data import Scenes
from foveal_env.images import Images
from foveal_env.images.decode import COLOURS, MAX_PIXELS, read_image
from foveal_env.images.slides import Slide
from foveal_env.kernels.hashing import scramble
from foveal_env.kernels.threads import Threads
from foveal_env.sources.base import SPLITS, Source, split_training
from foveal_env.sources.torchvision_data import open_dataset

READERS = Threads("foveal_env.files")


@dataclass
class MemoryImages:
    """Images of one size, held in memory."""

    pixels: Tensor  # [count, C, H, W] uint8

    def read(self, number: Tensor, index: Tensor) -> tuple[Images, Tensor]:
        """Return images by number [B], and these numbers; `index` [B] is that of the scenes."""
        return Images.prepare(self.pixels[number]), number


@dataclass
class FileImages:
    """Images that are read from their files whenever scenes show them, by several threads at once.

    Args:
        paths: the files.
        channels: 3 for colour, 1 for grey.
        max_pixels: refuse images with more px than that, before they are decoded; slides have no limit.
        skip: show the next image in place of one that cannot be read, with a warning that counts them.
        augment: show random parts of the images, half of them mirrored.
        skipped: numbers of the images that could not be read.

    Raises ValueError if the number of channels is neither 1 nor 3.
    """

    paths: Sequence[Path]
    channels: int
    max_pixels: int = MAX_PIXELS
    skip: bool = False
    augment: bool = False
    skipped: set[int] = field(default_factory=set)

    def __post_init__(self):
        if self.channels not in COLOURS:
            raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {self.channels}")

    def read(self, number: Tensor, index: Tensor) -> tuple[Images, Tensor]:
        """Return images by number [B] in range(count), and the numbers of those that are shown.

        Args:
            number: [B] int64, numbers of the images.
            index: [B] int64, those of the scenes; the parts that are shown depend on them.

        Raises:
            FileNotFoundError, ValueError: a file is gone or cannot be read, and `skip` is false; or no file can be
                read. The error names it.
        """
        pairs = list(READERS.map(self._read_or_skip, number.tolist()))
        images = [image for image, _ in pairs]
        if self.augment:
            draws = scramble(index[:, None], torch.arange(20, 25)).double() / 2**53
            images = [part_of(image, draw) for image, draw in zip(images, draws, strict=True)]
        return Images.prepare(images), torch.tensor([shown for _, shown in pairs])

    def fault(self, path: Path) -> str | None:
        """Return what is wrong with a file, None if it can be read."""
        try:
            self._read(path)
        except (FileNotFoundError, ValueError) as error:
            return str(error)
        return None

    def _read(self, path: Path) -> "Tensor | Slide":
        image = read_image(path, self.channels, max_pixels=self.max_pixels)
        if self.skip and isinstance(image, Slide):
            image.overview  # noqa: B018, it is kept; most damage of a slide shows there
        return image

    def _read_or_skip(self, number: int) -> "tuple[Tensor | Slide, int]":
        count = len(self.paths)
        for shift in range(count if self.skip else 1):
            other = (number + shift) % count
            if other in self.skipped:
                continue
            try:
                return self._read(self.paths[other]), other
            except (FileNotFoundError, ValueError) as error:
                if not self.skip:
                    raise
                self.skipped.add(other)
                warnings.warn(f"left out {len(self.skipped)} of {count} images by now; the last one: {error}")
        raise ValueError(f"none of the {count} images of this source can be read")


class WholeImages(Source):
    """Base of sources whose scenes are whole images; where the target is is not known."""

    images: MemoryImages | FileImages
    labels: Tensor  # [count] int64

    def show(self, images: MemoryImages | FileImages, labels: Tensor, classes: Sequence[str]) -> None:
        """Set what is shown: images, their labels [count] int64, and the names of the classes."""
        self.images, self.labels = images, labels
        self.classes, self.count = tuple(classes), len(labels)

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices; evaluation scene i is image i modulo their number."""
        number = (scramble(index, SPLITS.index(self.split)) if self.split == "train" else index) % self.count
        images, number = self.images.read(number.cpu(), index.cpu())
        return Scenes(
            images=images,
            label=self.labels[number],
            box=torch.full((len(index), 4), torch.nan),
            prompt=torch.zeros(len(index), 0),
            index=index,
        )


class Cifar10(WholeImages):
    """CIFAR-10 through torchvision: 50,000 training images, of which every tenth validates, and 10,000 for testing.

    Args:
        split: "train", "validation" or "test".
        root: folder of the data set, by default the variable FOVEAL_DATA.
        download: fetch the data set into `root` if it is not there.
    """

    channels = 3

    def __init__(self, split: str = "train", *, root: str | os.PathLike | None = None, download: bool = False):
        super().__init__(split)
        data = open_dataset("CIFAR10", root=root, download=download, train=split != "test")
        part = split_training(len(data.data), split)
        pixels = torch.from_numpy(data.data)[part].permute(0, 3, 1, 2)  # [count, 3, 32, 32] uint8
        self.show(MemoryImages(pixels), torch.tensor(data.targets)[part], data.classes)


class Imagenette(WholeImages):
    """Imagenette through torchvision: ten ImageNet classes; its validation part is for testing here.

    A tenth of its training part validates.

    Args:
        split: "train", "validation" or "test".
        channels: 3 for colour, 1 for grey.
        size: "full", "320px" or "160px", the release of the data set.
        augment: show random parts of the images, half of them mirrored; in the training split only.
        root: folder of the data set, by default the variable FOVEAL_DATA.
        download: fetch the data set into `root` if it is not there.
    """

    reads_files = True

    def __init__(
        self,
        split: str = "train",
        *,
        channels: int = 3,
        size: str = "160px",
        augment: bool = False,
        root: str | os.PathLike | None = None,
        download: bool = False,
    ):
        super().__init__(split)
        data = open_dataset(
            "Imagenette", root=root, download=download, split="val" if split == "test" else "train", size=size
        )
        samples = [data._samples[number] for number in split_training(len(data._samples), split).tolist()]
        images = FileImages([Path(path) for path, _ in samples], channels, augment=augment and split == "train")
        self.channels = channels
        self.show(images, torch.tensor([label for _, label in samples]), [names[0] for names in data.classes])


class Unlabelled(WholeImages):
    """Image files of which nothing is known; label 0 stands for the unknown one.

    Args:
        paths: the files; scene i shows file i modulo their number.
        channels: 3 for colour, 1 for grey.
        classes: names of the classes that a perception may answer.
        max_pixels: refuse images with more px than that, before they are decoded; slides have no limit.
    """

    reads_files = True

    def __init__(
        self,
        paths: Sequence[str | os.PathLike],
        *,
        channels: int,
        classes: Sequence[str],
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__("test")
        images = FileImages([Path(path) for path in paths], channels, max_pixels)
        self.channels = channels
        self.show(images, torch.zeros(len(paths), dtype=torch.int64), classes)


def part_of(image: "Tensor | Slide", draw: Tensor) -> "Tensor | Slide":
    """Return a part of an image [C, H, W], half of them mirrored; `draw` [5] in [0, 1) decides.

    The part has 35 to 100 % of the area. Its sides are up to a third longer or shorter than the image's own. This is
    the crop that ImageNet is trained with (Szegedy et al. 2015), but nothing is resized. Slides stay as they are.
    """
    if isinstance(image, Slide):
        return image
    area, shape, down, right, mirror = draw.tolist()
    scale, stretch = math.sqrt(0.35 + 0.65 * area), (4 / 3) ** (shape - 0.5)
    height, width = (
        min(side, max(1, round(side * scale * by)))
        for side, by in zip(image.shape[1:], (stretch, 1 / stretch), strict=True)
    )
    top, left = int(down * (image.shape[1] - height + 1)), int(right * (image.shape[2] - width + 1))
    part = image[:, top : top + height, left : left + width]
    return part.flip(2) if mirror < 0.5 else part
