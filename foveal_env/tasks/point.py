"""Point at it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.sources.base import Source
from foveal_env.tasks.base import Metric, Task, share, two_layers
from foveal_env.tasks.locate import DISTANCE, distance


class Point(Task):
    """Point at the target. As the auxiliary task of stage 1, it keeps in the state where the target is.

    Two layers read the whole state. The loss is log(1 + d), and d is the distance in sides of the target. The score is
    1 / (1 + d). A point within `tolerance` of the centre is correct.

    Args:
        state_shape: (N, D).
        tolerance: distance that counts as correct, in sides of the target.

    Raises ValueError if the tolerance is not above 0.
    """

    needs_target = True
    answer_size = 2

    def __init__(self, state_shape: tuple[int, int], *, tolerance: float = 0.5):
        super().__init__()
        if not tolerance > 0:
            raise ValueError(f"tolerance must be above 0 sides of the target, got {tolerance}")
        self.tolerance = tolerance
        self.read = self.head(state_shape)

    def head(self, state_shape: tuple[int, int]) -> nn.Module:
        """Return the layers that read a state [B, N, D]."""
        return two_layers(state_shape, hidden=state_shape[1], size=2)

    def forward(self, state: Tensor) -> Tensor:
        """Return points [B, 2] (x, y) in gaze coordinates."""
        return self.read(state)

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Score points [B, 2]: the score is 1 / (1 + d), d the distance in sides of the target."""
        answer = answer.float()
        far = distance(answer, scenes.box)
        return Outcome(far.log1p(), 1 / (1 + far), far <= self.tolerance, answer)

    @staticmethod
    def config_for(source: Source) -> dict[str, Any]:
        """Return nothing: a point is a point."""
        return {}

    def boxes(self, prediction: Tensor, prompt: Tensor) -> Tensor:
        """Return a small box around the point."""
        return torch.cat([prediction, torch.full_like(prediction, 0.06)])[None]

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The distance, and the share of the points within the tolerance."""
        return {"distance": DISTANCE, "within": share(f"within {self.tolerance:g} sides of the target")}

    def measure(self, episode: Episode) -> dict[str, Tensor]:
        """Return the distance in sides of the target, and whether it is within the tolerance."""
        outcome = episode.outcome
        return {"distance": distance(outcome.prediction, episode.scenes.box), "within": outcome.correct}
