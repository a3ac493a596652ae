"""The contract of a task: a head on the state, and how its answer is scored; and the rewards made from that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.sources.base import Source


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure that tables and plots show of a task: what it is called, and how it is written.

    Args:
        title: what it is, in a word or two, such as "accuracy".
        unit: unit of the value as it is written, such as "%"; "" for none.
        scale: factor of the value as it is written; 100 for a share in %.
        digits: digits after the point.
        by_look: whether it is shown after each look; otherwise only at the end of an episode.
        falls: whether less is better.
    """

    title: str
    unit: str = ""
    scale: float = 1.0
    digits: int = 1
    by_look: bool = True
    falls: bool = False

    @property
    def heading(self) -> str:
        """Title and unit, such as "accuracy (%)"."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def written(self, value: float) -> str:
        """Return a value as tables have it, without the unit."""
        return f"{self.scale * value:.{self.digits}f}"


def share(title: str, **options: Any) -> Metric:
    """Return the metric of a share, which is written in %."""
    return Metric(title=title, unit="%", scale=100.0, **options)


class Task(nn.Module):
    """Base of all tasks: a head, and how to score its answers.

    A subclass is built from a state shape (N, D) and from what `config_for` and `statistics_of` return, as keyword
    arguments. Any other argument needs a default, and can be changed when a world is made (`task_options`).

    Attributes:
        needs_target: whether scenes must know where their target is.
        ends_on_success: whether an episode ends as soon as an answer ends it (`ends`): by default a correct one.
        asks_for_target: whether the answer is about the target, so that to know its place is a bound.
        answer_size: numbers in the prediction for one scene.
        map_side: cells along each side of the map in which the head tells where the target is; 0 if it has none.
        rewards: rewards of its own by name, beside those of `REWARDS`: functions of the outcomes before and after a
            glimpse, and of whether it was the last, to [B] float.
    """

    needs_target = False
    ends_on_success = False
    asks_for_target = True
    answer_size = 1
    map_side = 0
    rewards: ClassVar[dict[str, Callable[[Outcome, Outcome, Tensor], Tensor]]] = {}

    def forward(self, state: Tensor) -> Tensor:
        """Return the answers that the head reads off a state [B, N, D], one tensor [B, ...]."""
        raise NotImplementedError

    def target_map(self, answer: Tensor) -> Tensor:
        """Return how likely the target lies in each cell of the image, logits [B, map_side, map_side], rows along y."""
        raise TypeError(f"the head of {type(self).__name__} has no map of cells")

    def cell_points(self, answer: Tensor) -> Tensor:
        """Return where in each cell the target would be if it were there, [B, map_side * map_side, 2] (x, y)."""
        line = (torch.arange(self.map_side, dtype=torch.float32, device=answer.device) + 0.5) / self.map_side * 2 - 1
        y, x = torch.meshgrid(line, line, indexing="ij")
        return torch.stack([x, y], dim=-1).flatten(0, 1).expand(len(answer), -1, -1)

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Return what answers [B, ...] to B scenes are worth.

        Of the outcome, `loss` [B] is a finite float, `score` [B] a float in [0, 1], `correct` [B] is bool, and
        `prediction` [B, ...] of any type. Rows must not depend on one another.
        """
        raise NotImplementedError

    def ends(self, outcome: Outcome) -> Tensor:
        """Return which answers end an episode, [B] bool, if `ends_on_success`."""
        return outcome.correct

    @staticmethod
    def config_for(source: Source) -> dict[str, Any]:
        """Return the properties of a source that the head depends on, as JSON: keyword arguments of the constructor."""
        raise NotImplementedError

    @staticmethod
    def statistics_of(source: Source) -> dict[str, Any]:
        """Return statistics of training scenes, measured once: more keyword arguments of the constructor."""
        return {}

    def boxes(self, prediction: Tensor, prompt: Tensor) -> Tensor:
        """Return the boxes [M, 4] that a drawing marks, by prediction and prompt [Q] of one scene; none by default."""
        return torch.empty(0, 4)

    def answer_image(self, prediction: Tensor, prompt: Tensor) -> Tensor | None:
        """Return the answer to one scene, [C, h, w] in [0, 1], if it is an image; by default None."""
        return None

    def answer_text(self, prediction: Tensor, prompt: Tensor) -> str:
        """Return the answer to one scene in a word or two, for a title; "" if it is drawn or cannot be said."""
        return ""

    def info(self, episode: Episode) -> dict[str, Tensor]:
        """Return more entries of a step's info for B episodes, [B] each, by name."""
        return {}

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The figures that tables show, by name; the main one first. By default those that any task has."""
        return {"score": share("score"), "right": share("right answers", by_look=False)}

    def measure(self, episode: Episode) -> dict[str, Tensor]:
        """Return the figures of B episodes under way, [B] each, by name; NaN where one does not apply.

        Those that `metrics` does not name are shown as they are, at the end of an episode. By default these are the
        entries of `info`.
        """
        return {"score": episode.outcome.score, "right": episode.outcome.correct, **self.info(episode)}


def two_layers(state_shape: tuple[int, int], hidden: int, size: int) -> nn.Sequential:
    """Return two layers that read the whole state: [B, N, D] to [B, size], with `hidden` units between them."""
    tokens, width = state_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(tokens * width, hidden), nn.GELU(), nn.Linear(hidden, size))


def gain(before: Outcome, after: Outcome, last: Tensor) -> Tensor:
    """Reward the fall of the loss; the rewards of an episode add up to first loss - last loss."""
    return before.loss - after.loss


def probability(before: Outcome, after: Outcome, last: Tensor) -> Tensor:
    """Reward the score after the glimpse: for a class, the probability of the truth (arXiv 2508.16317, 2604.20392)."""
    return after.score


def correct(before: Outcome, after: Outcome, last: Tensor) -> Tensor:
    """Reward 1 for a right answer after the last glimpse, 0 otherwise: sparse."""
    return (after.correct & last).float()


REWARDS: dict[str, Callable[[Outcome, Outcome, Tensor], Tensor]] = {
    "gain": gain,
    "probability": probability,
    "correct": correct,
}
