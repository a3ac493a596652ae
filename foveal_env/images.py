"""A batch of images of any sizes, prepared once so that a box average costs the same at any size.

Each image is kept as an integral image (summed-area table): a box sum is the difference of four entries, whatever the
box. Between entries the table is interpolated linearly, which is exact for an image whose pixels are constant squares;
the papers round to whole pixels instead. Sums of 8-bit values stay exact: float32 while they are below 2**24, that is
up to 65,793 px, float64 above.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from foveal_env.batch import Batch

EXACT_FLOAT32 = 2**24


@dataclass(frozen=True)
class Images(Batch):
    """B prepared images; the tables lie one after another, so that mixed sizes need no padding."""

    table: Tensor  # [V, C] integral images, row by row, (H + 1) * (W + 1) entries for each image
    offset: Tensor  # [B] int64, first entry of each image
    size: Tensor  # [B, 2] int64 (H, W) in px

    @staticmethod
    def prepare(pictures: Tensor | Sequence[Tensor]) -> "Images":
        """Prepare uint8 pictures: one tensor [B, C, H, W], or any number of [C, H, W] of any sizes."""
        if isinstance(pictures, Tensor):
            return _prepare_stack(pictures)
        if not pictures:
            raise ValueError("no pictures to prepare")
        return Images.cat([_prepare_stack(picture[None]) for picture in pictures])

    @staticmethod
    def cat(parts: Sequence["Images"]) -> "Images":
        """Join batches, in order; tables that no row refers to any more are left out."""
        parts = [part.compact() for part in parts]
        dtype = max((part.table.dtype for part in parts), key=lambda dtype: dtype.itemsize)
        shift, offsets = 0, []
        for part in parts:
            offsets.append(part.offset + shift)
            shift += len(part.table)
        return Images(
            torch.cat([part.table.to(dtype) for part in parts]),
            torch.cat(offsets),
            torch.cat([part.size for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def channels(self) -> int:
        """Number of channels, C."""
        return self.table.shape[1]

    def rows(self, index: Any) -> "Images":
        """Return the images at `index` (anything that indexes a tensor); the tables are shared, not copied."""
        return Images(self.table, self.offset[index], self.size[index])

    def compact(self) -> "Images":
        """Return the same images with a table that holds nothing else, if `rows` has left some out."""
        length = (self.size + 1).prod(dim=1)
        if int(length.sum()) >= len(self.table):
            return self
        start = length.cumsum(0) - length
        entries = torch.arange(int(length.sum()), device=length.device)
        entries += torch.repeat_interleave(self.offset - start, length)
        return Images(self.table[entries], start, self.size)

    def pixels(self, row: int) -> Tensor:
        """Return one picture again, [C, H, W] uint8, exactly as it was given."""
        height, width = self.size[row].tolist()
        start = int(self.offset[row])
        table = self.table[start : start + (height + 1) * (width + 1)].double()
        table = table.reshape(height + 1, width + 1, -1).permute(2, 0, 1)
        return table.diff(dim=1).diff(dim=2).round().to(torch.uint8)

    def box_averages(self, x: Tensor, y: Tensor) -> Tensor:
        """Average each image over the boxes of a grid of lines; what lies outside the image counts as 0.

        Args:
            x, y: [B, K, P + 1] float, ascending px coordinates of the lines of K grids for each image.

        Returns:
            [B, K, C, P, P] float32 in [0, 1], rows along y.
        """
        area = y.diff(dim=-1)[..., :, None] * x.diff(dim=-1)[..., None, :]
        height, width = self.size[:, 0, None, None], self.size[:, 1, None, None]
        y, x = torch.minimum(y.clamp(min=0), height), torch.minimum(x.clamp(min=0), width)
        top, left = torch.minimum(y.long(), height - 1), torch.minimum(x.long(), width - 1)
        entry = (self.offset[:, None, None] + top * (width + 1))[..., :, None] + left[..., None, :]
        below = (entry + (width + 1)[..., None]).flatten()
        shape = (*entry.shape, 2, self.channels)  # [B, K, P + 1, P + 1, (left, right), C]
        neighbours = self.table.as_strided((len(self.table) - 1, 2 * self.channels), (self.channels, 1))
        upper = neighbours.index_select(0, entry.flatten()).view(shape)
        lower = neighbours.index_select(0, below).view(shape)
        down = (y - top).double()[..., :, None, None, None]
        right = (x - left).double()[..., None, :, None]
        column = torch.lerp(upper.double(), lower.double(), down)  # a small box is the difference of large sums
        corner = torch.lerp(column[..., 0, :], column[..., 1, :], right)
        sums = corner.diff(dim=2).diff(dim=3).permute(0, 1, 4, 2, 3)
        return (sums / (255 * area[:, :, None])).float()


def _prepare_stack(pictures: Tensor) -> Images:
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or not pictures.numel():
        raise ValueError(
            f"pictures are uint8 of shape [C, H, W] with no empty side, "
            f"got {pictures.dtype} of shape {list(pictures.shape[1:])}"
        )
    batch, channels, height, width = pictures.shape
    exact = 255 * height * width < EXACT_FLOAT32
    table = pictures.new_zeros(
        (batch, height + 1, width + 1, channels), dtype=torch.float32 if exact else torch.float64
    )
    inner = table[:, 1:, 1:]
    torch.cumsum(pictures.permute(0, 2, 3, 1).to(table.dtype), dim=1, out=inner)
    torch.cumsum(inner.clone(), dim=2, out=inner)
    entries = (height + 1) * (width + 1)
    return Images(
        table.view(-1, channels),
        torch.arange(batch, device=table.device) * entries,
        torch.tensor([height, width], device=table.device).expand(batch, 2),
    )
