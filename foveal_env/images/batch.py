"""A batch of images of any sizes, prepared once so that a patch costs about the same whatever the image and the zoom.

Each image is kept as a pyramid of 8-bit levels, each half as wide as the one before, down to one texel (Williams,
SIGGRAPH 1983): a third more memory than the pixels, up to as much again for a picture one px wide. A box is averaged
over the texels of the first level in which it is less than 2 * FINEST texels wide, by the area that it shares with each
of them: exact in the image itself, and for a larger box wrong only in the texels that its border cuts. What lies
outside the image is 0.

Why not integral images, as in arXiv 2604.20392: measured with `python -m benchmarks.images.integral_images` on two cores, all
compiled (the pyramid's loop into vectors, those of the tables, which gather, as they are), for 64 glimpses of eight
zooms of 16 px, against a table of 32 bits read in whole pixels, the papers' way, and one of 64 bits interpolated
between them,

    |                                      | pyramid   | 32 bits   | 64 bits   |
    | memory over the decoded image        | 1.34      | 4.00      | 8.00      |
    | error of 255, mean                   | 0.05      | 1.42      | 0.00      |
    | error of 255, 99.9th percentile      | 3.4       | 37.9      | 0.0       |
    | 64 glimpses of a 64 px image         | 0.44 ms   | 0.87 ms   | 1.46 ms   |
    | 64 glimpses of an 8,192 px image     | 0.96 ms   | 3.41 ms   | 6.95 ms   |
    | preparing the 8,192 px image         | 605 ms    | 2,310 ms  | 2,759 ms  |

A table of sums is read in four places however large the box, but they lie far apart, in a table that no cache holds; a
window of a level is small and lies together. Sums also need more bits than pixels do. FINEST = 4 is the smallest whole
number for which the 99.9th percentile of the error stays below 4/255 (see benchmarks/README.md).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from foveal_env.batch import Batch

FINEST = 4.0  # a box is at least so many texels wide, unless it is narrower than that in the image itself


@dataclass(frozen=True)
class Images(Batch):
    """B prepared images; their pyramids lie one after another, so that mixed sizes need no padding."""

    texels: Tensor  # [V, C] uint8, of each image level after level, each row by row
    offset: Tensor  # [B] int64, first texel of each image
    size: Tensor  # [B, 2] int64 (H, W) in px
    slides: tuple[
        Any, ...
    ] = ()  # of each image its `foveal_env.images.slides.Slide`, or None; () if none of them is one

    @staticmethod
    def prepare(pictures: Tensor | Sequence[Any]) -> "Images":
        """Prepare pictures: one uint8 tensor [B, C, H, W], or any number of [C, H, W] of any sizes and of slides."""
        if isinstance(pictures, Tensor):
            return _prepare([_checked(pictures, 4)])
        if not pictures:
            raise ValueError("no pictures to prepare")
        slides = tuple(None if isinstance(picture, Tensor) else picture for picture in pictures)
        if not any(slides):
            return _prepare([_checked(picture, 3)[None] for picture in pictures])
        none = torch.empty(0, slides[0].channels if slides[0] else pictures[0].shape[0], dtype=torch.uint8)
        zero = torch.zeros(1, dtype=torch.int64)
        return Images.cat(
            [
                Images(none, zero, torch.tensor([picture.size]), (picture,)) if slide else Images.prepare([picture])
                for picture, slide in zip(pictures, slides, strict=True)
            ]
        )

    @staticmethod
    def painted(
        count: int, height: int, width: int, channels: int, paint: Callable[[Tensor], None], device: Any = "cpu"
    ) -> "Images":
        """Prepare pictures that ``paint(canvas)`` makes of black ones, [B, H, W, C] uint8, in place."""
        length = _length(height, width)
        texels = torch.empty(count * length, channels, dtype=torch.uint8, device=device)
        canvas = texels.view(count, length, channels)[:, : height * width].unflatten(1, (height, width))
        paint(canvas.zero_())
        offset = torch.arange(count, device=device) * length
        return _with_levels(Images(texels, offset, torch.tensor([[height, width]], device=device).repeat(count, 1)))

    @staticmethod
    def cat(parts: Sequence["Images"]) -> "Images":
        """Join batches, in order; pyramids that no row refers to any more are left out."""
        parts = [part.compact() for part in parts]
        if len({part.channels for part in parts}) > 1:
            raise ValueError("pictures of one batch must have the same number of channels")
        shift, offsets = 0, []
        for part in parts:
            offsets.append(part.offset + shift)
            shift += len(part.texels)
        slides: tuple[Any, ...] = ()
        if any(part.slides for part in parts):
            slides = tuple(slide for part in parts for slide in part.slides or (None,) * len(part))
        return Images(
            torch.cat([part.texels for part in parts]),
            torch.cat(offsets),
            torch.cat([part.size for part in parts]),
            slides,
        )

    def to(self, device: torch.device | str) -> "Images":
        """Return the batch on `device`; slides stay where they are, on disk."""
        return Images(self.texels.to(device), self.offset.to(device), self.size.to(device), self.slides)

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
        """Return the images at `index` (anything that indexes a tensor); the pyramids are shared, not copied."""
        slides: tuple[Any, ...] = ()
        if self.slides:
            slides = tuple(
                self.slides[row] for row in torch.arange(len(self), device=self.offset.device)[index].tolist()
            )
        return Images(self.texels, self.offset[index], self.size[index], slides if any(slides) else ())

    def compact(self) -> "Images":
        """Return the same images without pyramids that are not theirs, if `rows` has left some out."""
        held = self.size
        if self.slides:
            held = held * torch.tensor([[slide is None] for slide in self.slides], device=held.device)
        length = levels(held)[2]
        if int(length.sum()) >= len(self.texels):
            return self
        parts = zip(self.offset.tolist(), length.tolist(), strict=True)
        texels = torch.cat([self.texels[first : first + count] for first, count in parts])
        return Images(texels, length.cumsum(0) - length, self.size, self.slides)

    def pixels(self, row: int) -> Tensor:
        """Return one picture again, [C, H, W] uint8, exactly as it was given; of a slide, a smaller one."""
        if self.slides and self.slides[row]:
            return self.slides[row].pixels()
        height, width = self.size[row].tolist()
        start = int(self.offset[row])
        return self.texels[start : start + height * width].view(height, width, -1).permute(2, 0, 1)

    def box_averages(self, centre: Tensor, side: Tensor, patch: int) -> Tensor:
        """Cut squares out of each image and average each over patch x patch boxes.

        Args:
            centre: [B, K, 2] float32, centres (x, y) of K squares for each image in px.
            side: [B, K] float32, their sides in px, above 0.
            patch: boxes along a side, P.

        Returns:
            [B, K, C, P, P] float32 in [0, 1], rows along y.

        Raises:
            ValueError: a centre or a side is NaN or infinite, a side is not above 0, or there are not as many rows as
                images.
        """
        if centre.shape != (*side.shape, 2) or len(side) != len(self):
            raise ValueError(f"{len(self)} images, but centres {list(centre.shape)} and sides {list(side.shape)}")
        if not (self.slides or self.texels.is_cuda):
            from foveal_env.kernels import box_averages as boxes

            found = boxes.box_averages(self.texels, self.offset, self.size, centre, side, patch=patch, finest=FINEST)
            if found is not None:
                return found
        if not torch.isfinite(centre).all():
            raise ValueError(
                f"the centre of a patch must be finite, got {centre[~torch.isfinite(centre)].tolist()[:4]}"
            )
        wrong = ~(torch.isfinite(side) & (side > 0))
        if wrong.any():
            raise ValueError(f"the side of a patch must be above 0 and finite, got {side[wrong].tolist()[:4]}")
        if self.slides:
            return self._with_slides(centre, side, patch)
        return self.box_averages_in_tensors(centre, side, patch)

    def _with_slides(self, centre: Tensor, side: Tensor, patch: int) -> Tensor:
        on_disk = torch.tensor([slide is not None for slide in self.slides])
        out = centre.new_empty(*side.shape, self.channels, patch, patch)
        memory = (~on_disk).nonzero().flatten().to(centre.device)
        if len(memory):
            out[memory] = self.rows(memory).box_averages(centre[memory], side[memory], patch)
        for row in on_disk.nonzero().flatten().tolist():
            out[row] = self.slides[row].box_averages(centre[row].cpu(), side[row].cpu(), patch).to(centre.device)
        return out

    def box_averages_in_tensors(self, centre: Tensor, side: Tensor, patch: int) -> Tensor:
        """Compute `box_averages` on any device: each patch is rows x window of texels x columns."""
        starts, sizes, _ = levels(self.size)
        box = side / patch
        level = (torch.log2(box / FINEST)).floor().clamp(min=0).long()  # [B, K]
        level = torch.minimum(level, (sizes.amax(dim=2) > 1).sum(dim=1, keepdim=True))
        texel = torch.exp2(level.double())
        start = self.offset[:, None] + starts.gather(1, level)
        height, width = (sizes[..., axis].gather(1, level)[..., None] for axis in (0, 1))  # [B, K, 1]
        corner = (centre - side[..., None] / 2).double() / texel[..., None]
        lines = corner[..., None] + (box.double() / texel)[..., None, None] * torch.arange(
            patch + 1, device=side.device
        )
        end = self.size.flip(1).double()[:, None] / texel[..., None]
        lines = torch.minimum(lines.clamp(min=0), end[..., None])  # [B, K, (x, y), P + 1] in texels
        first = lines[..., 0].floor().long()
        place = torch.arange(int(2 * FINEST * patch) + 2, device=side.device)  # of a window, F x F texels
        shares = (
            torch.minimum(lines[..., 1:, None], (first[..., None] + place + 1)[..., None, :])
            - torch.maximum(lines[..., :-1, None], (first[..., None] + place)[..., None, :])
        ).clamp(min=0)
        columns, rows = shares.float().unbind(dim=2)  # [B, K, P, F]
        x, y = (first[..., axis, None] + place for axis in (0, 1))
        entry = (start[..., None] + torch.minimum(y, height - 1) * width)[..., None] + torch.minimum(x, width - 1)[
            ..., None, :
        ]
        window = self.texels[entry].float()  # [B, K, F, F, C]
        sums = torch.einsum("bkpf,bkfgc,bkqg->bkcpq", rows, window, columns)
        return sums / (255 * (box / texel) ** 2).float()[..., None, None, None]


def levels(size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return where the levels of pyramids lie.

    Args:
        size: [B, 2] (H, W) in px.

    Returns:
        Start of each level [B, L] relative to the first, size of each level [B, L, 2], length of each pyramid [B]; L
        is the number of levels of the largest, and levels after the single texel take no room.
    """
    count = max(1, math.ceil(math.log2(max(1, int(size.max())))) + 1)
    halvings = 2 ** torch.arange(count, device=size.device)
    sizes = (size[:, None] + halvings[:, None] - 1) // halvings[:, None]
    texels = sizes.prod(dim=2)
    texels[:, 1:] *= sizes[:, :-1].amax(dim=2) > 1
    ends = texels.cumsum(1)
    return ends - texels, sizes, ends[:, -1]


