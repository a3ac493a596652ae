"""Several questions to one encoder: the prompt says which, and each has its own head."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.sources.base import Source
from foveal_env.tasks import TASKS
from foveal_env.tasks.base import Metric, Task


class Several(Task):
    """One head for each question. The first entries of the prompt say, one of them 1, which question a scene asks.

    Each question is scored as its own task would; `prediction` is [B, W], padded with zeros to the longest answer. No
    episode ends early.

    Args:
        state_shape: (N, D).
        questions: name of each question, in the order of the prompt: its "task" and the "config" of that.
        options: by the name of a question, options of its task that can still be chosen.

    Raises ValueError for options of a question that is not asked.
    """

    def __init__(
        self, state_shape: tuple[int, int], *, questions: dict[str, dict[str, Any]], **options: dict[str, Any]
    ):
        super().__init__()
        unknown = options.keys() - questions.keys()
        if unknown:
            raise ValueError(
                f"options of several questions are given by question, such as {{'where': {{'tolerance': 0.25}}}}: "
                f"unknown question {', '.join(sorted(unknown))}; known: {', '.join(questions)}"
            )
        self.heads = nn.ModuleDict()
        for name, question in questions.items():
            kind = TASKS.resolve(question["task"])
            self.heads[name] = kind(state_shape, **{**question["config"], **options.get(name, {})})
        with torch.no_grad():
            self.shapes = [head(torch.zeros(1, *state_shape)).shape[1:] for head in self._heads()]
        self.answer_size = max(head.answer_size for head in self._heads())

    def _heads(self) -> list[Task]:
        return cast(list[Task], list(self.heads.values()))

    def forward(self, state: Tensor) -> Tensor:
        """Return the answers of all heads to every scene, one after another, [B, sum of their sizes]."""
        answers = [head(state) for head in self._heads()]
        return torch.cat(
            [answer.reshape(len(state), math.prod(shape)) for answer, shape in zip(answers, self.shapes, strict=True)],
            dim=1,
        )

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Score the answer to the question that each scene asks; `answer` is what `forward` returns."""
        parts = answer.split([math.prod(shape) for shape in self.shapes], dim=1)
        question = self.question_of(scenes.prompt)
        if answer.is_cpu:
            return Outcome.by_group(
                question, lambda number, rows: self._score(number, parts[number][rows], scenes.rows(rows))
            )
        # To find the rows of a question, a device must be waited for: there each head scores all scenes.
        outcomes = []
        for number, part in enumerate(parts):
            label = scenes.label.where(question == number, 0)  # a label of another question may be none of this one
            outcomes.append(self._score(number, part, replace(scenes, label=label)))
        row = torch.arange(len(question), device=question.device)
        return Outcome.cat(outcomes).rows(question * len(question) + row)

    def _score(self, number: int, answer: Tensor, scenes: Scenes) -> Outcome:
        """Score the answers [B, ...] of one head, as if all scenes asked its question."""
        head = self._heads()[number]
        outcome = head.score(answer.reshape(len(answer), *self.shapes[number]), scenes)
        flat = outcome.prediction.float().reshape(len(answer), head.answer_size)
        return replace(outcome, prediction=nn.functional.pad(flat, (0, self.answer_size - head.answer_size)))

    def question_of(self, prompt: Tensor) -> Tensor:
        """Return the number of the question that prompts [..., Q] ask, [...] int64."""
        return prompt[..., : len(self.heads)].argmax(dim=-1)

    def boxes(self, prediction: Tensor, prompt: Tensor) -> Tensor:
        """Return the boxes of the question's own head."""
        head = self._head(prompt)
        return head.boxes(prediction[: head.answer_size], prompt)

    def answer_text(self, prediction: Tensor, prompt: Tensor) -> str:
        """Return the answer of the question's own head in words."""
        head = self._head(prompt)
        return head.answer_text(prediction[: head.answer_size], prompt)

    def answer_image(self, prediction: Tensor, prompt: Tensor) -> Tensor | None:
        """Return the answer of the question's own head as an image; None if it is none."""
        head = self._head(prompt)
        return head.answer_image(prediction[: head.answer_size], prompt)

    def info(self, episode: Episode) -> dict[str, Tensor]:
        """Return the entries of all heads; each is NaN in the scenes that do not ask its question."""
        question = self.question_of(episode.scenes.prompt)
        columns: dict[str, Tensor] = {}
        for number, head in enumerate(self._heads()):
            for name, column in head.info(self._episode_of(head, episode)).items():
                before = columns.get(name, torch.full_like(column, torch.nan))
                columns[name] = torch.where(question == number, column, before)
        return columns

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The figures that each question's own task shows after each look."""
        return {
            f"{question}_{name}": replace(metric, title=f"{question}: {metric.title}")
            for question, head in zip(self.heads, self._heads(), strict=True)
            for name, metric in head.metrics.items()
            if metric.by_look
        }

    def measure(self, episode: Episode) -> dict[str, Tensor]:
        """Return the figures of all heads, question by question; NaN in the scenes that ask another."""
        question, shown = self.question_of(episode.scenes.prompt), self.metrics
        return {
            f"{own}_{name}": torch.where(question == number, column.float(), torch.nan)
            for number, (own, head) in enumerate(zip(self.heads, self._heads(), strict=True))
            for name, column in head.measure(self._episode_of(head, episode)).items()
            if f"{own}_{name}" in shown
        }

    def _episode_of(self, head: Task, episode: Episode) -> Episode:
        """Return the episodes with the predictions as a head made them; those of other questions mean nothing."""
        flat = episode.outcome.prediction[:, : head.answer_size]
        return replace(episode, outcome=replace(episode.outcome, prediction=flat))

    def _head(self, prompt: Tensor) -> Task:
        return self._heads()[int(self.question_of(prompt))]

    @staticmethod
    def config_for(source: Source) -> dict[str, Any]:
        """Return the questions that a source asks; ValueError if it asks but one."""
        if not source.questions:
            raise ValueError("the task 'several' needs a source that asks several questions, such as 'questions'")
        return {"questions": source.questions}
