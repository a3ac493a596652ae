"""The same digits on canvases of several sizes in one batch: does what was learned on one size hold on another?"""

from dataclasses import replace

import torch
from torch import Tensor

from foveal_env.data import Scenes
from foveal_env.kernels.hashing import scramble
from foveal_env.sources.background import photographs
from foveal_env.sources.base import SPLITS, Source
from foveal_env.sources.canvas import Canvas, PictureSet
from foveal_env.sources.digits import check_room, lay_one


class Ladder(Source):
    """Scenes of one picture whose canvas is drawn from several; the clutter is in proportion to the area.

    Scene i shows the same picture whatever the canvases: ``canvas=60`` and ``canvas=1000`` are equally hard but for the
    size.

    Args:
        split: "train", "validation" or "test".
        pictures: pictures to choose from.
        surface: canvases, clutter, background and augmentation.
        approach: share of the near gazes of stage 1 that come from any distance. On a large canvas a search comes
            closer in several steps, and the perception must have seen what it sees on the way.

    Raises ValueError if a picture does not fit on a canvas, or `approach` is out of range.
    """

    channels = 1
    knows_target = True
    any_device = True

    def __init__(
        self,
        split: str = "train",
        *,
        pictures: PictureSet = PictureSet(pictures_from="mnist"),
        surface: Canvas = Canvas(canvas=(60, 100, 250, 500, 1000), clutter=8.0),
        approach: float = 0.0,
    ):
        super().__init__(split)
        if not 0 <= approach <= 1:
            raise ValueError(f"approach lies in [0, 1], got {approach}")
        self.pictures, self.surface, self.approach = pictures.load(split), surface, approach
        self.classes, self.count = self.pictures.classes, len(self.pictures)
        self.canvas, self.canvases = surface.only_side, surface.sides
        self.photos = photographs(surface.background, split)
        for canvas in self.canvases:
            check_room(canvas, self.pictures)

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices."""
        place = self.pictures.on(index.device).places(index)
        if self.canvas is not None:
            return replace(self._compose(place, self.canvas), index=index)
        which = scramble(place, SPLITS.index(self.split), 9) % len(self.canvases)
        scenes = Scenes.by_group(which, lambda number, rows: self._compose(place[rows], self.canvases[number]))
        return replace(scenes, index=index)

    def _compose(self, place: Tensor, canvas: int) -> Scenes:
        return lay_one(
            self.pictures,
            place,
            split=self.split,
            canvas=canvas,
            pieces=self.surface.pieces(canvas),
            augment=self.surface.augment,
            photos=self.photos,
        )

    def candidate_boxes(self, scenes: Scenes, generator: torch.Generator, progress: float = 1.0) -> Tensor:
        """Return boxes [B, 4] around the target: its own, or in a share `approach` of the scenes a larger one.

        How much larger is drawn log-uniformly up to the whole image.
        """
        if not self.approach:
            return scenes.box
        draw = torch.rand(2, len(scenes), 1, dtype=torch.float32, generator=generator).to(scenes.box.device)
        side = scenes.box[:, 2:]
        larger = side * (2 / side) ** draw[0]
        return torch.cat([scenes.box[:, :2], torch.where(draw[1] < self.approach, larger, side)], dim=1)
