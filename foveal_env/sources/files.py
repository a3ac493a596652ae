"""Images that are read from their files whenever scenes show them."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from foveal_env.images import Images
from foveal_env.images.decode import COLOURS, MAX_PIXELS, read_image
from foveal_env.images.slides import Slide
from foveal_env.kernels.hashing import scramble
from foveal_env.kernels.threads import Threads

READERS = Threads("foveal_env.files")


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
        return Images.prepare(images), torch.tensor([actual for _, actual in pairs])

    def fault(self, path: Path) -> str | None:
        """Return what is wrong with a file, None if it can be read."""
        try:
            self._read(path)
        except (FileNotFoundError, ValueError) as error:
            return str(error)
        return None

    def _read(self, path: Path) -> Tensor | Slide:
        image = read_image(path, self.channels, max_pixels=self.max_pixels)
        if self.skip and isinstance(image, Slide):
            image.overview  # noqa: B018, it is kept; most damage of a slide shows there
        return image

    def _read_or_skip(self, number: int) -> tuple[Tensor | Slide, int]:
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


def part_of(image: Tensor | Slide, draw: Tensor) -> Tensor | Slide:
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
