"""Scenes to search: several pictures of different classes on one canvas, and a prompt that says which one to find."""

import os

import torch
from torch import Tensor, nn

from foveal_env.data import Scenes
from foveal_env.sources.arranged import Arranged, boxes

PROMPTS = ("class", "example")
AIMED = 0.6  # of stage 1, in which `aim` falls to 0
EXAMPLE_SIDE = 14  # px of the patch that an example is shown as


class Search(Arranged):
    """Where is the 7? Candidates of different classes, and a prompt that names one of them.

    ``scenes(index, question=...)`` asks the same scene for another of its candidates.

    Args:
        split: "train", "validation" or "test".
        pictures_from: source of the candidates: a digit-type one, or "folder" with the option `folder`.
        canvas: side of the square canvas in px, or several of them, each equally likely.
        candidates: pictures in a scene, each of another class; one of them is the target.
        clutter: pieces of 8x8 px clutter on 100 x 100 px.
        background: None is black; "photos" are scikit-learn's two photographs; any other value is a folder of pictures.
        aim: when stage 1 begins, share of the gazes near a candidate that are near the target whatever it is; it falls
            to 0 over the first part of the training. All others are near any candidate. Aimed to the end, an encoder
            can learn that the target is where it looks, and then believes any policy.
        prompt: "class": which class to find, one of K; "example": another picture of that class, 14 x 14 px.
        augment: rotate, scale and shear each candidate a little, at random; in the training split only.
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
        canvas: int | list[int] = 100,
        candidates: int = 4,
        clutter: float = 4.0,
        background: str | None = None,
        aim: float = 0.0,
        prompt: str = "class",
        augment: bool = False,
        side: int = 28,
        folder: str = "",
        root: str | os.PathLike | None = None,
        download: bool = False,
    ):
        if prompt not in PROMPTS:
            raise ValueError(f"unknown prompt {prompt!r}; known: {', '.join(PROMPTS)}")
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
            things=candidates,
        )
        if not 2 <= candidates <= len(self.classes):
            raise ValueError(f"candidates must be 2 to {len(self.classes)}, the number of classes, got {candidates}")
        if not 0 <= aim <= 1:
            raise ValueError(f"aim lies in [0, 1], got {aim}")
        self.candidates, self.prompt, self.aim = candidates, prompt, aim
        self.prompt_size = len(self.classes) if prompt == "class" else EXAMPLE_SIDE**2
        self.prompt_names = (
            self.classes if prompt == "class" else (f"an example of {EXAMPLE_SIDE} x {EXAMPLE_SIDE} px",)
        )

    def candidate_boxes(self, scenes: Scenes, generator: torch.Generator, progress: float = 1.0) -> Tensor:
        """Return the box of the target in some scenes, see `aim`, in the others that of any candidate, [B, 4]."""
        box = super().candidate_boxes(scenes, generator)
        aimed = torch.rand(len(scenes), 1, generator=generator) < self.aim * max(0.0, 1 - progress / AIMED)
        return torch.where(aimed.to(box.device), scenes.box, box)

    def compose(self, index: Tensor, question: Tensor, canvas: int) -> Scenes:
        """Return scenes [B] on one canvas; `question` [B] is the number of the candidate to find."""
        if len(question) and not 0 <= int(question.min()) <= int(question.max()) < self.candidates:
            raise ValueError(
                f"a scene has candidates 0 to {self.candidates - 1}, question {question.unique().tolist()}"
            )
        own = torch.arange(len(index))
        labels = self.order(index)[:, : self.candidates]
        which = self.picture(labels, self.draw(index[:, None], 5, torch.arange(self.candidates)))
        corner = self.corners(index, canvas, self._sides)
        label = labels[own, question]
        shown = which[own, question]
        return Scenes(
            images=self.painted(index, canvas, [(self.shown(which, index), corner)]),
            label=label,
            box=boxes(corner[own, question], self._sides[0], canvas),
            prompt=self._prompts(label, shown, index),
            index=index,
        )

    def question_text(self, scenes: Scenes, row: int) -> str:
        """Return what is to be found in a scene, in words."""
        return f"where is the {self.classes[int(scenes.label[row])]}?"

    def _prompts(self, label: Tensor, shown: Tensor, index: Tensor) -> Tensor:
        if self.prompt == "class":
            return nn.functional.one_hot(label, len(self.classes)).float()
        example = self.pictures[self.other(shown, label, self.draw(index, 9))]
        return nn.functional.adaptive_avg_pool2d(example[:, None].float() / 255, EXAMPLE_SIDE).flatten(1)
