"""Several questions to one encoder: the prompt says which, and each has its own head."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.sources.base import Source
from foveal_env.tasks.base import Task


class Several(Task):
    """One head for each question; the first entries of the prompt say, one of them 1, which question a scene asks.

    Each question is answered as its own task would; `prediction` is [B, W], padded with zeros
    to the longest answer. No episode ends early.

    Args:
        state_shape: (N, D).
        questions: name of each question, in the order of the prompt: its "task" and the "config" of that.
        options: by the name of a question, options of its task that can still be chosen.

    Raises ValueError for options of a question that is not asked.
    """

    def __init__(
        self, state_shape: tuple[int, int], *, questions: dict[str, dict[str, Any]], **options: dict[str, Any]
    ):
        from foveal_env.tasks import TASKS

        super().__init__()
        unknown = options.keys() - questions.keys()
        if unknown:
            raise ValueError(
                f"options of several questions are given by question, such as {{'where': {{'tolerance': 0.25}}}}: "
                f"unknown question {', '.join(sorted(unknown))}; known: {', '.join(questions)}"
            )
        questions = {
            name: {**question, "config": {**question["config"], **options.get(name, {})}}
            for name, question in questions.items()
        }
        kinds = {name: TASKS.resolve(question["task"]) for name, question in questions.items()}
        self.heads = nn.ModuleDict(
            {name: kinds[name](state_shape, **question["config"]) for name, question in questions.items()}
        )
        self.answer_size = max(head.answer_size for head in self.heads.values())

    def forward(self, state: Tensor) -> list[Tensor]:
        """Return the answer of each head to every scene."""
        return [head(state) for head in self.heads.values()]

    def score(self, answer: list[Tensor], scenes: Scenes) -> Outcome:
        """Judge the answer to the question that each scene asks."""
        asked = self.asked(scenes.prompt)
        parts, order = [], []
        for number, (head, own) in enumerate(zip(self.heads.values(), answer, strict=True)):
            rows = (asked == number).nonzero().flatten()
            if len(rows):
                judged = head.score(own[rows], scenes.rows(rows))
                flat = judged.prediction.float().reshape(len(rows), -1)
                padded = nn.functional.pad(flat, (0, self.answer_size - flat.shape[1]))
                parts.append(Outcome(judged.loss, judged.score, judged.correct, padded))
                order.append(rows)
        return Outcome.cat(parts).rows(torch.cat(order).argsort())

    def asked(self, prompt: Tensor) -> Tensor:
        """Return the number of the question that prompts [..., Q] ask."""
        return prompt[..., : len(self.heads)].argmax(dim=-1)

    def boxes(self, prediction: Tensor, prompt: Tensor) -> Tensor:
        """Return those of the question's own head."""
        head = self._head(prompt)
        return head.boxes(prediction[: head.answer_size], prompt)

    def answer_image(self, prediction: Tensor, prompt: Tensor) -> Tensor | None:
        """Return that of the question's own head."""
        head = self._head(prompt)
        return head.answer_image(prediction[: head.answer_size], prompt)

    def info(self, episode: Episode) -> dict[str, Tensor]:
        """Return what the heads tell, each of the scenes that ask its question; NaN of the others."""
        asked, outcome, told = self.asked(episode.scenes.prompt), episode.outcome, {}
        for number, head in enumerate(self.heads.values()):
            own = replace(outcome, prediction=outcome.prediction[:, : head.answer_size])
            for name, column in head.info(replace(episode, outcome=own)).items():
                before = told.get(name, torch.full_like(column, torch.nan))
                told[name] = torch.where(asked == number, column, before)
        return told

    def answer_text(self, prediction: Tensor, prompt: Tensor) -> str:
        """Return that of the question's own head."""
        head = self._head(prompt)
        return head.answer_text(prediction[: head.answer_size], prompt)

    def _head(self, prompt: Tensor) -> Any:
        return list(self.heads.values())[int(self.asked(prompt))]

    @staticmethod
    def config_for(source: Source) -> dict[str, Any]:
        """Return the questions that a source asks (its attribute `questions`)."""
        if not hasattr(source, "questions"):
            raise ValueError("the task 'several' needs a source that asks several questions, such as 'questions'")
        return {"questions": source.questions}
