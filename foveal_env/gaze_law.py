"""Where stage 1 looks: at random, near the target, and as a policy does."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from foveal_env.data import Episode, Scenes
from foveal_env.sources.base import Source

PolicyGazes = Callable[[Scenes, torch.Generator], Tensor]  # B scenes to the gazes of a policy, [B, 1 + T, 2]


@dataclass(frozen=True, kw_only=True)
class GazeLaw:
    """A mixture of gazes: uniform over the image, near the target, and those of a policy.

    Uniform gazes alone learn slowly if the target is small. Without a known target, let the stages alternate.

    Args:
        near_target: share of the gazes that are near the target; None is 0.7 if the source knows it, otherwise 0.
        near_deviation: standard deviation of these gazes around its centre, in sides of the target.
        policy_share: share of the scenes that are looked at as a policy does, if one is followed.

    Raises ValueError if a number is out of range.
    """

    near_target: float | None = None
    near_deviation: float = 0.4
    policy_share: float = 0.5

    def __post_init__(self):
        for name, value in {"near_target": self.near_target or 0.0, "policy_share": self.policy_share}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {value}")
        if self.near_deviation < 0:
            raise ValueError(f"near_deviation must be at least 0, got {self.near_deviation}")

    def for_source(self, source: Source) -> "GazeLaw":
        """Return the law with its defaults for a source; ValueError if it needs a target that is not known."""
        if self.near_target and not source.knows_target:
            raise ValueError("this source does not know where the target is: near_target must be 0")
        share = (0.7 if source.knows_target else 0.0) if self.near_target is None else self.near_target
        return replace(self, near_target=share)

    def draw(self, source: Source, episode: Episode, generator: torch.Generator, progress: float) -> Tensor:
        """Return a gaze [B, 2] for each episode.

        Args:
            source: source of the scenes.
            episode: B episodes.
            generator: randomness.
            progress: share of the training that is done, in [0, 1).
        """
        scenes = episode.scenes
        box = source.candidate_boxes(scenes, generator, progress)
        batch, device = len(scenes), scenes.box.device
        uniform = torch.rand(batch, 2, dtype=torch.float32, generator=generator).to(device) * 2 - 1
        if not self.near_target:
            return uniform
        normal = torch.randn(batch, 2, dtype=torch.float32, generator=generator).to(device)
        near = (box[:, :2] + self.near_deviation * box[:, 2:] * normal).clamp(-1, 1)
        is_near = torch.rand(batch, 1, dtype=torch.float32, generator=generator).to(device) < self.near_target
        return torch.where(is_near, near, uniform)

    def draw_policy(self, gazes: PolicyGazes | None, scenes: Scenes, generator: torch.Generator) -> Tensor | None:
        """Return gazes [B, 1 + T, 2] of a policy, NaN in the scenes that do not follow it; None without a policy."""
        if gazes is None:
            return None
        followed = gazes(scenes, generator)
        follows = (
            torch.rand(len(scenes), 1, 1, dtype=torch.float32, generator=generator).to(followed.device)
            < self.policy_share
        )
        return torch.where(follows, followed, torch.nan)
