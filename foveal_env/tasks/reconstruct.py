"""What does the whole image look like? No labels."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from foveal_env.data import Episode, Outcome, Scenes
from foveal_env.sources.base import Source
from foveal_env.tasks.base import Metric, Task, share, two_layers

MIN_EXPLAINED = 0.5  # share of the variance that a correct thumbnail explains


class Reconstruct(Task):
    """Paint the whole image in low resolution from the state; the loss is the squared error over the images' variance.

    Two layers read the whole state. The truth is the largest centred square of the image, in side x side box averages.
    A grey thumbnail of the mean has a loss of 1: it is what can be known without looking at this image. The score is
    1 - loss, not below 0: the share of the variance that is explained. A thumbnail is correct if that is above half.

    Args:
        state_shape: (N, D).
        channels: channels of the image.
        variance: variance of the averages over training images, in squares of full scale.
        mean: mean of these averages.
        side: side of the thumbnail in px.
    """

    asks_for_target = False

    def __init__(self, state_shape: tuple[int, int], *, channels: int, variance: float, mean: float, side: int = 16):
        super().__init__()
        self.shape, self.variance, self.mean = (channels, side, side), variance, mean
        self.answer_size = channels * side**2
        self.read = two_layers(state_shape, hidden=2 * state_shape[1], size=self.answer_size)

    def forward(self, state: Tensor) -> Tensor:
        """Return thumbnails [B, C, side, side]; full scale is 1."""
        return self.mean + self.read(state).unflatten(-1, self.shape)

    def score(self, answer: Tensor, scenes: Scenes) -> Outcome:
        """Score thumbnails [B, C, side, side]: the score is the share of the variance that is explained."""
        answer = answer.float()
        loss = (answer - scenes.images.thumbnails(self.shape[-1])).square().flatten(1).mean(dim=1) / self.variance
        return Outcome(loss, (1 - loss).clamp(min=0), loss < 1 - MIN_EXPLAINED, answer)

    def answer_image(self, prediction: Tensor, prompt: Tensor) -> Tensor:
        """Return the picture itself, [C, side, side]."""
        return prediction.view(self.shape)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The share of the variance that is explained."""
        return {"explained": share("explained variance")}

    def measure(self, episode: Episode) -> dict[str, Tensor]:
        """Return 1 - loss: its mean is the share of the variance that is explained, below 0 if worse than the mean."""
        return {"explained": 1 - episode.outcome.loss}

    @staticmethod
    def config_for(source: Source) -> dict[str, Any]:
        """Return the channels."""
        return {"channels": source.channels}

    @staticmethod
    def statistics_of(source: Source) -> dict[str, Any]:
        """Return mean and variance of some scenes in low resolution."""
        thumbnails = source.scenes(torch.arange(64)).images.thumbnails(16)
        variance = thumbnails.var().item()
        if not variance:
            raise ValueError("the scenes of this source all look the same in low resolution: nothing to reconstruct")
        return {"variance": float(f"{variance:.4g}"), "mean": round(thumbnails.mean().item(), 4)}
