"""Crowds to search: many pictures alike, of which the one that the prompt names is there once."""

from collections.abc import Sequence
from functools import cached_property
from numbers import Integral

import torch
from torch import Tensor

from foveal_env.sources.canvas import Canvas, PictureSet
from foveal_env.sources.search import Search


class Crowd(Search):
    """Where is the 7, among 36 digits? All are equally salient: what stands out tells nothing of where it is.

    The first `singles` pictures are of different classes, each of which is there once; the prompt names one of them,
    and ``scenes(index, question=...)`` asks the same crowd for another. All other pictures are of the other classes,
    which repeat.

    Args:
        split: "train", "validation" or "test".
        pictures: pictures that the crowd is chosen from.
        surface: canvas, clutter, background and augmentation.
        candidates: number of pictures in a scene; or several, one for each canvas.
        singles: classes that are there once, and can be asked for.
        similar: number of classes that the other pictures are drawn from: those that are most like the target of
            question 0, by the mean of their pictures. 0 is all that are not there once.
        prompt: "class": which class to find, one of K; "example": another picture of that class, 14 x 14 px.

    Raises ValueError if a number is out of range, the pictures do not fit on a canvas, or the prompt is unknown.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        pictures: PictureSet = PictureSet(),
        surface: Canvas = Canvas(canvas=400, clutter=0.0),
        candidates: int | Sequence[int] = 36,
        singles: int = 4,
        similar: int = 0,
        prompt: str = "class",
    ):
        numbers = tuple(candidates) if isinstance(candidates, Sequence) else (candidates,) * len(surface.sides)
        if len(numbers) != len(surface.sides) or len(set(surface.sides)) < len(numbers):
            raise ValueError(
                f"candidates is one number, or one for each of as many different canvases, got {candidates!r} for "
                f"{list(surface.sides)}"
            )
        for number in numbers:
            if not isinstance(number, Integral) or number < 2:
                raise ValueError(f"candidates must be at least 2, in whole numbers, got {number!r}")
        self._numbers = dict(zip(surface.sides, numbers, strict=True))
        super().__init__(split, pictures=pictures, surface=surface, candidates=2, prompt=prompt)
        classes = len(self.classes)
        if not 1 <= singles <= min(classes - 1, *numbers):
            raise ValueError(
                f"singles must be 1 to {min(classes - 1, *numbers)}: a class at least has to repeat, got {singles}"
            )
        if not 0 <= similar <= classes - singles:
            raise ValueError(f"similar must be 0 to the {classes - singles} classes that repeat, got {similar}")
        self.candidates, self.singles, self.similar = max(numbers), singles, similar

    def sides_on(self, canvas: int) -> Tensor:
        """Return the sides in px of the pictures on a canvas of `canvas` px, [M]."""
        return torch.full((self._numbers[canvas],), self.pictures.side)

    def check_question(self, question: Tensor) -> None:
        """Raise ValueError unless each is the number of a picture whose class is there once."""
        if question.numel() and not 0 <= int(question.min()) <= int(question.max()) < self.singles:
            raise ValueError(f"a crowd has questions 0 to {self.singles - 1}, got {question.unique().tolist()}")

    def labels(self, index: Tensor, canvas: int) -> Tensor:
        """Return the classes of the pictures of each scene on a canvas, [B, M]: first those that are there once."""
        order, others = self.order(index), self._numbers[canvas] - self.singles
        if self.similar:
            order = torch.cat([order[:, :1], self._alike.to(index.device)[order[:, 0]]], dim=1)
            singles = torch.cat([order[:, :1], order[:, 1 + self.similar :][:, : self.singles - 1]], dim=1)
            repeated = order[:, 1 : 1 + self.similar]
        else:
            singles, repeated = order[:, : self.singles], order[:, self.singles :]
        number = torch.arange(others, device=index.device)
        return torch.cat(
            [singles, repeated.gather(1, self.draw(index[:, None], 10, number) % repeated.shape[1])], dim=1
        )

    @cached_property
    def _alike(self) -> Tensor:
        """Return for each class the others, the most similar ones first, [classes, classes - 1]."""
        pixels, labels = self.pictures.pixels.flatten(1).float(), self.pictures.labels
        means = torch.stack([pixels[labels == number].mean(dim=0) for number in range(len(self.classes))])
        return torch.cdist(means, means).argsort(dim=1)[:, 1:]
