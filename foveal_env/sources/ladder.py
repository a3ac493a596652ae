"""The same digits on canvases of several sizes in one batch: does what was learned on one size hold on another?"""

import copy
import os
from collections.abc import Sequence

import torch
from torch import Tensor

from foveal_env.data import Scenes
from foveal_env.kernels.hashing import scramble
from foveal_env.sources.base import SPLITS, Source


class Ladder(Source):
    """Scenes of a digit-type source whose canvas is drawn from a list; the clutter is in proportion to the area.

    Scene i has the same digit on every list, so that ``canvases=[60]`` and ``canvases=[1000]`` are equally hard but for
    the size.

    Args:
        split: "train", "validation" or "test".
        pictures_from: name of the source that the canvases are of.
        canvases: sides of the square canvases in px, each equally likely.
        canvas: only this one.
        clutter: pieces of clutter on 100 x 100 px.
        augment: rotate, scale and shear each target picture a little, at random; in the training split only.
        approach: share of the near gazes of stage 1 that come from any distance: on a large canvas a search comes
            closer in several steps, and the perception must have seen what it sees on the way.
        root: folder of the data set, by default the variable FOVEAL_DATA.
        download: fetch the data set into `root` if it is not there.
    """

    channels = 1
    knows_target = True

    def __init__(
        self,
        split: str = "train",
        *,
        pictures_from: str = "mnist",
        canvases: Sequence[int] = (60, 100, 250, 500, 1000),
        canvas: int | None = None,
        clutter: float = 8.0,
        augment: bool = False,
        approach: float = 0.0,
        root: str | os.PathLike | None = None,
        download: bool = False,
    ):
        from foveal_env.sources import SOURCES
        from foveal_env.sources.composed import Composed

        super().__init__(split)
        canvases = canvases if canvas is None else (canvas,)
        if not canvases or clutter < 0:
            raise ValueError(f"a ladder needs canvases and clutter of at least 0, got {canvases} and {clutter}")
        if not 0 <= approach <= 1:
            raise ValueError(f"approach lies in [0, 1], got {approach}")
        kind = SOURCES.resolve(pictures_from)
        if not issubclass(kind, Composed):
            raise ValueError(f"a ladder is of digit-type sources (mnist, digits, ...), not of {pictures_from!r}")
        first = kind(split, canvas=min(canvases), clutter=0, augment=augment, root=root, download=download)
        self.steps: list[Composed] = []
        for canvas in canvases:
            step = copy.copy(first)  # the pictures are shared
            step.canvas, step.clutter = canvas, round(clutter * (canvas / 100) ** 2)
            self.steps.append(step)
        self.canvases, self.classes, self.count = tuple(canvases), first.classes, first.count
        self.approach = approach
        self.canvas = canvases[0] if len(canvases) == 1 else None

    def candidate_boxes(self, scenes: Scenes, generator: torch.Generator, progress: float = 1.0) -> Tensor:
        """Return boxes [B, 4] around the target: its own, or in a share `approach` of the scenes a larger one.

        How much larger is drawn log-uniformly up to the whole image.
        """
        if not self.approach:
            return scenes.box
        draw = torch.rand(2, len(scenes), 1, generator=generator).to(scenes.box.device)
        side = scenes.box[:, 2:]
        larger = side * (2 / side) ** draw[0]
        return torch.cat([scenes.box[:, :2], torch.where(draw[1] < self.approach, larger, side)], dim=1)

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices."""
        which = scramble(index, SPLITS.index(self.split), 9) % len(self.steps)
        present = which.unique().tolist()
        rows = [(which == number).nonzero().flatten() for number in present]
        parts = [self.steps[number].scenes(index[row]) for number, row in zip(present, rows, strict=True)]
        return Scenes.cat(parts).rows(torch.cat(rows).argsort()) if len(parts) > 1 else parts[0]
