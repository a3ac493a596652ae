"""Scenes that are whole pictures of any size and kind: CIFAR-10, Imagenette, and a user's own folder of classes."""

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from foveal_env.data import Scenes
from foveal_env.images import Images
from foveal_env.images.decode import COLOURS, MAX_PIXELS, SUFFIXES, read_image
from foveal_env.images.slides import Slide
from foveal_env.kernels.hashing import scramble, shuffled
from foveal_env.kernels.threads import Threads
from foveal_env.sources.base import SPLITS, Source
from foveal_env.sources.composed import split_training
from foveal_env.sources.torchvision_data import open_dataset

BROKEN = ("refuse", "skip", "unchecked")

_readers = Threads("foveal_env.pictures")


class Pictures(Source):
    """Base of sources whose scenes are whole pictures; the target's place is not known."""

    labels: Tensor  # [count] int64

    def pictures(self, which: Tensor, index: Tensor) -> tuple[Images, Tensor]:
        """Return the pictures with these numbers, [B] in range(count), and the numbers of those really shown.

        `index` [B] is that of the scenes: what else is drawn at random depends on it.
        """
        raise NotImplementedError

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices; evaluation scene i is picture i modulo their number."""
        which = (scramble(index, SPLITS.index(self.split)) if self.split == "train" else index) % self.count
        images, which = self.pictures(which.cpu(), index.cpu())
        return Scenes(
            images=images,
            label=self.labels[which],
            box=torch.full((len(index), 4), torch.nan),
            prompt=torch.zeros(len(index), 0),
            index=index,
        )


class Cifar10(Pictures):
    """CIFAR-10 through torchvision: 50,000 training pictures, of which every tenth validates, and 10,000 for testing.

    Args:
        split: "train", "validation" or "test".
        root: folder of the data set, by default the variable FOVEAL_DATA.
        download: fetch the data set into `root` if it is not there.
    """

    channels = 3

    def __init__(self, split: str = "train", *, root: str | os.PathLike | None = None, download: bool = False):
        super().__init__(split)
        data = open_dataset("CIFAR10", root=root, download=download, train=split != "test")
        chosen = split_training(len(data.data), split)
        self.data = torch.from_numpy(data.data)[chosen].permute(0, 3, 1, 2)  # [count, 3, 32, 32] uint8
        self.labels = torch.tensor(data.targets)[chosen]
        self.classes, self.count = tuple(data.classes), len(chosen)

    def pictures(self, which: Tensor, index: Tensor) -> tuple[Images, Tensor]:
        """Return the pictures with these numbers."""
        return Images.prepare(self.data[which]), which


class Files(Pictures):
    """Base of sources that read a picture from its file whenever a scene shows it.

    Files are read by several threads at once, ahead of the scenes that show them (`foveal_env.sources.prefetch`); what is
    held in memory is what is on show and what comes next, however large the folder.
    """

    reads_files = True

    def __init__(
        self, split: str, *, channels: int, max_pixels: int = MAX_PIXELS, skip: bool = False, augment: bool = False
    ):
        super().__init__(split)
        if channels not in COLOURS:
            raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
        self.channels, self.max_pixels, self.skip = channels, max_pixels, skip
        self.augment = augment and split == "train"
        self.paths: list[Path] = []
        self.skipped: set[int] = set()  # pictures that could not be read when a scene question to show them

    def pictures(self, which: Tensor, index: Tensor) -> tuple[Images, Tensor]:
        """Read the pictures with these numbers, several at once.

        Raises:
            FileNotFoundError, ValueError: a file is gone or cannot be read, and `skip` is false; it is named. With
                `skip`, the next one of the folder is shown in its place, and a warning counts them.
        """
        found = list(_readers.map(self._read, which.tolist()))
        if self.augment:
            draws = scramble(index[:, None], torch.arange(20, 25)).double() / 2**53
            found = [(varied(picture, draw), number) for (picture, number), draw in zip(found, draws, strict=True)]
        return Images.prepare([picture for picture, _ in found]), torch.tensor([number for _, number in found])

    def _decoded(self, path: Path) -> "Tensor | Slide":
        """Read a picture; of a slide, where bad ones are left out, its overview too: most damage shows there."""
        picture = read_image(path, self.channels, max_pixels=self.max_pixels)
        if self.skip and isinstance(picture, Slide):
            picture.overview  # noqa: B018, it is kept
        return picture

    def _read(self, number: int) -> "tuple[Tensor | Slide, int]":
        for shift in range(self.count if self.skip else 1):
            other = (number + shift) % self.count
            if other in self.skipped:
                continue
            try:
                return self._decoded(self.paths[other]), other
            except (FileNotFoundError, ValueError) as error:
                if not self.skip:
                    raise
                self.skipped.add(other)
                warnings.warn(f"left out {len(self.skipped)} of {self.count} pictures by now; the last one: {error}")
        raise ValueError(f"none of the {self.count} pictures of this source can be read")


class Unlabelled(Files):
    """Picture files of which nothing is known; label 0 stands for the unknown one.

    Args:
        paths: the files; scene i shows file i modulo their number.
        channels: 3 for colour, 1 for grey.
        classes: names of the classes that a perception may answer.
        max_pixels: refuse pictures with more px than that, before they are decoded; slides have no limit.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike],
        *,
        channels: int,
        classes: Sequence[str],
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__("test", channels=channels, max_pixels=max_pixels)
        self.paths = [Path(path) for path in paths]
        self.labels = torch.zeros(len(self.paths), dtype=torch.int64)
        self.classes, self.count = tuple(classes), len(self.paths)


