"""One scene, several questions: what is the large digit, where is the 7, how many 3s are there?"""

from typing import Any

import torch
from torch import Tensor, nn

from foveal_env.data import Scenes
from foveal_env.sources.arrangement import Arrangement
from foveal_env.sources.canvas import Canvas, PictureSet, boxes_at

QUESTIONS = ("large", "where", "count")
LARGE, WHERE, COUNT = range(3)
MAX_COUNT = 3  # pictures of the class that is counted
WHOLE_IMAGE = (0.0, 0.0, 2.0, 2.0)  # as a box in gaze coordinates


class Questions(Arrangement):
    """A large picture and four small ones; the prompt names the question and, if it has one, the class.

    - "large": which class is the large picture?
    - "where": where is the small picture of the named class? There is exactly one.
    - "count": how many of the named class are there, 0 to 3?

    The prompt is one of 3 questions, then one of K classes (none for "large"). ``scenes(index, question=...)`` asks the
    same scene another question: the number is added to that of its own question.

    Args:
        split: "train", "validation" or "test".
        pictures: pictures to choose from.
        surface: canvas, clutter, background and augmentation.
        ask: question that is asked; None for all in turn.

    Raises ValueError if the question is unknown, or there are too few classes.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        pictures: PictureSet = PictureSet(),
        surface: Canvas = Canvas(canvas=180, clutter=4.0),
        ask: str | None = None,
    ):
        if ask not in (None, *QUESTIONS):
            raise ValueError(f"unknown question {ask!r}; known: {', '.join(QUESTIONS)}, or None for all")
        super().__init__(split, pictures, surface, scales=(2, *[1] * (1 + MAX_COUNT)))
        if len(self.classes) < 3 + MAX_COUNT:
            raise ValueError(f"the questions need at least {3 + MAX_COUNT} classes, got {len(self.classes)}")
        self.ask, self.prompt_names = ask, (*QUESTIONS, *self.classes)
        self.prompt_size = len(self.prompt_names)

    @property
    def questions(self) -> dict[str, dict[str, Any]]:
        """Questions that the prompt can ask, by name: the "task" of each and its "config"."""
        return {
            "large": {"task": "classify", "config": {"classes": list(self.classes)}},
            "where": {"task": "search", "config": {}},
            "count": {"task": "classify", "config": {"classes": [str(number) for number in range(MAX_COUNT + 1)]}},
        }

    def compose(self, index: Tensor, question: Tensor, canvas: int) -> Scenes:
        """Return scenes [B] on one canvas; `question` [B] is added to the number of the question."""
        row = torch.arange(len(index), device=index.device)
        own = self.draw(index, 10) if self.ask is None else torch.full_like(index, QUESTIONS.index(self.ask))
        number = (own + question) % len(QUESTIONS)
        order = self.order(index)  # the class to find, the one to count, that of the large picture, and others
        count = self.draw(index, 11) % (MAX_COUNT + 1)
        corner = self.corners(index, canvas)
        label = torch.stack([order[:, 2], order[:, 0], count], dim=1)  # to each question
        return Scenes(
            images=self.paint(index, canvas, self._layers(index, order, count, corner)),
            label=label[row, number],
            box=self._boxes(corner, canvas)[row, number],
            prompt=self._prompts(number, order),
            index=index,
        )

    def _layers(self, index: Tensor, order: Tensor, count: Tensor, corner: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return pixels and corners of the large picture, and of the small ones."""
        pictures, places = self.pictures.on(index.device), torch.arange(1 + MAX_COUNT, device=index.device)
        is_counted = places[:MAX_COUNT] < count[:, None]
        others = torch.where(is_counted, order[:, 1:2], order[:, 3 : 3 + MAX_COUNT])
        small = torch.cat([order[:, :1], others], dim=1)
        large = pictures.of_class(order[:, 2:3], self.draw(index[:, None], 12))
        numbers = pictures.of_class(small, self.draw(index[:, None], 5, places))
        large_pixels = self.pixels(large, index, 1).repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        return [(large_pixels, corner[:, :1]), (self.pixels(numbers, index), corner[:, 1:])]

    def _boxes(self, corner: Tensor, canvas: int) -> Tensor:
        """Return the box that matters to each question, [B, 3, 4]; to count, the whole image does."""
        box = boxes_at(corner[:, :2], self.sides[:2].to(corner.device), canvas)  # the large picture, the one to find
        return torch.cat([box, box.new_tensor(WHOLE_IMAGE).expand(len(corner), 1, 4)], dim=1)

    def _prompts(self, number: Tensor, order: Tensor) -> Tensor:
        """Return the prompts [B, Q] of questions by number [B]; `order` [B, classes] begins with their classes."""
        label = torch.where(number == COUNT, order[:, 1], order[:, 0])
        classes = nn.functional.one_hot(label, len(self.classes)) * (number != LARGE)[:, None]
        return torch.cat([nn.functional.one_hot(number, len(QUESTIONS)), classes], dim=1).float()

    def _question(self, scenes: Scenes, row: int) -> str:
        return QUESTIONS[int(scenes.prompt[row, : len(QUESTIONS)].argmax())]

    def question_text(self, scenes: Scenes, row: int) -> str:
        """Return the question of a scene in words."""
        name = self.classes[int(scenes.prompt[row, len(QUESTIONS) :].argmax())]
        texts = {"large": "what is the large one?", "where": f"where is the {name}?", "count": f"how many {name}s?"}
        return texts[self._question(scenes, row)]

    def truth_text(self, scenes: Scenes, row: int) -> str:
        """Return the right answer of a scene in words."""
        config = self.questions[self._question(scenes, row)]["config"]
        return config.get("classes", self.classes)[int(scenes.label[row])]
