"""Where is it, and how large?"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.sources.base import Source
from foveal_env.tasks.base import Metric, Task, two_layers

DISTANCE = Metric(title="distance", unit="sides of the target", digits=2, falls=True)
MIN_IOU = 0.5  # of a correct box, as in PASCAL VOC


class Locate(Task):
    """Regress the box of the target: its centre and its size.

    Two layers read the whole state. The loss is log(1 + d) + the mean of |log(side / true side)|, and d is the distance
    of the centres in sides of the target (`distance`). Near the target it is precise. Far from it, unlike a squared
    error, it prefers one of several places to their mean. The score is the IoU, and a box is correct from 0.5 on.
    """

    needs_target = True
    answer_size = 4

    def __init__(self, state_shape: tuple[int, int]):
        super().__init__()
        self.read = two_layers(state_shape, hidden=state_shape[1], size=4)

    def forward(self, state: Tensor) -> Tensor:
        """Return boxes [B, 4] (x, y, width, height) in gaze coordinates."""
        x, y, width, height = self.read(state).unbind(dim=-1)
        return torch.stack([x, y, width.clamp(-8, 1).exp(), height.clamp(-8, 1).exp()], dim=-1)

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Score boxes [B, 4]: the score is the IoU."""
        answer = answer.float()
        size = (answer[:, 2:] / scenes.box[:, 2:]).log().abs().mean(dim=-1)
        loss = distance(answer[:, :2], scenes.box).log1p() + size
        overlap = iou(answer, scenes.box)
        return Outcome(loss, overlap, overlap >= MIN_IOU, answer)

    @staticmethod
    def config_for(source: Source) -> dict[str, Any]:
        """Return nothing: a box is a box."""
        return {}

    def boxes(self, prediction: Tensor, prompt: Tensor) -> Tensor:
        """Return the box itself."""
        return prediction[None]

    def info(self, episode: Episode) -> dict[str, Tensor]:
        """Return the distance of the centres in sides of the target, and the IoU."""
        prediction = episode.outcome.prediction
        return {
            "distance": distance(prediction[:, :2], episode.scenes.box),
            "iou": iou(prediction, episode.scenes.box),
        }

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The distance of the centres, and the IoU."""
        return {"distance": DISTANCE, "iou": Metric(title="IoU", digits=3)}

    def measure(self, episode: Episode) -> dict[str, Tensor]:
        """Return what `info` tells."""
        return self.info(episode)


def distance(centre: Tensor, box: Tensor) -> Tensor:
    """Return how far points [B, 2] lie from the centres of boxes [B, 4], [B], in sides of the box.

    In a box of width w and height h that is the length of (dx / w, dy / h).
    """
    return ((centre - box[:, :2]) / box[:, 2:]).square().sum(dim=-1).clamp(min=1e-12).sqrt()


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Return the area that boxes [B, 4] (x, y, width, height) share over the area that they cover, [B]."""
    low = torch.maximum(one[:, :2] - one[:, 2:] / 2, other[:, :2] - other[:, 2:] / 2)
    high = torch.minimum(one[:, :2] + one[:, 2:] / 2, other[:, :2] + other[:, 2:] / 2)
    shared = (high - low).clamp(min=0).prod(dim=-1)
    return shared / (one[:, 2:].prod(dim=-1) + other[:, 2:].prod(dim=-1) - shared)
