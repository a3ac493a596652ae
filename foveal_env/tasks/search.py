"""Find it: the episode ends as soon as the head points at the target."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from foveal_env.sources.base import Scenes, Source
from foveal_env.tasks.base import Judgement, Task
from foveal_env.tasks.locate import distance

if TYPE_CHECKING:
    from foveal_env.world import Episode


class Search(Task):
    """Point at the target that the prompt names; an episode ends in success within `tolerance` of its centre.

    Two layers read the whole state. The loss is log(1 + d), d being the distance in sides of the target; `probability`
    is 1 / (1 + d).

    Args:
        state_shape: (N, D).
        tolerance: distance that counts as found, in sides of the target.
    """

    needs_target = True
    ends_on_success = True
    answer_size = 2

    def __init__(self, state_shape: tuple[int, int], *, tolerance: float = 0.5):
        super().__init__()
        if not tolerance > 0:
            raise ValueError(f"tolerance must be above 0 sides of the target, got {tolerance}")
        self.tolerance = tolerance
        tokens, width = state_shape
        self.read = nn.Sequential(nn.Flatten(), nn.Linear(tokens * width, width), nn.GELU(), nn.Linear(width, 2))

    def forward(self, state: Tensor) -> Tensor:
        """Return points [B, 2] in the coordinates of a gaze."""
        return self.read(state)

    def judge(self, answer: Tensor, scenes: Scenes) -> Judgement:
        """Judge points [B, 2]."""
        answer = answer.float()
        far = distance(answer, scenes.box)
        return Judgement(far.log1p(), 1 / (1 + far), far <= self.tolerance, answer)

    @staticmethod
    def describe(source: Source) -> dict[str, Any]:
        """Return nothing: a point is a point."""
        return {}

    def boxes(self, prediction: Tensor, prompt: Tensor) -> Tensor:
        """Return a small box around the point."""
        return torch.cat([prediction, torch.full_like(prediction, 0.06)])[None]

    def info(self, episode: "Episode") -> dict[str, Tensor]:
        """Return the distance in sides of the target, the length of the gaze's path in px, and SPL.

        SPL is success weighted by path length (Anderson et al. 2018, arXiv 1807.06757): success x l / max(p, l), where
        p is the length of the gaze's path and l that of the straight one, from the first gaze to where the target's
        centre is no further than the tolerance, both in px of the image. Where that is no way at all, it is 1 for a
        success whatever the path, since an episode cannot succeed before its first step.
        """
        scenes, gazes = episode.scenes, episode.gazes[..., :2]
        half = scenes.images.size.flip(1)[:, None].to(gazes) / 2
        steps = (gazes[:, 1:] - gazes[:, :-1]) * half
        path = steps.nan_to_num().square().sum(dim=-1).sqrt().sum(dim=-1)
        first = torch.where(gazes[:, 0].isnan(), gazes[:, 1], gazes[:, 0]).nan_to_num()
        away = (first - scenes.box[:, :2]) * half[:, 0]
        reach = self.tolerance * (scenes.box[:, 2:] * half[:, 0]).mean(dim=-1)
        shortest = (away.square().sum(dim=-1).sqrt() - reach).clamp(min=0)
        longer = (path > shortest) & (shortest > 0)
        spl = torch.where(longer, shortest / path, 1.0) * episode.judgement.correct
        return {"distance": distance(episode.judgement.prediction, scenes.box), "path_length": path, "spl": spl}
