"""Several pictures on one canvas, none of them touching another, over clutter or a photograph."""

import os
from numbers import Integral
from pathlib import Path

import torch
from torch import Tensor

from foveal_env.data import Scenes
from foveal_env.images import Images
from foveal_env.kernels.crops import add_crops
from foveal_env.kernels.hashing import scramble
from foveal_env.sources.base import SPLITS, Source
from foveal_env.sources.composed import CLUTTER_SIDE, Composed, varied

GAP = 2  # px between two pictures, at least


class Arranged(Source):
    """Base of sources whose scenes are an arrangement of small pictures of different classes.

    Args:
        split: "train", "validation" or "test".
        pictures_from: source of the pictures: a digit-type one, or "folder" with the option `folder`.
        canvas: side of the square canvas in px, or several of them, each equally likely.
        clutter: pieces of 8x8 px clutter on 100 x 100 px.
        background: None is black; "photos" are scikit-learn's two photographs; any other value is a folder of pictures.
            They are dimmed to half, so that what is laid on them stands out by its shape. The left three fifths of each
            are for training, then a fifth for validation and one for testing.
        augment: rotate, scale and shear each picture a little, at random; in the training split only.
        side: px that pictures of a folder are resized to.
        folder: the folder of classes, for ``pictures_from="folder"``.
        root: folder of the data set, by default the variable FOVEAL_DATA.
        download: fetch the data set into `root` if it is not there.
        cell: px of the largest thing on the canvas, in sides of a picture.
        things: number of things on the canvas.
    """

    channels = 1
    knows_target = True

    def __init__(
        self,
        split: str,
        *,
        pictures_from: str,
        canvas: int | list[int],
        clutter: float,
        background: str | None,
        augment: bool,
        side: int,
        folder: str,
        root: str | os.PathLike | None,
        download: bool,
        cell: int = 1,
        things: int,
    ):
        super().__init__(split)
        self.pictures, self.labels, self.classes = _pictures(
            pictures_from, split, side=side, folder=folder, root=root, download=download
        )
        self.count, self.side = len(self.pictures), self.pictures.shape[-1]
        self.canvases = tuple(canvas) if isinstance(canvas, list | tuple) else (canvas,)
        if not all(isinstance(size, Integral) for size in self.canvases):
            raise ValueError(f"a canvas has whole px, got {canvas!r}")
        self.canvas = self.canvases[0] if len(self.canvases) == 1 else None
        self.cell, self.things = cell * self.side + GAP, things
        self._sides = torch.full((things,), self.side)  # of each thing in px
        if self.side < CLUTTER_SIDE:
            raise ValueError(f"side must be at least the {CLUTTER_SIDE} px of a piece of clutter, got {self.side}")
        for size in self.canvases:
            if size < cell * self.side:
                raise ValueError(f"the target of {cell * self.side} px is larger than the canvas of {size} px")
            if (size // self.cell) ** 2 < things:
                raise ValueError(f"{things} pictures of {cell * self.side} px have no place on a canvas of {size} px")
        if not self.canvases or clutter < 0:
            raise ValueError(f"a canvas and clutter of at least 0 are needed, got {canvas} and {clutter}")
        self.clutter, self.augment = clutter, augment and split == "train"
        self.photos = None if background is None else _photos(background, split)
        members = [(self.labels == label).nonzero().flatten() for label in range(len(self.classes))]
        if min(len(member) for member in members) == 0:
            raise ValueError(f"every class needs a picture in the split {split!r}")
        self._sizes = torch.tensor([len(member) for member in members])
        self._first = self._sizes.cumsum(0) - self._sizes
        self._members = torch.cat(members)
        self._places = torch.empty_like(self._members)  # of each picture among those of its class
        self._places[self._members] = torch.cat([torch.arange(len(member)) for member in members])

    def compose(self, index: Tensor, question: Tensor, canvas: int) -> Scenes:
        """Return scenes [B] on one canvas; `question` [B] says which question is asked."""
        raise NotImplementedError

    def scenes(self, index: Tensor, question: int | Tensor = 0) -> Scenes:
        """Return the scenes with these indices.

        Args:
            index: [B] int64.
            question: which question is asked, 0 or [B]; any other number is the same picture with another one.
        """
        parts, order = [], []
        size = self.draw(index, 0) % len(self.canvases)
        question = torch.as_tensor(question).expand(len(index))
        if len(self.canvases) == 1 or not len(index):
            return self.compose(index, question, self.canvases[0])
        for number in size.unique().tolist():
            rows = (size == number).nonzero().flatten()
            parts.append(self.compose(index[rows], question[rows], self.canvases[number]))
            order.append(rows)
        return Scenes.cat(parts).rows(torch.cat(order).argsort())

    def candidate_boxes(self, scenes: Scenes, generator: torch.Generator, progress: float = 1.0) -> Tensor:
        """Return the box of any of the things on the canvas, [B, 4], whatever is asked: a gaze gives nothing away."""
        which = torch.randint(self.things, (len(scenes),), generator=generator)
        box, sides, index = scenes.box.clone(), scenes.images.size[:, 0].cpu(), scenes.index.cpu()
        for canvas in self.canvases:
            rows = (sides == canvas).nonzero().flatten()
            corner = self.corners(index[rows], canvas, self._sides)[torch.arange(len(rows)), which[rows]]
            box[rows] = boxes(corner, self._sides[which[rows]], canvas).to(box)
        return box

    def draw(self, index: Tensor, *salt: int | Tensor) -> Tensor:
        """Return random numbers >= 0 that depend on index, split and salt."""
        return scramble(index, SPLITS.index(self.split), 17, *salt)

    def picture(self, label: Tensor, draw: Tensor) -> Tensor:
        """Return the number of a picture of each class, by a draw."""
        return self._members[self._first[label] + draw % self._sizes[label]]

    def other(self, picture: Tensor, label: Tensor, draw: Tensor) -> Tensor:
        """Return the number of another picture of the same class, by a draw; the same one where there is no other."""
        size, place = self._sizes[label], self._places[picture]
        return self._members[self._first[label] + (place + 1 + draw % (size - 1).clamp(min=1)) % size]

    def order(self, index: Tensor) -> Tensor:
        """Return the classes in a random order for each scene, [B, classes]."""
        return self.draw(index[:, None], 4, torch.arange(len(self.classes))).argsort(dim=1)

    def corners(self, index: Tensor, canvas: int, sides: Tensor) -> Tensor:
        """Return the top-left corners (x, y) in px of things of `sides` [M] px, [B, M, 2]: one to a cell of a grid."""
        cells = canvas // self.cell
        some = min(cells**2, 1024)
        # The M smallest of random numbers are M different cells; on large canvases, of blocks of cells.
        block = self.draw(index[:, None], 1, torch.arange(some)).argsort(dim=1)[:, : len(sides)]
        first, end = block * cells**2 // some, (block + 1) * cells**2 // some
        chosen = first + self.draw(index[:, None], 2, torch.arange(len(sides))) % (end - first)
        room = (canvas // cells - GAP - sides + 1)[:, None]
        shift = self.draw(index[:, None, None], 3, torch.arange(2 * len(sides)).view(len(sides), 2)) % room
        return torch.stack([chosen % cells, chosen // cells], dim=-1) * (canvas // cells) + shift

    def painted(self, index: Tensor, canvas: int, layers: list[tuple[Tensor, Tensor]]) -> Images:
        """Return the images of scenes: background, clutter, and layers of pictures.

        Args:
            index: [B] of the scenes.
            canvas: side in px.
            layers: of each, pictures [B, M, s, s] uint8 and their corners [B, M, 2].
        """
        pieces = round(self.clutter * (canvas / 100) ** 2)

        def paint(pixels: Tensor) -> None:
            if self.photos is not None:
                _lay_under(pixels[..., 0], self.photos, self.draw(index[:, None], 7, torch.arange(3)))
            if pieces:
                draws = scramble(self.draw(index, 8)[:, None], torch.arange(5)[:, None, None], torch.arange(pieces))
                crop = torch.stack([draws[1], draws[2]], dim=-1) % (self.side - CLUTTER_SIDE + 1)
                place = torch.stack([draws[3], draws[4]], dim=-1) % (canvas - CLUTTER_SIDE + 1)
                add_crops(pixels[..., 0], self.pictures, draws[0] % self.count, crop, place, side=CLUTTER_SIDE)
            for pictures, corner in layers:
                own = torch.arange(corner.shape[0] * corner.shape[1]).view(corner.shape[:2])
                flat = pictures.flatten(0, 1)
                add_crops(pixels[..., 0], flat, own, torch.zeros_like(corner), corner, side=flat.shape[-1])

        return Images.painted(len(index), canvas, canvas, 1, paint)

    def shown(self, which: Tensor, index: Tensor, salt: int = 0) -> Tensor:
        """Return pictures [B, M, s, s] by number [B, M], varied in training where that was asked for."""
        pictures = self.pictures[which.flatten()]
        if self.augment:
            pictures = varied(pictures, scramble(index[:, None], 6 + salt, torch.arange(which.shape[1])).flatten())
        return pictures.unflatten(0, which.shape)


def boxes(corner: Tensor, side: Tensor, canvas: int) -> Tensor:
    """Return boxes [..., 4] (x, y, width, height) in the coordinates of a gaze, of corners [..., 2] and sides in px."""
    side = side.expand(corner.shape[:-1])[..., None]
    centre = (corner + side / 2) / canvas * 2 - 1
    return torch.cat([centre, (side / canvas * 2).expand_as(centre)], dim=-1).float()


def _pictures(
    pictures_from: str, split: str, *, side: int, folder: str, root: str | os.PathLike | None, download: bool
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return pictures [n, side, side] uint8, labels [n] and names of the classes."""
    from foveal_env.sources import SOURCES
    from foveal_env.sources.pictures import Folder

    kind = SOURCES.resolve(pictures_from)
    if issubclass(kind, Composed):
        source = kind(split, canvas=1024, clutter=0, root=root, download=download)
        return source.pictures, source.labels, source.classes
    if kind is not Folder:
        raise ValueError(f"candidates come from a digit-type source or a folder, not from {pictures_from!r}")
    found = Folder(split, folder=folder, channels=1)
    index = torch.arange(found.count)
    small = [_thumbnail(found, part, side) for part in index.split(256)]
    return torch.cat(small), found.labels, found.classes


def _thumbnail(source: Source, which: Tensor, side: int) -> Tensor:
    from foveal_env.tasks.reconstruct import small

    images, _ = source.pictures(which, which)
    scenes = Scenes(images, which, which[:, None], which[:, None], which)
    return (small(scenes, side)[:, 0] * 255).round().to(torch.uint8)


def _photos(background: str, split: str) -> list[Tensor]:
    """Return the part of grey photographs [H, W] uint8 that is for a split, dimmed to half."""
    if background == "photos":
        from sklearn.datasets import load_sample_images

        pictures = [torch.tensor(photo).float().mean(dim=-1) for photo in load_sample_images().images]
    else:
        from foveal_env.images.decode import SUFFIXES, read_image

        files = sorted(path for path in Path(background).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"background must be 'photos' or a folder of pictures; there are none in {background!r}")
        pictures = [Images.prepare([read_image(path, 1)]).pixels(0)[0].float() for path in files]
    begin, end = {"train": (0, 3), "validation": (3, 4), "test": (4, 5)}[split]
    parts = [picture[:, len(picture[0]) * begin // 5 : len(picture[0]) * end // 5] for picture in pictures]
    return [(part / 2).to(torch.uint8) for part in parts if part.numel()]


def _lay_under(canvas: Tensor, photos: list[Tensor], draws: Tensor) -> None:
    """Fill canvases [B, S, S] with random parts of photographs, mirrored at their edges where they are too small."""
    side = canvas.shape[-1]
    for row, (which, down, right) in enumerate(draws.tolist()):
        photo = photos[which % len(photos)]
        lines = [
            _mirrored(start % max(1, length - side + 1), side, length)
            for start, length in zip((down, right), photo.shape, strict=True)
        ]
        canvas[row] = photo[lines[0]][:, lines[1]]


def _mirrored(start: int, count: int, length: int) -> Tensor:
    """Return `count` places from `start` on in range(length), to and fro."""
    place = (start + torch.arange(count)) % (2 * length)
    return torch.minimum(place, 2 * length - 1 - place)
