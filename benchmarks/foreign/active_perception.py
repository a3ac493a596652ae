"""Image classification of ap_gym as a world: its sensor and its limits, our encoder as memory and our head as answer.

A gaze is where the sensor shall go. It moves there as far as the environment lets it go in a step. The prediction that
each step submits is what the head answers to all glimpses before; the environment scores it.
"""

import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor, nn

from foveal_agents.base import Agent
from foveal_agents.foreign import ForeignEpisode, ForeignWorld, Told
from foveal_encoders.base import Encoder, Glimpse, Inputs, Layout
from foveal_env.data import Outcome
from foveal_env.kernels.hashing import scramble
from foveal_env.perception import Perception
from foveal_env.tasks.classify import Classify

LEG = 5  # steps that the explorer goes in one direction


def configuration(name: str) -> Any:
    """Return the configuration of an image classification of ap_gym, by its id, without threads that read ahead."""
    importlib.import_module("ap_gym")  # of the extra `bench`; it registers the ids
    return replace(gym.spec(name).kwargs["image_perception_config"], prefetch=False)


class Copies(VectorEnv):
    """Copies of a vector environment that takes one seed for all its rows: equal seeds make equal rows.

    What a seed means depends on the seeds beside it.

    Args:
        name: id of an image classification of ap_gym.
        num_envs: number of rows.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, name: str, num_envs: int):
        self.arguments = {"id": name, "image_perception_config": configuration(name)}
        self.num_envs, self.envs = num_envs, [gym.make_vec(num_envs=1, **self.arguments)]
        self.rows = [np.arange(1)]
        self.single_observation_space = self.envs[0].single_observation_space
        self.single_action_space = self.envs[0].single_action_space
        self.spec = self.envs[0].spec

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[dict[str, np.ndarray], Any]:
        """Begin new episodes with these seeds, each of which occurs equally often."""
        seeds = np.asarray(seed)
        assert seeds.shape == (self.num_envs,), "a list of seeds, one for each row"
        different, counts = np.unique(seeds, return_counts=True)
        copies, left = counts[0], seeds.argsort(kind="stable").reshape(len(different), -1)
        assert (counts == copies).all(), "each seed must occur equally often"
        if len(self.envs) != copies or self.envs[0].num_envs != len(different):
            self.envs = [gym.make_vec(num_envs=len(different), **self.arguments) for _ in range(copies)]
        self.rows = list(left.T)
        together = int(np.random.SeedSequence(different.tolist()).generate_state(1)[0])
        return self.put([env.reset(seed=together)[0] for env in self.envs]), {}

    def step(self, actions: dict[str, np.ndarray]) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step; of the infos, "target" and "loss" of the prediction."""
        told = [
            env.step({key: value[rows] for key, value in actions.items()})
            for env, rows in zip(self.envs, self.rows, strict=True)
        ]
        observations, rewards, terminated, truncated, infos = zip(*told, strict=True)
        predictions = [{key: info["prediction"][key] for key in ("target", "loss")} for info in infos]
        return (*map(self.put, (observations, rewards, terminated, truncated)), self.put(predictions))

    def put(self, parts: Sequence[Any]) -> Any:
        """Put the rows of all copies in order: arrays, or dictionaries of arrays."""
        if isinstance(parts[0], dict):
            return {key: self.put([part[key] for part in parts]) for key in parts[0]}
        whole = np.empty((self.num_envs, *parts[0].shape[1:]), parts[0].dtype)
        for part, rows in zip(parts, self.rows, strict=True):
            whole[rows] = part
        return whole