class Imagenette(Files):
    """Imagenette through torchvision: ten ImageNet classes; its validation part is for testing here.

    A tenth of its training part validates.

    Args:
        split: "train", "validation" or "test".
        channels: 3 for colour, 1 for grey.
        size: "full", "320px" or "160px", the release of the data set.
        augment: show random parts of the pictures, half of them mirrored; in the training split only.
        root: folder of the data set, by default the variable FOVEAL_DATA.
        download: fetch the data set into `root` if it is not there.
    """

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
        super().__init__(split, channels=channels, augment=augment)
        part = "val" if split == "test" else "train"
        data = open_dataset("Imagenette", root=root, download=download, split=part, size=size)
        chosen = split_training(len(data._samples), split)
        self.paths = [Path(data._samples[number][0]) for number in chosen.tolist()]
        self.labels = torch.tensor([label for _, label in data._samples])[chosen]
        self.classes = tuple(names[0] for names in data.classes)
        self.count = len(self.paths)


class Folder(Files):
    """A folder with one folder of pictures for each class: ``folder/CLASS/picture.jpg``, of any sizes.

    Where the folder holds `train`, `val` (or `validation`) and `test`, these are the splits; a missing `val` is a tenth
    of `train`. Where it holds `train` and `val` alone, as ImageNet does, `val` is for testing and a tenth of `train`
    validates. Otherwise the pictures are split at random, once: 80 % train, 10 % validation, 10 % test.

    Args:
        split: "train", "validation" or "test".
        folder: the folder.
        channels: 3 for colour, 1 for grey.
        broken: what to do with files that cannot be decoded: "refuse" all, naming them; "skip" them, naming and
            counting them in a warning; "unchecked" finds out only when a scene shows one, for large folders. A file
            that goes bad or vanishes later is an error too, or skipped with "skip"; a tile of a slide that cannot be
            decoded is one when it is looked at, unless its overview has shown it before.
        augment: show random parts of the pictures, half of them mirrored; in the training split only.
        max_pixels: refuse pictures with more px than that, before they are decoded; slides have no limit.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        folder: str | os.PathLike = "",
        channels: int = 3,
        broken: str = "refuse",
        augment: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__(split, channels=channels, max_pixels=max_pixels, skip=broken == "skip", augment=augment)
        if broken not in BROKEN:
            raise ValueError(f"unknown value {broken!r} of broken; known: {', '.join(BROKEN)}")
        if not str(folder):
            raise ValueError("the source 'folder' needs the option folder: the folder of your classes")
        files, self.classes = _class_files(Path(folder), split)
        if broken != "unchecked":
            files = self._sound(files)
        if not files:
            raise ValueError(f"no pictures for the split {split!r} in {folder}")
        self.paths = [path for path, _ in files]
        self.labels = torch.tensor([label for _, label in files])
        self.count = len(files)

    def _sound(self, files: list[tuple[Path, int]]) -> list[tuple[Path, int]]:
        faults: list[str | None] = []
        with tqdm(total=len(files), desc="checking pictures", disable=len(files) < 2000) as bar:
            for first in range(0, len(files), 4096):
                faults += _readers.map(lambda file: self._fault(file[0]), files[first : first + 4096])
                bar.update(len(faults) - bar.n)
        bad = [fault for fault in faults if fault]
        if not bad:
            return files
        listed = "; ".join(bad[:5]) + (f"; and {len(bad) - 5} more" if len(bad) > 5 else "")
        if not self.skip:
            raise ValueError(f"{len(bad)} of {len(files)} pictures cannot be read: {listed} (broken='skip' omits them)")
        warnings.warn(f"left out {len(bad)} of {len(files)} pictures that cannot be read: {listed}")
        return [file for file, fault in zip(files, faults, strict=True) if not fault]

    def _fault(self, path: Path) -> str | None:
        try:
            self._decoded(path)
        except (FileNotFoundError, ValueError) as error:
            return str(error)
        return None


def varied(picture: "Tensor | Slide", draw: Tensor) -> "Tensor | Slide":
    """Return a part of a picture [C, H, W], half of them mirrored; `draw` [5] in [0, 1) decides.

    The part has 35 to 100 % of the area and sides up to a third longer or shorter than the picture's own: the crop that
    ImageNet is trained with (Szegedy et al. 2015), but that nothing is resized. Slides stay as they are.
    """
    if isinstance(picture, Slide):
        return picture
    area, shape, down, right, mirror = draw.tolist()
    scale, stretch = math.sqrt(0.35 + 0.65 * area), (4 / 3) ** (shape - 0.5)
    height, width = (
        min(side, max(1, round(side * scale * by)))
        for side, by in zip(picture.shape[1:], (stretch, 1 / stretch), strict=True)
    )
    top, left = int(down * (picture.shape[1] - height + 1)), int(right * (picture.shape[2] - width + 1))
    part = picture[:, top : top + height, left : left + width]
    return part.flip(2) if mirror < 0.5 else part


def _class_files(folder: Path, split: str) -> tuple[list[tuple[Path, int]], tuple[str, ...]]:
    """Return (path, label) of each picture of a split, and the class names."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    held_out = [folder / name for name in ("val", "validation") if (folder / name).is_dir()]
    test = folder / "test" if (folder / "test").is_dir() else None
    if not ((folder / "train").is_dir() and (test or held_out)):
        files, classes = _walk(folder)
        order, tenth = shuffled(len(files)).tolist(), max(1, len(files) // 10)
        parts = {"test": order[:tenth], "validation": order[tenth : 2 * tenth], "train": order[2 * tenth :]}
        return [files[number] for number in parts[split]], classes
    if split == "test":
        return _walk(test or held_out[0])
    if test and held_out:
        return _walk(held_out[0] if split == "validation" else folder / "train")
    files, classes = _walk(folder / "train")
    return [files[number] for number in split_training(len(files), split).tolist()], classes


def _walk(folder: Path) -> tuple[list[tuple[Path, int]], tuple[str, ...]]:
    classes: Sequence[str] = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists())  # a dangling link is a bad file
    ]
    if not files:
        raise ValueError(f"no pictures in {folder}: expected {folder}/CLASS/picture with one of {', '.join(SUFFIXES)}")
    return files, tuple(classes)
