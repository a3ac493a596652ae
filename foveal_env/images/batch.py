"""A batch of images of any sizes, prepared once. A patch then costs about the same whatever the image and the zoom.

An image is kept as a pyramid of 8-bit levels, which needs a third more memory than the pixels (twice as much as the
pixels for an image one px wide). A patch reads a small window of one level; see `foveal_env.kernels.box_averages`.

Integral images (arXiv 2604.20392) need more bits than pixels do, and a box reads them in four places that lie far
apart. `python -m benchmarks.images.integral_images` compares the pyramid with tables of 32 bits, read in whole pixels
as in the paper, and of 64 bits, interpolated. A glimpse has eight zooms of 16 px; two cores, all compiled:

    |                                     | pyramid | 32 bits  | 64 bits  |
    | memory over the decoded image       | 1.34    | 4.00     | 8.00     |
    | error of 255, mean                  | 0.05    | 1.42     | 0.00     |
    | error of 255, 99.9th percentile     | 3.4     | 37.9     | 0.0      |
    | 64 glimpses of a 64 px image        | 0.44 ms | 0.87 ms  | 1.46 ms  |
    | 64 glimpses of an 8,192 px image    | 0.96 ms | 3.41 ms  | 6.95 ms  |
    | preparing the 8,192 px image        | 605 ms  | 2,310 ms | 2,759 ms |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor

from foveal_env.batch import Batch
from foveal_env.kernels.box_averages import box_averages, check_squares
from foveal_env.kernels.pyramid import fill_levels, levels, pyramid_length


class ImageOnDisk(Protocol):
    """An image that stays in its file and is averaged from there, such as `foveal_env.images.slides.Slide`."""

    size: tuple[int, int]  # (H, W) in px
    channels: int

    def pixels(self) -> Tensor:
        """Return all of the image in a lower resolution, [C, h, w] uint8."""
        ...

    def box_averages(self, centre: Tensor, side: Tensor, patch: int) -> Tensor:
        """Average squares as `Images.box_averages` does: centre [K, 2] and side [K] in px to [K, C, P, P]."""
        ...


@dataclass(frozen=True)
class Known:
    """What is known of a batch of images without a look at its tensors, for which a device would have to be waited."""

    longest: int = 0  # longest side of any image in px, or more; 0 if it is not known
    pyramid: int = 0  # texels of every pyramid, if all have as many and each begins at a multiple of that; 0 if not
    is_compact: bool = False  # whether every texel is known to belong to one of the images


@dataclass(frozen=True)
class Images(Batch):
    """B prepared images. Their pyramids lie one after another, so mixed sizes need no padding."""

    texels: Tensor  # [V, C] uint8, the pyramids; see `foveal_env.kernels.pyramid`
    offset: Tensor  # [B] int64, first texel of each image
    size: Tensor  # [B, 2] int64 (H, W) in px
    slides: tuple[ImageOnDisk | None, ...] = ()  # B of them, None for an image in memory; () if all are in memory
    known: Known = Known()

    @staticmethod
    def prepare(images: Tensor | Sequence[Tensor | ImageOnDisk]) -> "Images":
        """Prepare images.

        Args:
            images: one uint8 tensor [B, C, H, W], or B of [C, H, W] uint8, of any sizes, and of images on disk. Pixels
                are 0 to 255, and rows go along y. C is 1 for grey and 3 for colour; more are possible.

        Raises:
            ValueError: there is no image, one is not uint8 or has no pixels, or their channels differ; or it is none
                of these, such as an array of NumPy.
        """
        if isinstance(images, Tensor):
            return _prepare([_checked(images, 4)])
        if not isinstance(images, Sequence):
            raise ValueError(f"images are a tensor or a sequence of them, got {type(images).__name__}")
        if not images:
            raise ValueError("no images to prepare")
        in_memory = [_checked(image, 3)[None] for image in images if isinstance(image, Tensor)]
        if len(in_memory) == len(images):
            return _prepare(in_memory)
        parts = [Images.prepare([image]) if isinstance(image, Tensor) else _on_disk(image) for image in images]
        return Images.cat(parts)

    @staticmethod
    def painted(
        count: int, height: int, width: int, channels: int, paint: Callable[[Tensor], None], device: Any = "cpu"
    ) -> "Images":
        """Prepare images that ``paint(canvas)`` makes of black ones, [B, H, W, C] uint8, in place."""
        length = pyramid_length(height, width)
        texels = torch.empty(count * length, channels, dtype=torch.uint8, device=device)
        canvas = texels.view(count, length, channels)[:, : height * width].unflatten(1, (height, width))
        paint(canvas.zero_())
        offset = torch.arange(count, device=device) * length
        size = torch.tensor([[height, width]], device=device).repeat(count, 1)
        fill_levels(texels, offset, size, (height, width))
        return Images(texels, offset, size, known=Known(max(height, width), length, is_compact=True))

    @classmethod
    def cat(cls, parts: "Sequence[Images]") -> "Images":
        """Join batches, in order; pyramids that no row refers to any more are left out."""
        parts = [part.compact() for part in parts]
        if len({part.channels for part in parts}) > 1:
            raise ValueError("images of one batch must have the same number of channels")
        texels = torch.cat([part.texels for part in parts])
        shifts = accumulate((len(part.texels) for part in parts), initial=0)
        offset = torch.cat([part.offset + shift for part, shift in zip(parts, shifts, strict=False)])
        slides = [slide for part in parts for slide in part.slides or (None,) * len(part)]
        longest, pyramid = ([getattr(part.known, name) for part in parts] for name in ("longest", "pyramid"))
        known = Known(
            longest=max(longest) if all(longest) else 0,
            pyramid=pyramid[0] if len(set(pyramid)) == 1 else 0,
            is_compact=all(part.known.is_compact for part in parts),
        )
        return cls(
            texels, offset, torch.cat([part.size for part in parts]), tuple(slides) if any(slides) else (), known
        )

    def to(self, device: torch.device | str) -> "Images":
        """Return the batch on `device`; slides stay where they are, on disk."""
        return Images(self.texels.to(device), self.offset.to(device), self.size.to(device), self.slides, self.known)

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def channels(self) -> int:
        """Number of channels, C."""
        return self.texels.shape[1]

    @cached_property
    def half(self) -> Tensor:
        """Half of the width and of the height, [B, 1, 2] float32 (x, y) in px."""
        return self.size.flip(1).float()[:, None] / 2

    @cached_property
    def shorter_half(self) -> Tensor:
        """Half of the shorter side, [B, 1] float32 in px."""
        return self.half.amin(dim=2)

    def rows(self, index: Any) -> "Images":
        """Return the images at `index`, anything that indexes a tensor; the pyramids are shared, not copied."""
        slides: list[ImageOnDisk | None] = []
        if self.slides:
            slides = [self.slides[row] for row in torch.arange(len(self), device=self.offset.device)[index].tolist()]
        slides_left = tuple(slides) if any(slides) else ()
        known = replace(self.known, is_compact=False)
        return Images(self.texels, self.offset[index], self.size[index], slides_left, known)

    def compact(self) -> "Images":
        """Return the same images without pyramids that are not theirs, if `rows` has left some out."""
        if self.known.is_compact:
            return self
        if self.known.pyramid:
            return self._compact_of_one_length(self.known.pyramid)
        held = self.size
        if self.slides:
            held = held * torch.tensor([[slide is None] for slide in self.slides], device=held.device)
        length = levels(held, self.known.longest)[2]
        offsets, lengths = torch.stack([self.offset, length]).tolist()
        if sum(lengths) >= len(self.texels):
            return self
        parts = zip(offsets, lengths, strict=True)
        texels = torch.cat([self.texels[first : first + count] for first, count in parts])
        begin = length.cumsum(0) - length
        return Images(texels, begin, self.size, self.slides, replace(self.known, is_compact=True))

    def _compact_of_one_length(self, length: int) -> "Images":
        if len(self) * length >= len(self.texels):
            return self
        texels = self.texels.view(-1, length, self.channels).index_select(0, self.offset // length).flatten(0, 1)
        begin = torch.arange(len(self), device=self.offset.device) * length
        return Images(texels, begin, self.size, self.slides, replace(self.known, is_compact=True))

    def pixels(self, row: int) -> Tensor:
        """Return one image again, [C, H, W] uint8, exactly as it was given; of a slide, a smaller one."""
        slide = self.slides[row] if self.slides else None
        if slide:
            return slide.pixels()
        height, width = self.size[row].tolist()
        start = int(self.offset[row])
        return self.texels[start : start + height * width].view(height, width, -1).permute(2, 0, 1)

    def thumbnails(self, side: int) -> Tensor:
        """Return the largest centred square of each image in side x side px, [B, C, side, side] float32 in [0, 1]."""
        return self.box_averages(self.half, 2 * self.shorter_half, side)[:, 0]

    def box_averages(self, centre: Tensor, side: Tensor, patch: int) -> Tensor:
        """Cut squares out of each image and average each over P x P boxes; outside the image is 0.

        Args:
            centre: [B, K, 2] float32, centres (x, y) of K squares for each image in px.
            side: [B, K] float32, their sides in px, above 0.
            patch: boxes along a side, P.

        Returns:
            [B, K, C, P, P] float32 in [0, 1], rows along y, without a gradient.

        Raises:
            ValueError: a centre or a side is NaN or infinite, a side is not above 0, or there are not as many rows as
                images.
        """
        if centre.shape != (*side.shape, 2) or len(side) != len(self):
            raise ValueError(f"{len(self)} images, but centres {list(centre.shape)} and sides {list(side.shape)}")
        if self.slides:
            return self._with_slides(centre, side, patch)
        longest = self.known.longest
        return box_averages(self.texels, self.offset, self.size, centre, side, patch, longest=longest)

    def _with_slides(self, centre: Tensor, side: Tensor, patch: int) -> Tensor:
        check_squares(centre, side)
        out = centre.new_empty(*side.shape, self.channels, patch, patch)
        memory = torch.tensor([row for row, slide in enumerate(self.slides) if not slide], device=centre.device).long()
        if len(memory):
            out[memory] = self.rows(memory).box_averages(centre[memory], side[memory], patch)
        for row, slide in enumerate(self.slides):
            if slide:
                out[row] = slide.box_averages(centre[row].cpu(), side[row].cpu(), patch).to(centre.device)
        return out


def _checked(images: Tensor, dimensions: int) -> Tensor:
    if images.dtype != torch.uint8 or images.ndim != dimensions or not images.numel():
        wanted = "[B, C, H, W]" if dimensions == 4 else "[C, H, W]"
        raise ValueError(
            f"images are uint8 (0 to 255) of shape {wanted} with no empty side, "
            f"got {str(images.dtype).removeprefix('torch.')} of shape {list(images.shape)}"
        )
    return images


def _on_disk(image: ImageOnDisk) -> Images:
    """Return a batch of one, which holds no texels; ValueError if it cannot be averaged."""
    if not hasattr(image, "box_averages"):
        raise ValueError(f"images are uint8 tensors [C, H, W] or images on disk, got {type(image).__name__}")
    none = torch.empty(0, image.channels, dtype=torch.uint8)
    known = Known(max(image.size), is_compact=True)
    return Images(none, torch.zeros(1, dtype=torch.int64), torch.tensor([image.size]), (image,), known)


def _prepare(stacks: list[Tensor]) -> Images:
    """Prepare stacks [B, C, H, W], each of one size."""
    channels, device = stacks[0].shape[1], stacks[0].device
    if any(stack.shape[1] != channels for stack in stacks):
        numbers = sorted({stack.shape[1] for stack in stacks})
        raise ValueError(f"images [C, H, W] of one batch must have the same number of channels, got {numbers}")
    lengths = [pyramid_length(*stack.shape[2:]) for stack in stacks]
    rooms = [len(stack) * length for stack, length in zip(stacks, lengths, strict=True)]
    texels = torch.empty(sum(rooms), channels, dtype=torch.uint8, device=device)
    offsets: list[int] = []
    for stack, length, first in zip(stacks, lengths, accumulate(rooms, initial=0), strict=False):
        count, _, height, width = stack.shape
        pyramids = texels[first : first + count * length].view(count, length, channels)
        pyramids[:, : height * width] = stack.permute(0, 2, 3, 1).flatten(1, 2)
        offsets += range(first, first + count * length, length)
    offset = torch.tensor(offsets, device=device)
    size = torch.tensor([tuple(stack.shape[2:]) for stack in stacks for _ in range(len(stack))], device=device)
    shapes = [(int(stack.shape[2]), int(stack.shape[3])) for stack in stacks]
    fill_levels(texels, offset, size, shapes[0] if len(set(shapes)) == 1 else None)
    pyramid = lengths[0] if len(set(lengths)) == 1 else 0
    return Images(texels, offset, size, known=Known(max(map(max, shapes)), pyramid, is_compact=True))
