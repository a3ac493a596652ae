"""Several pictures on one canvas, none of them touching another, over clutter or a photograph."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from foveal_env.data import Scenes
from foveal_env.images import Images
from foveal_env.kernels.crops import add_crops
from foveal_env.kernels.hashing import scramble
from foveal_env.sources.background import lay_under, photographs
from foveal_env.sources.base import SPLITS, Source
from foveal_env.sources.canvas import CLUTTER_PX, Canvas, PictureSet, add_clutter, boxes_at, warp

GAP_PX = 2  # between two pictures, at least
MAX_BLOCKS = 1024  # of cells, among which a scene draws the places of its pictures


class Arrangement(Source):
    """Base of sources whose scenes are several small pictures of different classes.

    Args:
        split: "train", "validation" or "test".
        pictures: pictures to choose from.
        surface: canvas, clutter, background and augmentation.
        scales: side of each picture of a scene, in sides of the pictures to choose from.

    Raises ValueError if the pictures do not fit on a canvas, or a class has none in the split.
    """

    channels = 1
    knows_target = True
    any_device = True

    def __init__(self, split: str, pictures: PictureSet, surface: Canvas, *, scales: Sequence[int]):
        super().__init__(split)
        self.pictures, self.surface = pictures.load(split), surface
        self.classes, self.count = self.pictures.classes, len(self.pictures)
        self.canvas, self.canvases = surface.only_side, surface.sides
        self.sides = torch.tensor(scales) * self.pictures.side  # [M] of each picture of a scene in px
        self.cell = max(scales, default=1) * self.pictures.side + GAP_PX
        self.photos = photographs(surface.background, split)
        if self.pictures.side < CLUTTER_PX:
            raise ValueError(
                f"side must be at least the {CLUTTER_PX} px of a piece of clutter, got {self.pictures.side}"
            )
        for canvas in self.canvases:
            self._check_room(canvas)
        # Drawn below this, the number of a picture is uniform on every canvas.
        self._pick = math.lcm(*(len(self.sides_on(canvas)) or 1 for canvas in self.canvases))
        if not self.pictures.class_sizes.all():
            raise ValueError(f"every class needs a picture in the split {split!r}")

    def sides_on(self, canvas: int) -> Tensor:
        """Return the sides in px of the pictures on a canvas of `canvas` px, [M]; by default those of every canvas."""
        return self.sides

    def _check_room(self, canvas: int) -> None:
        largest, count = self.cell - GAP_PX, len(self.sides_on(canvas))
        if canvas < largest:
            raise ValueError(f"the target of {largest} px is larger than the canvas of {canvas} px")
        if (canvas // self.cell) ** 2 < count:
            raise ValueError(f"{count} pictures of {largest} px have no place on a canvas of {canvas} px")

    def compose(self, index: Tensor, question: Tensor, canvas: int) -> Scenes:
        """Return scenes on one canvas.

        Args:
            index: [B] int64.
            question: [B] int64, number of the question that is asked of each.
            canvas: side in px.
        """
        raise NotImplementedError

    def scenes(self, index: Tensor, question: int | Tensor = 0) -> Scenes:
        """Return the scenes with these indices.

        Args:
            index: [B] int64.
            question: number of the question, one or [B]. The image of a scene is the same for every question.
        """
        question = torch.as_tensor(question)
        self.check_question(question)
        question = question.expand(len(index)).to(index.device)
        if self.canvas is not None:
            return self.compose(index, question, self.canvas)
        return Scenes.by_group(
            self.draw(index, 0) % len(self.canvases),
            lambda number, rows: self.compose(index[rows], question[rows], self.canvases[number]),
        )

    def check_question(self, question: Tensor) -> None:
        """Raise ValueError unless scenes can be asked the questions of these numbers; any by default."""

    def candidate_boxes(self, scenes: Scenes, generator: torch.Generator, progress: float = 1.0) -> Tensor:
        """Return the box of any of the pictures, [B, 4], whatever is asked: a gaze gives nothing away."""
        index = scenes.index
        which = torch.randint(self._pick, (len(scenes),), generator=generator).to(index.device)
        if self.canvas is not None:
            return self._boxes_of(index, which, self.canvas)
        box, canvases = scenes.box.clone(), scenes.images.size[:, 0].cpu()
        for canvas in self.canvases:
            rows = (canvases == canvas).nonzero().flatten().to(index.device)
            box[rows] = self._boxes_of(index[rows], which[rows], canvas)
        return box

    def _boxes_of(self, index: Tensor, which: Tensor, canvas: int) -> Tensor:
        """Return the box of picture number `which` [B], modulo the number of pictures, of each scene, [B, 4]."""
        row, sides = torch.arange(len(index), device=index.device), self.sides_on(canvas).to(index.device)
        which = which % len(sides)
        return boxes_at(self.corners(index, canvas)[row, which], sides[which], canvas)

    def draw(self, index: Tensor, *salt: int | Tensor) -> Tensor:
        """Return random numbers >= 0 that depend on index, split and salt."""
        return scramble(index, SPLITS.index(self.split), 17, *salt)

    def order(self, index: Tensor) -> Tensor:
        """Return the classes in a random order for each scene, [B, classes]."""
        return self.draw(index[:, None], 4, _range(len(self.classes), index)).argsort(dim=1)

    def corners(self, index: Tensor, canvas: int) -> Tensor:
        """Return the top-left corners (x, y) of the pictures in px, [B, M, 2]: one picture to a cell of a grid."""
        cells, sides = canvas // self.cell, self.sides_on(canvas).to(index.device)
        count = len(sides)
        blocks = min(cells**2, max(MAX_BLOCKS, count))
        # The M smallest of random numbers are M different cells; on large canvases, of blocks of cells.
        block = self.draw(index[:, None], 1, _range(blocks, index)).argsort(dim=1)[:, :count]
        first, end = block * cells**2 // blocks, (block + 1) * cells**2 // blocks
        cell = first + self.draw(index[:, None], 2, _range(count, index)) % (end - first)
        room = (canvas // cells - GAP_PX - sides + 1)[:, None]
        shift = self.draw(index[:, None, None], 3, _range(2 * count, index).view(count, 2)) % room
        return torch.stack([cell % cells, cell // cells], dim=-1) * (canvas // cells) + shift

    def pixels(self, number: Tensor, index: Tensor, salt: int = 0) -> Tensor:
        """Return pictures [B, M, s, s] by number [B, M], each warped a little in training if that was asked for."""
        pixels = self.pictures.on(index.device).pixels[number.flatten()]
        if self.surface.augment and self.split == "train":
            pixels = warp(pixels, scramble(index[:, None], 6 + salt, _range(number.shape[1], index)).flatten())
        return pixels.unflatten(0, number.shape)

    def paint(self, index: Tensor, canvas: int, layers: list[tuple[Tensor, Tensor]]) -> Images:
        """Return the images of scenes: background, clutter, and layers of pictures.

        Args:
            index: [B] of the scenes.
            canvas: side in px.
            layers: pixels [B, M, s, s] uint8 of the pictures of each layer, and their corners [B, M, 2].
        """
        pieces = self.surface.pieces(canvas)

        def fill(texels: Tensor) -> None:
            if self.photos:
                lay_under(texels[..., 0], self.photos, self.draw(index[:, None], 7, _range(3, index)))
            if pieces:
                streams = _range(5, index)[:, None, None], _range(pieces, index)
                clutter = self.pictures.on(index.device).pixels
                add_clutter(texels[..., 0], clutter, scramble(self.draw(index, 8)[:, None], *streams))
            for pixels, corner in layers:
                own = _range(corner.shape[0] * corner.shape[1], index).view(corner.shape[:2])
                flat = pixels.flatten(0, 1)
                add_crops(texels[..., 0], flat, own, torch.zeros_like(corner), corner, side=flat.shape[-1])

        return Images.painted(len(index), canvas, canvas, 1, fill, index.device)


def _range(count: int, beside: Tensor) -> Tensor:
    """Return range(count), [count] int64, on the device of another tensor."""
    return torch.arange(count, device=beside.device)
