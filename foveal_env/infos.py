"""What the caller of a step is told: copied from the device at once, and put as Gymnasium's environments put it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from foveal_env.data import Episode
from foveal_env.devices import to_host
from foveal_env.world import World


@dataclass(frozen=True)
class Report:
    """What is told of B episodes, on the CPU; nothing here shares memory with the episodes."""

    observations: np.ndarray  # [B, n, d] float32
    rewards: np.ndarray  # [B] float64
    ended: np.ndarray  # [B] bool
    correct: np.ndarray  # [B] bool
    columns: dict[str, np.ndarray]  # [B, ...] the entries of the info
    partial: frozenset[str]  # those that are NaN where they do not apply

    def infos(self, mask: np.ndarray) -> dict[str, Any]:
        """Return the infos of the rows where `mask` is true, in the form of Gymnasium's vector environments."""
        infos: dict[str, Any] = {}
        everywhere = bool(mask.all())
        for key, values in {**self.columns, "is_success": self.correct & self.ended}.items():
            told, is_whole = mask, everywhere
            if key in self.partial and (missing := np.isnan(values)).any():  # that row's question has no such figure
                told, is_whole = mask & ~missing, False
                if not told.any():
                    continue
                values = np.where(missing, 0.0, values)
            infos[key] = values.copy() if is_whole else values * told.reshape(-1, *[1] * (values.ndim - 1))
            infos[f"_{key}"] = told.copy()
        return infos


def report(world: World, episode: Episode, reward: Tensor | None = None) -> Report:
    """Return what is told of B episodes after a step with these rewards [B]; None is 0."""
    outcome, scenes = episode.outcome, episode.scenes
    told = {"prediction": outcome.prediction, "score": outcome.score, "scene": scenes.index}
    if scenes.prompt.shape[1]:
        told["prompt"] = scenes.prompt
    own = world.info(episode)
    given = [world.observe(episode).float(), outcome.score if reward is None else reward]
    given += [episode.ended, outcome.correct, *told.values(), *own.values()]
    observations, rewards, ended, correct, *rest = to_host(given)
    return Report(
        observations=observations.numpy().copy(),
        rewards=np.zeros(len(ended)) if reward is None else rewards.double().numpy(),
        ended=ended.numpy().copy(),
        correct=correct.numpy(),
        columns=dict(zip([*told, *own], map(_entry, rest), strict=True)),
        partial=frozenset(own),
    )


def _entry(values: Tensor) -> np.ndarray:
    """Return an entry of the infos; numbers are float64, int64 or bool, as a vector of single environments has them."""
    if values.ndim > 1 or not values.is_floating_point():
        return values.numpy()
    return values.double().numpy()


def first_row(infos: dict[str, Any]) -> dict[str, Any]:
    """Return the info of a single environment, the first row of a batch."""
    return {
        key: value[0].copy() if value.ndim > 1 else value.tolist()[0]
        for key, value in infos.items()
        if not key.startswith("_") and infos[f"_{key}"][0]
    }