def _checked(picture: Tensor, dimensions: int) -> Tensor:
    if picture.dtype != torch.uint8 or picture.ndim != dimensions or not picture.numel():
        raise ValueError(
            f"pictures are uint8 of shape [C, H, W] with no empty side, "
            f"got {picture.dtype} of shape {list(picture.shape[dimensions - 3 :])}"
        )
    return picture


def _prepare(stacks: list[Tensor]) -> Images:
    """Prepare stacks [B, C, H, W], each of one size."""
    channels, device = stacks[0].shape[1], stacks[0].device
    if any(stack.shape[1] != channels for stack in stacks):
        raise ValueError("pictures of one batch must have the same number of channels")
    offsets, sizes, end = [], [], 0
    for stack in stacks:
        length = _length(*stack.shape[2:])
        offsets += range(end, end + len(stack) * length, length)
        sizes += [tuple(stack.shape[2:])] * len(stack)
        end += len(stack) * length
    texels = torch.empty(end, channels, dtype=torch.uint8, device=device)
    row = 0
    for stack in stacks:
        length = _length(*stack.shape[2:])
        first = texels[offsets[row] :][: len(stack) * length].view(len(stack), length, channels)
        first[:, : stack.shape[2] * stack.shape[3]] = stack.permute(0, 2, 3, 1).flatten(1, 2)
        row += len(stack)
    return _with_levels(Images(texels, torch.tensor(offsets, device=device), torch.tensor(sizes, device=device)))