class ActivePerceptionWorld(ForeignWorld):
    """An image classification of ap_gym.

    Args:
        name: id of the environment.
        perception: encoder of one patch, as large as the sensor, and a head for the classes.

    Attributes:
        episodes: all episodes that were played to the end, for stage 1: observations [B, 1 + T, S] and labels [B].
    """

    ends_early = False

    def __init__(self, name: str, perception: Perception):
        config = configuration(name)
        self.classes, self.move = config.dataset.num_classes, float(config.max_step_length)
        super().__init__(lambda rows: Copies(name, rows), glimpses=config.step_limit)
        self.perception = perception
        self.side, width = config.sensor_size[0], perception.encoder.state_shape[1]
        self.pixels, self.width = self.side**2, width
        self.episodes: list[tuple[Tensor, Tensor]] = []
        self._trail: list[Tensor] = []
        self._label = torch.empty(0, dtype=torch.int64)

    @property
    def gaze_size(self) -> int:
        """A gaze is a place of the sensor, (x, y)."""
        return 2

    @property
    def ask_size(self) -> int:
        """A move and the logits of the classes."""
        return 2 + self.classes

    @property
    def observation_shape(self) -> tuple[int, int]:
        """The encoder's state, and the last observation, which tells where the sensor is."""
        return 1, self.width + self.pixels + 3

    def remember(self, state: Tensor | None, observation: Tensor) -> Tensor:
        """Return the encoder's state and the observation, [B, 1, D]."""
        zero = torch.zeros(len(observation), 1, self.width)
        before = zero if state is None else state[..., : self.width]
        after = self.perception.step(before, glimpse_of(observation, self.side))
        return torch.cat([after, observation[:, None]], dim=2)

    def ask(self, episode: ForeignEpisode, action: Tensor) -> Tensor:
        """Move towards the gaze, at most as far as a step may go; predict what the head reads off the state."""
        move = (action - episode.observation[:, self.pixels : self.pixels + 2]) / self.move
        move = move / move.norm(dim=1, keepdim=True).clamp(min=1)
        return torch.cat([move, self.perception.task(episode.state[..., : self.width])], dim=1)

    def as_action(self, asked: np.ndarray) -> dict[str, np.ndarray]:
        """Return the action as ap_gym takes it."""
        return {"action": asked[:, :2], "prediction": asked[:, 2:]}

    def outcome_of(self, episode: ForeignEpisode, reward: Tensor, told: Told) -> Outcome:
        """Return what the environment said of the prediction that the step submitted."""
        loss, target = (torch.from_numpy(told.infos[key]) for key in ("loss", "target"))
        prediction, self._label = told.asked[:, 2:].argmax(dim=1), target.long()
        return Outcome(loss.float(), (-loss * np.log(self.classes)).exp().float(), prediction == target, prediction)

    def look(self, episode: ForeignEpisode, action: Tensor) -> tuple[ForeignEpisode, Tensor]:
        """Take a step, and keep the episodes that end."""
        if not episode.glimpses.any():
            self._trail = [episode.observation]
        after, reward = super().look(episode, action)
        self._trail.append(after.observation)
        if after.ended.all() and len(self._trail) == 1 + self.rules.glimpses:
            self.episodes.append((torch.stack(self._trail, dim=1), self._label))
        return after, reward


class Explorer(Agent):
    """Goes straight to random places, `LEG` steps to each."""

    def act(self, world: Any, episode: Any, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        leg = int(episode.glimpses.max()) // LEG
        draws = [scramble(episode.scenes.index, self.seed, leg, axis).double() / 2**53 for axis in (0, 1)]
        return torch.stack(draws, dim=1).float() * 2 - 1


def glimpse_of(observation: Tensor, side: int) -> Glimpse:
    """Return what the sensor saw, [B, S], as a glimpse of one patch; its place is (x, y, 0)."""
    pixels = side * side
    where = torch.nn.functional.pad(observation[:, pixels : pixels + 2], (0, 1))
    return Glimpse(observation[:, :pixels].view(-1, 1, 1, side, side), where[:, None])


class Gather(Encoder):
    """A memory without recurrence: sums and maxima of what two layers make of each glimpse and its place.

    Its states after all glimpses of an episode are computed at once, so that it trains in seconds.

    Args:
        inputs: what it is given.
        layout: one patch, as large as the sensor.
        width: number of sums, and of maxima.
    """

    def __init__(self, inputs: Inputs = Inputs(), layout: Layout = Layout(), *, width: int = 64):
        super().__init__(inputs, layout)
        self.state_shape = (1, 2 * width)
        size = layout.pixels * inputs.channels + 2
        self.layers = nn.Sequential(
            nn.Linear(size, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, 2 * width),
        )

    def features(self, patches: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is summed and what is maximised, [..., width] each, of pixels [..., P] and places [..., 2]."""
        pixels = (patches - self.inputs.pixel_mean) / self.inputs.pixel_deviation
        added, raised = self.layers(torch.cat([pixels, where], dim=-1)).chunk(2, dim=-1)
        return added / 4, raised.relu()

    def step(self, state: Tensor, glimpse: Glimpse) -> Tensor:
        """Return the state [B, 1, D] after one glimpse."""
        added, raised = self.features(glimpse.patches.flatten(1), glimpse.where[:, 0, :2])
        sums, maxima = state[:, 0].chunk(2, dim=-1)
        return torch.cat([sums + added, torch.maximum(maxima, raised)], dim=-1)[:, None]

    def states(self, patches: Tensor, where: Tensor) -> Tensor:
        """Return the states [B, T, D] after each of the glimpses [B, T, P] at [B, T, 2]: what T steps return."""
        added, raised = self.features(patches, where)
        return torch.cat([added.cumsum(dim=1), raised.cummax(dim=1).values], dim=-1)


class Read(Classify):
    """Which class is it? Two layers on the state."""

    def __init__(self, state_shape: tuple[int, int], *, classes: Sequence[str], hidden: int = 128):
        super().__init__(state_shape, classes=classes)
        width = state_shape[1]
        self.linear = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, len(classes))
        )


class Recall(nn.Module):
    """From a state and a place to the glimpse that was or will be seen there: what keeps the scene in the state."""

    def __init__(self, width: int, pixels: int, hidden: int = 96):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width + 2, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, pixels)
        )

    def forward(self, state: Tensor, where: Tensor) -> Tensor:
        """Map states [..., D] and places [..., 2] to glimpses [..., pixels]."""
        return self.layers(torch.cat([state, where], dim=-1))
