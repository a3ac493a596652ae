"""Find it: the episode ends as soon as the head points at the target."""

import torch
from torch import Tensor, nn

from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.tasks.locate import distance
from foveal_env.tasks.point import Point

CELLS = 16  # along a side of the image


class Search(Point):
    """Point at the target that the prompt names; an episode ends in success within `tolerance` of its centre.

    Two layers read the whole state and answer with a point, and with how likely the target lies in each of CELLS x
    CELLS cells of the image. The loss is log(1 + d), d being the distance of the point in sides of the target, plus
    the cross-entropy of the cells: a look that rules out a candidate lowers it, as in Najemnik and Geisler's ideal
    searcher (Nature 434, 2005), where the point alone has nothing to gain before the target is found. `score` is
    the probability of the target's own cell.

    Args:
        state_shape: (N, D).
        tolerance: distance that counts as found, in sides of the target.
    """

    ends_on_success = True

    def head(self, tokens: int, width: int) -> nn.Module:
        """Return what reads a state: [B, 2 + CELLS * CELLS], points and the logits of the cells, row by row."""
        return nn.Sequential(
            nn.Flatten(), nn.Linear(tokens * width, 2 * width), nn.GELU(), nn.Linear(2 * width, 2 + CELLS**2)
        )

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Judge what `forward` returns."""
        point, cells = answer.float().split((2, CELLS**2), dim=1)
        column, row = ((scenes.box[:, :2] + 1) / 2 * CELLS).long().clamp(0, CELLS - 1).unbind(dim=1)
        surprise = nn.functional.cross_entropy(cells, row * CELLS + column, reduction="none")
        far = distance(point, scenes.box)
        return Outcome(far.log1p() + surprise, (-surprise).exp(), far <= self.tolerance, point)

    def info(self, episode: Episode) -> dict[str, Tensor]:
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
        spl = torch.where(longer, shortest / path, 1.0) * episode.outcome.correct
        return {"distance": distance(episode.outcome.prediction, scenes.box), "path_length": path, "spl": spl}
