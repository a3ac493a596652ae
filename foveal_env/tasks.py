"""Tasks: a head on the state, and how its answer is judged against a scene; and the rewards made from that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from encoders.registry import Registry
from foveal_env.batch import Batch
from foveal_env.sources.base import Scenes, Source

TASKS = Registry("task", {"classify": "foveal_env.tasks:Classify"}, base="foveal_env.tasks:Task")


@dataclass(frozen=True)
class Judgement(Batch):
    """What a head's answer is worth, for each scene of a batch."""

    loss: Tensor  # [B] float >= 0, nats
    probability: Tensor  # [B] float in [0, 1], given to the truth
    correct: Tensor  # [B] bool
    prediction: Tensor  # [B] int64, index of a class


class Task(nn.Module):
    """Base of all tasks: a head, and how to judge it.

    A subclass is built from a state shape (N, D) and what `describe` returns as keyword arguments.
    """

    def forward(self, state: Tensor) -> Tensor:
        """Return the answer that the head reads off a state [B, N, D]."""
        raise NotImplementedError

    def judge(self, answer: Tensor, scenes: Scenes) -> Judgement:
        """Judge answers for B scenes."""
        raise NotImplementedError

    @staticmethod
    def describe(source: Source) -> dict[str, Any]:
        """Return what of a source the head depends on, as JSON: the constructor's keyword arguments."""
        raise NotImplementedError


class Classify(Task):
    """Which class is it? A linear layer on state token 0 (the papers' best on ImageNet), softmax cross-entropy."""

    def __init__(self, state_shape: tuple[int, int], *, classes: Sequence[str]):
        super().__init__()
        self.linear = nn.Linear(state_shape[1], len(classes))

    def forward(self, state: Tensor) -> Tensor:
        """Return the logits [B, classes]."""
        return self.linear(state[:, 0])

    def judge(self, answer: Tensor, scenes: Scenes) -> Judgement:
        """Judge logits [B, classes]: loss and probability are those of the true class."""
        loss = nn.functional.cross_entropy(answer.float(), scenes.label, reduction="none")
        prediction = answer.argmax(dim=-1)
        return Judgement(loss, (-loss).exp(), prediction == scenes.label, prediction)

    @staticmethod
    def describe(source: Source) -> dict[str, Any]:
        """Return the names of the classes."""
        return {"classes": list(source.classes)}


def gain(before: Judgement, after: Judgement, last: Tensor) -> Tensor:
    """Reward the fall of the loss, in nats; the rewards of an episode sum to first loss - last loss."""
    return before.loss - after.loss


def probability(before: Judgement, after: Judgement, last: Tensor) -> Tensor:
    """Reward the probability given to the truth after the glimpse (arXiv 2508.16317, 2604.20392)."""
    return after.probability


def correct(before: Judgement, after: Judgement, last: Tensor) -> Tensor:
    """Reward 1 for a right answer after the last glimpse, 0 otherwise: sparse."""
    return (after.correct & last).float()


REWARDS: dict[str, Callable[[Judgement, Judgement, Tensor], Tensor]] = {
    "gain": gain,
    "probability": probability,
    "correct": correct,
}
