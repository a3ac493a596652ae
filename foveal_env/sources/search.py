"""Scenes to search: several pictures of different classes on one canvas, and a prompt that says which one to find."""

import torch
from torch import Tensor, nn

from foveal_env.data import Scenes
from foveal_env.sources.arrangement import Arrangement
from foveal_env.sources.canvas import Canvas, PictureSet, boxes_at

PROMPTS = ("class", "example")
EXAMPLE_PX = 14  # side of the patch that an example is shown as
AIM_UNTIL = 0.6  # share of stage 1 after which no gaze is aimed any more


class Search(Arrangement):
    """Where is the 7? Candidates of different classes, and a prompt that names one of them.

    ``scenes(index, question=...)`` asks the same scene for another of its candidates.

    Args:
        split: "train", "validation" or "test".
        pictures: pictures that candidates are chosen from.
        surface: canvas, clutter, background and augmentation.
        candidates: number of pictures in a scene, each of another class; one of them is the target.
        aim: share of the gazes near a candidate that are near the target when stage 1 begins; all others are near any
            candidate. The share falls to 0 over the first part of the training. If most gazes were near the target to
            the end, the encoder would learn to treat the gaze itself as evidence.
        prompt: "class": which class to find, one of K; "example": another picture of that class, 14 x 14 px.

    Raises ValueError if a number is out of range, or the prompt is unknown.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        pictures: PictureSet = PictureSet(),
        surface: Canvas = Canvas(canvas=100, clutter=4.0),
        candidates: int = 4,
        aim: float = 0.0,
        prompt: str = "class",
    ):
        if prompt not in PROMPTS:
            raise ValueError(f"unknown prompt {prompt!r}; known: {', '.join(PROMPTS)}")
        if not 0 <= aim <= 1:
            raise ValueError(f"aim lies in [0, 1], got {aim}")
        super().__init__(split, pictures, surface, scales=(1,) * candidates)
        if not 2 <= candidates <= len(self.classes):
            raise ValueError(f"candidates must be 2 to {len(self.classes)}, the number of classes, got {candidates}")
        self.candidates, self.prompt, self.aim = candidates, prompt, aim
        self.prompt_size = len(self.classes) if prompt == "class" else EXAMPLE_PX**2
        self.prompt_names = self.classes if prompt == "class" else (f"an example of {EXAMPLE_PX} x {EXAMPLE_PX} px",)

    def candidate_boxes(self, scenes: Scenes, generator: torch.Generator, progress: float = 1.0) -> Tensor:
        """Return the box of the target in some scenes, see `aim`, in the others that of any candidate, [B, 4]."""
        box = super().candidate_boxes(scenes, generator)
        share = self.aim * max(0.0, 1 - progress / AIM_UNTIL)
        is_aimed = torch.rand(len(scenes), 1, dtype=torch.float32, generator=generator) < share
        return torch.where(is_aimed.to(box.device), scenes.box, box)

    def check_question(self, question: Tensor) -> None:
        """Raise ValueError unless each is the number of a candidate."""
        if question.numel() and not 0 <= int(question.min()) <= int(question.max()) < self.candidates:
            raise ValueError(
                f"a scene has candidates 0 to {self.candidates - 1}, question {question.unique().tolist()}"
            )

    def labels(self, index: Tensor, canvas: int) -> Tensor:
        """Return the classes of the candidates of each scene on a canvas, [B, M]."""
        return self.order(index)[:, : self.candidates]

    def compose(self, index: Tensor, question: Tensor, canvas: int) -> Scenes:
        """Return scenes [B] on one canvas; `question` [B] is the number of the candidate to find."""
        labels = self.labels(index, canvas)
        row, which = (torch.arange(count, device=index.device) for count in labels.shape)
        numbers = self.pictures.on(index.device).of_class(labels, self.draw(index[:, None], 5, which))
        corner = self.corners(index, canvas)
        return Scenes(
            images=self.paint(index, canvas, [(self.pixels(numbers, index), corner)]),
            label=labels[row, question],
            box=boxes_at(corner[row, question], self.pictures.side, canvas),
            prompt=self._prompts(labels[row, question], numbers[row, question], index),
            index=index,
        )

    def question_text(self, scenes: Scenes, row: int) -> str:
        """Return what is to be found in a scene, in words."""
        return f"where is the {self.classes[int(scenes.label[row])]}?"

    def _prompts(self, label: Tensor, target: Tensor, index: Tensor) -> Tensor:
        """Return the prompts [B, Q] by class and number of the target picture, [B] each."""
        if self.prompt == "class":
            return nn.functional.one_hot(label, len(self.classes)).float()
        pictures = self.pictures.on(index.device)
        example = pictures.pixels[pictures.another(target, self.draw(index, 9))]
        return nn.functional.adaptive_avg_pool2d(example[:, None].float() / 255, EXAMPLE_PX).flatten(1)
