"""One scene, several questions: what is the large digit, where is the 7, how many 3s are there?"""

import os
from typing import Any

import torch
from torch import Tensor, nn

from foveal_env.data import Scenes
from foveal_env.sources.arranged import Arranged, boxes

MOST = 3  # of the counted class
QUESTIONS = ("large", "where", "count")


class Questions(Arranged):
    """A large picture and four small ones; the prompt names the question and, where there is one, the class.

    - "large": which class is the large picture?
    - "where": where is the small picture of the named class? There is exactly one.
    - "count": how many of the named class are there, 0 to 3?

    The prompt is one of 3 questions, then one of K classes (none for "large"). ``scenes(index, question=...)`` asks the
    same scene another question, by its number.

    Args:
        split: "train", "validation" or "test".
        pictures_from: source of the pictures: a digit-type one, or "folder" with the option `folder`.
        canvas: side of the square canvas in px, or several of them, each equally likely.
        clutter: pieces of 8x8 px clutter on 100 x 100 px.
        background: None is black; "photos" are scikit-learn's two photographs; any other value is a folder of pictures.
        ask: the question that is asked, or None for all in turn.
        augment: rotate, scale and shear each picture a little, at random; in the training split only.
        side: px that pictures of a folder are resized to.
        folder: the folder of classes, for ``pictures_from="folder"``.
        root: folder of the data set, by default the variable FOVEAL_DATA.
        download: fetch the data set into `root` if it is not there.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        pictures_from: str = "digits",
        canvas: int | list[int] = 180,
        clutter: float = 4.0,
        background: str | None = None,
        ask: str | None = None,
        augment: bool = False,
        side: int = 28,
        folder: str = "",
        root: str | os.PathLike | None = None,
        download: bool = False,
    ):
        if ask not in (None, *QUESTIONS):
            raise ValueError(f"unknown question {ask!r}; known: {', '.join(QUESTIONS)}, or None for all")
        super().__init__(
            split,
            pictures_from=pictures_from,
            canvas=canvas,
            clutter=clutter,
            background=background,
            augment=augment,
            side=side,
            folder=folder,
            root=root,
            download=download,
            cell=2,
            things=2 + MOST,
        )
        if len(self.classes) < 3 + MOST:
            raise ValueError(f"the questions need at least {3 + MOST} classes, got {len(self.classes)}")
        self.ask, self.prompt_names = ask, (*QUESTIONS, *self.classes)
        self.prompt_size = len(self.prompt_names)
        self._sides = torch.tensor([2 * self.side, *[self.side] * (1 + MOST)])

    @property
    def questions(self) -> dict[str, dict[str, Any]]:
        """The task of each question, and its options."""
        return {
            "large": {"task": "classify", "config": {"classes": list(self.classes)}},
            "where": {"task": "search", "config": {}},
            "count": {"task": "classify", "config": {"classes": [str(number) for number in range(MOST + 1)]}},
        }

    def compose(self, index: Tensor, question: Tensor, canvas: int) -> Scenes:
        """Return scenes [B] on one canvas; `question` [B] is added to the number of the question."""
        own = torch.arange(len(index))
        asked = self.draw(index, 10) if self.ask is None else torch.full_like(index, QUESTIONS.index(self.ask))
        asked = (asked + question) % len(QUESTIONS)
        order = self.order(index)  # the class to find, the one to count, that of the large picture, and others
        count = self.draw(index, 11) % (MOST + 1)
        counted = torch.arange(MOST) < count[:, None]
        small = torch.cat([order[:, :1], torch.where(counted, order[:, 1:2], order[:, 3 : 3 + MOST])], dim=1)
        large = self.picture(order[:, 2:3], self.draw(index[:, None], 12))
        which = self.picture(small, self.draw(index[:, None], 5, torch.arange(1 + MOST)))
        corner = self.corners(index, canvas, self._sides)
        box = torch.stack(
            [
                boxes(corner[:, 0], self._sides[0], canvas),
                boxes(corner[:, 1], self._sides[1], canvas),
                torch.tensor([0.0, 0.0, 2.0, 2.0]).expand(len(index), 4),  # to count, the whole image matters
            ],
            dim=1,
        )
        label = torch.stack([order[:, 2], order[:, 0], count], dim=1)
        kind = torch.where(asked == 2, order[:, 1], order[:, 0])
        named = nn.functional.one_hot(kind, len(self.classes)) * (asked > 0)[:, None]
        layers = [
            (self.shown(large, index, 1).repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2), corner[:, :1]),
            (self.shown(which, index), corner[:, 1:]),
        ]
        return Scenes(
            images=self.painted(index, canvas, layers),
            label=label[own, asked],
            box=box[own, asked],
            prompt=torch.cat([nn.functional.one_hot(asked, len(QUESTIONS)), named], dim=1).float(),
            index=index,
        )

    def _asked(self, scenes: Scenes, row: int) -> str:
        return QUESTIONS[int(scenes.prompt[row, : len(QUESTIONS)].argmax())]

    def question_text(self, scenes: Scenes, row: int) -> str:
        """Return the question of a scene in words."""
        named = self.prompt_names[len(QUESTIONS) + int(scenes.prompt[row, len(QUESTIONS) :].argmax())]
        words = {"large": "what is the large one?", "where": f"where is the {named}?", "count": f"how many {named}s?"}
        return words[self._asked(scenes, row)]

    def truth_text(self, scenes: Scenes, row: int) -> str:
        """Return the right answer of a scene in words."""
        config = self.questions[self._asked(scenes, row)]["config"]
        return config.get("classes", self.classes)[int(scenes.label[row])]
