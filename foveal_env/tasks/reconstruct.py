"""What does the whole image look like? No labels."""

from typing import Any

import torch
from torch import Tensor, nn

from foveal_env.data import Outcome, Scenes
from foveal_env.sources.base import Source
from foveal_env.tasks.base import Task


class Reconstruct(Task):
    """Paint the whole image in low resolution from the state; the loss is the squared error over the image's variance.

    Two layers read the whole state. The picture that is asked for is the largest centred square of the image, in
    side x side box averages. A loss of 1 is that of a grey picture of the mean: what can be known without looking at
    this image. `score` is 1 - loss, not below 0; `correct` is a loss below 0.5: half of the variance explained.

    Args:
        state_shape: (N, D).
        channels: channels of the image.
        variance: that of the averages over training images, in squares of full scale.
        mean: their mean.
        side: px of the picture.
    """

    def __init__(self, state_shape: tuple[int, int], *, channels: int, variance: float, mean: float, side: int = 16):
        super().__init__()
        tokens, width = state_shape
        self.shape, self.variance, self.mean = (channels, side, side), variance, mean
        self.answer_size = channels * side**2
        self.read = nn.Sequential(
            nn.Flatten(), nn.Linear(tokens * width, 2 * width), nn.GELU(), nn.Linear(2 * width, channels * side**2)
        )

    def forward(self, state: Tensor) -> Tensor:
        """Return pictures [B, C, side, side], full scale being 1."""
        return self.mean + self.read(state).unflatten(-1, self.shape)

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Judge pictures [B, C, side, side]."""
        answer = answer.float()
        loss = (answer - small(scenes, self.shape[-1])).square().flatten(1).mean(dim=1) / self.variance
        return Outcome(loss, (1 - loss).clamp(min=0), loss < 0.5, answer)

    @staticmethod
    def config_for(source: Source) -> dict[str, Any]:
        """Return the channels."""
        return {"channels": source.channels}

    @staticmethod
    def statistics_of(source: Source) -> dict[str, Any]:
        """Return mean and variance of some scenes in low resolution."""
        pictures = small(source.scenes(torch.arange(64)), 16)
        variance = pictures.var().item()
        if not variance:
            raise ValueError("the scenes of this source all look the same in low resolution: nothing to reconstruct")
        return {"variance": float(f"{variance:.4g}"), "mean": round(pictures.mean().item(), 4)}


def small(scenes: Scenes, side: int) -> Tensor:
    """Return the largest centred square of each image, [B, C, side, side] in [0, 1]."""
    size = scenes.images.size.float()
    centre, square = size.flip(1)[:, None] / 2, size.amin(dim=1, keepdim=True)
    return scenes.images.box_averages(centre, square, side)[:, 0]
