"""Scenes that are whole images of any size and kind: CIFAR-10, Imagenette, and files of which nothing is known."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from foveal_env.data import Scenes
from foveal_env.images import Images
from foveal_env.images.decode import MAX_PIXELS
from foveal_env.kernels.hashing import scramble
from foveal_env.sources.base import SPLITS, Source, split_training
from foveal_env.sources.files import FileImages
from foveal_env.sources.torchvision_data import open_dataset


@dataclass
class MemoryImages:
    """Images of one size, held in memory."""

    pixels: Tensor  # [count, C, H, W] uint8

    def read(self, number: Tensor, index: Tensor) -> tuple[Images, Tensor]:
        """Return images by number [B], and these numbers; `index` [B] is that of the scenes."""
        return Images.prepare(self.pixels[number]), number


class WholeImages(Source):
    """Base of sources whose scenes are whole images, in which the place of the target is not known."""

    images: MemoryImages | FileImages
    labels: Tensor  # [count] int64

    def show(self, images: MemoryImages | FileImages, labels: Tensor, classes: Sequence[str]) -> None:
        """Set what is shown: images, their labels [count] int64, and the names of the classes."""
        self.images, self.labels = images, labels
        self.classes, self.count = tuple(classes), len(labels)
        self.distinct_scenes = self.count

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices; evaluation scene i is image i modulo their number."""
        number = self._numbers(index)
        images, number = self.images.read(number.cpu(), index.cpu())
        return Scenes(
            images=images,
            label=self.labels[number],
            box=torch.full((len(index), 4), torch.nan, dtype=torch.float32),
            prompt=torch.zeros(len(index), 0, dtype=torch.float32),
            index=index,
        )

    def sample(self, scenes: int) -> Tensor:
        """Return the indices of the first scenes that show different images; training scenes are drawn with return."""
        if self.split != "train":
            return super().sample(scenes)
        wanted = drawn = self.at_most(scenes)
        while True:
            first_of: dict[int, int] = {}
            for index, number in enumerate(self._numbers(torch.arange(drawn)).tolist()):
                first_of.setdefault(number, index)
            if len(first_of) >= wanted:
                return torch.tensor(list(first_of.values())[:wanted], dtype=torch.int64)
            drawn *= 2

    def _numbers(self, index: Tensor) -> Tensor:
        """Return the number of the image that each scene shows, [B] int64."""
        return (scramble(index, SPLITS.index(self.split)) if self.split == "train" else index) % self.count


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
        prompt: [Q] what is asked of each; None for nothing.
        prompt_names: meaning of each entry of the prompt, in words.
        question: the same question in words.
        max_pixels: refuse images with more px than that, before they are decoded; slides have no limit.
    """

    reads_files = True
    truth_known = False

    def __init__(
        self,
        paths: Sequence[str | os.PathLike],
        *,
        channels: int,
        classes: Sequence[str],
        prompt: Tensor | None = None,
        prompt_names: tuple[str, ...] = (),
        question: str = "",
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__("test")
        self.prompt = torch.zeros(0, dtype=torch.float32) if prompt is None else prompt
        self.prompt_size, self.prompt_names, self.question = len(self.prompt), prompt_names, question
        images = FileImages([Path(path) for path in paths], channels, max_pixels)
        self.channels = channels
        self.show(images, torch.zeros(len(paths), dtype=torch.int64), classes)

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices; all are asked the same."""
        return replace(super().scenes(index), prompt=self.prompt.expand(len(index), -1))

    def question_text(self, scenes: Scenes, row: int) -> str:
        """Return the question in words."""
        return self.question