def _with_levels(images: Images) -> Images:
    """Fill the levels above the first, in place."""
    if not images.texels.is_cuda:
        from foveal_env import compiled

        compiled.halve_all(images.texels, images.offset, images.size)
    else:
        fill_levels(images)
    return images


def fill_levels(images: Images) -> None:
    """Do what `foveal_env.compiled.halve_all` does on any device, for all images of one size at a time."""
    for size in images.size.unique(dim=0):
        rows = (images.size == size).all(dim=1).nonzero().flatten()
        height, width = size.tolist()
        start = images.offset[rows]
        while max(height, width) > 1:
            place = torch.arange(height * width, device=rows.device)
            level = halved(images.texels[start[:, None] + place].unflatten(1, (height, width)))
            start = start + height * width
            height, width = level.shape[1:3]
            place = torch.arange(height * width, device=rows.device)
            images.texels[start[:, None] + place] = level.flatten(1, 2)


def _length(height: int, width: int) -> int:
    """Return the number of texels of a pyramid, what `levels` gives as the length."""
    length = height * width
    while max(height, width) > 1:
        height, width = (height + 1) // 2, (width + 1) // 2
        length += height * width
    return length


def halved(level: Tensor) -> Tensor:
    """Average 2 x 2 texels: [B, H, W, C] uint8 to [B, ceil(H / 2), ceil(W / 2), C]; an odd last one counts twice.

    Half a grey value is rounded up in every other texel only, as on a chess board, so that the mean of a level stays.
    """
    for axis in (1, 2):
        if level.shape[axis] % 2:
            level = torch.cat([level, level.narrow(axis, level.shape[axis] - 1, 1)], dim=axis)
    wide = level.to(torch.int16)
    total = wide[:, ::2, ::2] + wide[:, 1::2, ::2] + wide[:, ::2, 1::2] + wide[:, 1::2, 1::2]
    y, x = (torch.arange(count, device=level.device, dtype=torch.int16) for count in total.shape[1:3])
    odd = ((y[:, None] ^ x) & 1)[..., None]
    return ((total + 1 + odd) >> 2).to(torch.uint8)
