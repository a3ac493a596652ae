"""The contract of a task: a head on the state, and how its answer is judged; and the rewards made from that."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.sources.base import Source


class Task(nn.Module):
    """Base of all tasks: a head, and how to judge it.

    A subclass is built from a state shape (N, D) and what `config_for` and `statistics_of` return as keyword arguments; any
    others need a default, and can be changed when a world is made (`task_options`).

    Attributes:
        needs_target: whether scenes must know where their target is.
        ends_on_success: whether an episode ends as soon as the answer is correct.
        answer_size: numbers in the prediction for one scene.
        rewards: rewards of its own by name, beside those of `REWARDS`: functions of the outcomes before and after a
            glimpse, and of whether it was the last, to [B] float.
    """

    needs_target = False
    ends_on_success = False
    answer_size = 1
    rewards: ClassVar[dict[str, Callable[[Outcome, Outcome, Tensor], Tensor]]] = {}

    def forward(self, state: Tensor) -> Tensor:
        """Return the answer that the head reads off a state [B, N, D]."""
        raise NotImplementedError

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Judge answers for B scenes."""
        raise NotImplementedError

    @staticmethod
    def config_for(source: Source) -> dict[str, Any]:
        """Return what of a source the head depends on, as JSON: keyword arguments of the constructor."""
        raise NotImplementedError

    @staticmethod
    def statistics_of(source: Source) -> dict[str, Any]:
        """Return what else is measured once, on training scenes: more keyword arguments of the constructor."""
        return {}

    def boxes(self, prediction: Tensor, prompt: Tensor) -> Tensor:
        """Return the boxes [M, 4] that a drawing marks, by prediction and prompt [Q] of one scene; by default none."""
        return torch.empty(0, 4)

    def answer_image(self, prediction: Tensor, prompt: Tensor) -> Tensor | None:
        """Return the answer to one scene, [C, h, w] in [0, 1], if it is an image; by default None."""
        return None

    def answer_text(self, prediction: Tensor, prompt: Tensor) -> str:
        """Return the answer to one scene in a word or two, for a title; "" where it is drawn or cannot be said."""
        return ""

    def info(self, episode: Episode) -> dict[str, Tensor]:
        """Return what else a step's info tells of B episodes, [B] each, by name."""
        return {}


def gain(before: Outcome, after: Outcome, last: Tensor) -> Tensor:
    """Reward the fall of the loss; the rewards of an episode sum to first loss - last loss."""
    return before.loss - after.loss


def probability(before: Outcome, after: Outcome, last: Tensor) -> Tensor:
    """Reward the probability given to the truth after the glimpse (arXiv 2508.16317, 2604.20392)."""
    return after.score


def correct(before: Outcome, after: Outcome, last: Tensor) -> Tensor:
    """Reward 1 for a right answer after the last glimpse, 0 otherwise: sparse."""
    return (after.correct & last).float()


REWARDS: dict[str, Callable[[Outcome, Outcome, Tensor], Tensor]] = {
    "gain": gain,
    "probability": probability,
    "correct": correct,
}
