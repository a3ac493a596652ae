"""Find it: the episode ends as soon as the head points at the target."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.tasks.base import Metric, share, two_layers
from foveal_env.tasks.locate import distance
from foveal_env.tasks.point import Point

CELLS = 16  # along a side of the image


class Search(Point):
    """Point at the target that the prompt names; an episode ends in success within `tolerance` of its centre.

    Two layers read the whole state. They answer with a point, and with the probability of each of CELLS x CELLS cells
    of the image that the target lies there. The loss is log(1 + d) plus the cross-entropy of the cells, and d is the
    distance of the point in sides of the target. A look that rules out a candidate lowers the cross-entropy, as in
    Najemnik and Geisler's ideal searcher (Nature 434, 2005); the point alone gains nothing before the target is found.
    The score is the probability of the target's own cell.

    Args:
        state_shape: (N, D).
        tolerance: distance that counts as success, in sides of the target.

    Raises ValueError if the tolerance is not above 0.
    """

    ends_on_success = True
    map_side = CELLS

    def head(self, state_shape: tuple[int, int]) -> nn.Module:
        """Return the layers that read a state, to points and the logits of the cells, [B, 2 + CELLS * CELLS]."""
        return two_layers(state_shape, hidden=2 * state_shape[1], size=2 + CELLS**2)

    def target_map(self, answer: Tensor) -> Tensor:
        """Return the logits of the cells, [B, CELLS, CELLS], rows along y."""
        return answer[:, 2:].unflatten(1, (CELLS, CELLS))

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Score what `forward` returns: the score is the probability of the target's own cell."""
        point, cells = answer.float().split((2, CELLS**2), dim=1)
        column, row = ((scenes.box[:, :2] + 1) / 2 * CELLS).long().clamp(0, CELLS - 1).unbind(dim=1)
        surprise = nn.functional.cross_entropy(cells, row * CELLS + column, reduction="none")
        far = distance(point, scenes.box)
        return Outcome(far.log1p() + surprise, (-surprise).exp(), far <= self.tolerance, point)

    def info(self, episode: Episode) -> dict[str, Tensor]:
        """Return the distance in sides of the target, the length of the gaze's path in px, and SPL.

        SPL is success weighted by path length (Anderson et al. 2018, arXiv 1807.06757): success x l / max(p, l). The
        gaze's path has the length p. The straight path from the first gaze to the first point within the tolerance has
        the length l. Both are in px of the image. If l is 0, a success has an SPL of 1 whatever its path, because an
        episode cannot succeed before its first step.
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

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The success, the success weighted by path length, and the number of glimpses."""
        glimpses = Metric(title="glimpses", by_look=False, falls=True)
        return {"success": share("success"), "spl": share("SPL", by_look=False), "glimpses": glimpses}

    def measure(self, episode: Episode) -> dict[str, Tensor]:
        """Return whether the target is found, SPL, and the glimpses that were taken."""
        return {"success": episode.outcome.correct, "spl": self.info(episode)["spl"], "glimpses": episode.glimpses}
