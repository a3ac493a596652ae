"""A user's own folder of classes."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from foveal_env.images.decode import MAX_PIXELS, SUFFIXES
from foveal_env.kernels.hashing import shuffled
from foveal_env.sources.base import split_training
from foveal_env.sources.canvas import PictureSet, SmallPictures
from foveal_env.sources.files import READERS, FileImages
from foveal_env.sources.pictures import WholeImages

BROKEN = ("refuse", "skip", "unchecked")
LONG_CHECK = 2000  # files from which on checking them shows its progress
BATCH_OF_FILES = 4096  # checked at a time


class Folder(WholeImages):
    """A folder with one folder of images for each class: ``folder/CLASS/image.jpg``, of any sizes.

    If the folder holds `train`, `val` (or `validation`) and `test`, these are the splits; a missing `val` is a tenth of
    `train`. If it holds `train` and `val` alone, as ImageNet does, `val` is for testing and a tenth of `train`
    validates. Otherwise the images are split at random, once: 80 % train, 10 % validation, 10 % test.

    Args:
        split: "train", "validation" or "test".
        folder: the folder.
        channels: 3 for colour, 1 for grey.
        broken: what to do with files that cannot be decoded. "refuse" names them in an error. "skip" leaves them out,
            and names and counts them in a warning. "unchecked" finds out only when a scene shows one, for large
            folders. A file that goes bad or vanishes later is an error too, or left out with "skip". A damaged tile of
            a slide is an error when it is looked at, unless the overview has shown it before.
        augment: show random parts of the images, half of them mirrored; in the training split only.
        max_pixels: refuse images with more px than that, before they are decoded; slides have no limit.

    Raises ValueError or FileNotFoundError if there is no such folder, or no image for the split.
    """

    reads_files = True

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
        super().__init__(split)
        if broken not in BROKEN:
            raise ValueError(f"unknown value {broken!r} of broken; known: {', '.join(BROKEN)}")
        if not str(folder):
            raise ValueError("the source 'folder' needs the option folder: the folder of your classes")
        self.channels = channels
        images = FileImages([], channels, max_pixels, skip=broken == "skip", augment=augment and split == "train")
        files, classes = _class_files(Path(folder), split)
        if broken != "unchecked":
            files = _sound_files(files, images)
        if not files:
            raise ValueError(f"no images for the split {split!r} in {folder}")
        self.paths = images.paths = [path for path, _ in files]
        self.show(images, torch.tensor([label for _, label in files]), classes)

    @classmethod
    def small_pictures(cls, split: str, pictures: PictureSet) -> SmallPictures:
        """Return the largest centred square of each image, grey and resized to ``pictures.side`` px."""
        source = cls(split, folder=pictures.folder, channels=1)
        parts = [source.images.read(part, part)[0] for part in torch.arange(source.count).split(256)]
        pixels = [(part.thumbnails(pictures.side)[:, 0] * 255).round().to(torch.uint8) for part in parts]
        return SmallPictures(torch.cat(pixels), source.labels, source.classes)


Files = list[tuple[Path, int]]  # path and label of each image


def _sound_files(files: Files, images: FileImages) -> Files:
    """Return the files that can be read; ValueError names the others unless they are to be skipped."""
    faults: list[str | None] = []
    with tqdm(total=len(files), desc="checking images", disable=len(files) < LONG_CHECK) as bar:
        for first in range(0, len(files), BATCH_OF_FILES):
            faults += READERS.map(lambda file: images.fault(file[0]), files[first : first + BATCH_OF_FILES])
            bar.update(len(faults) - bar.n)
    bad = sorted(fault for fault in faults if fault)
    if not bad:
        return files
    names = "; ".join(bad[:5]) + (f"; and {len(bad) - 5} more" if len(bad) > 5 else "")
    if not images.skip:
        raise ValueError(f"{len(bad)} of {len(files)} images cannot be read: {names} (broken='skip' omits them)")
    warnings.warn(f"left out {len(bad)} of {len(files)} images that cannot be read: {names}")
    return [file for file, fault in zip(files, faults, strict=True) if not fault]


def _class_files(folder: Path, split: str) -> tuple[Files, Sequence[str]]:
    """Return the files of a split, and the class names."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    parts = {name: folder / name for name in ("train", "val", "validation", "test") if (folder / name).is_dir()}
    train, validation, test = parts.get("train"), parts.get("val") or parts.get("validation"), parts.get("test")
    testing = test or validation
    if not (train and testing):
        files, classes = _walk(folder)
        order, tenth = shuffled(len(files)).tolist(), max(1, len(files) // 10)
        numbers = {"test": order[:tenth], "validation": order[tenth : 2 * tenth], "train": order[2 * tenth :]}[split]
        return [files[number] for number in numbers], classes
    part = {"train": train, "validation": validation if test else train, "test": testing}[split] or train
    files, classes = _walk(part)
    if split == "train" and test and validation:
        return files, classes
    order = split_training(len(files), split if part == train else "test")
    return [files[number] for number in order.tolist()], classes


def _walk(folder: Path) -> tuple[Files, Sequence[str]]:
    """Return all files below the class folders of a folder, and the class names, both in order."""
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists())  # a dangling link is a bad file
    ]
    if not files:
        raise ValueError(f"no images in {folder}: expected {folder}/CLASS/image with one of {', '.join(SUFFIXES)}")
    return files, classes
