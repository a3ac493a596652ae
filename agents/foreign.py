"""Other people's Gymnasium environments as worlds: GRPO and the scripted agents act in them as they do in ours.

A world is pure: `look` does not change the episode that it is given. A Gymnasium environment is not. An episode keeps
its seed, therefore, and what it asked of the environment. If no environment stands where the episode does, one is reset
with that seed, and the actions are replayed. The environment must repeat itself, given seed and actions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor
from torch.nn import functional

from foveal_env.batch import Batch
from foveal_env.data import Outcome
from foveal_env.tasks.base import Metric, share

ENGINES = 4  # environments that are kept, to go on from where they stand


@dataclass(frozen=True)
class ForeignScenes(Batch):
    """B episodes of a foreign environment that have not begun."""

    index: Tensor  # [B] int64, the seed
    box: Tensor  # [B, 4], NaN: nobody knows of a target

    def __len__(self) -> int:
        return len(self.index)

    @property
    def images(self) -> Any:
        """Refuse: an agent that sees the image itself cannot act here."""
        raise TypeError("a foreign environment shows its observations, and no image")


@dataclass(frozen=True)
class ForeignEpisode(Batch):
    """B episodes under way: what agents read of an `Episode`, and what the environment has said last."""

    scenes: ForeignScenes
    state: Tensor  # [B, N, D] float32, what is remembered
    outcome: Outcome
    gazes: Tensor  # [B, 1 + T, A] float32 in [-1, 1], NaN, and then each action; NaN if it was not taken
    glimpses: Tensor  # [B] int64, steps taken
    ended: Tensor  # [B] bool
    asked: Tensor  # [B, T, F] float32, each action as the environment got it, flat; 0 if it was not taken
    observation: Tensor  # [B, S] float32, the last one, flat


@dataclass(frozen=True, kw_only=True)
class ForeignRules:
    """What agents ask of the rules.

    Args:
        glimpses: steps of an episode, T.
        gaze_size: numbers of an action, A.
    """

    glimpses: int
    gaze_size: int
    stop: bool = False
    zoom: bool = False

    @property
    def action_size(self) -> int:
        """Numbers of an action, A."""
        return self.gaze_size

    @property
    def of_policies(self) -> dict[str, Any]:
        """The rules without which a policy does not mean what it meant in training."""
        return {"time_left": False, "stop": self.stop, "zoom": self.zoom}


@dataclass(frozen=True)
class ForeignPerception:
    """What agents ask of a perception; a policy belongs to the environment that its fingerprint names."""

    fingerprint: str
    task_name: str = "foreign"
    precision: torch.dtype = torch.float32


@dataclass(frozen=True)
class ForeignSource:
    """What agents ask of a source."""

    knows_target: bool = False


class Told(NamedTuple):
    """What the environment was asked in a step of B rows, and what it told."""

    asked: Tensor  # [B, F]
    observation: Tensor  # [B, S] float32, flat
    reward: Tensor  # [B] float32
    ended: Tensor  # [B] bool, terminated or truncated
    infos: dict[str, Any]


class ForeignWorld:
    """A Gymnasium environment as a world.

    ``ForeignWorld(lambda n: gym.make_vec("Pendulum-v1", n, vectorization_mode="sync"), glimpses=200)``

    The index of a scene is the seed of its reset: the traces of a group of GRPO share it. The reward is the
    environment's own, the loss is the return so far with its sign changed, and an outcome is correct if the infos have
    "is_success". A subclass may override `remember`, `ask`, `as_action` and `outcome_of`.

    Args:
        make: makes a vector environment of n rows in the mode "NextStep", which takes a list of n seeds.
        glimpses: steps of an episode, T; it may end earlier.

    Attributes:
        steps: steps taken so far in all rows, replayed ones included.

    Raises:
        TypeError: actions are not a bounded `Box`, and no subclass translates them.
        ValueError: the environment resets itself in another mode.
    """

    map_side = 0
    ends_early = True

    def __init__(self, make: Callable[[int], VectorEnv], *, glimpses: int):
        self.make, self.device, self.steps = make, torch.device("cpu"), 0
        self._engines: list[_Engine] = []
        env = self._idle(1).env
        mode = (env.metadata or {}).get("autoreset_mode")
        if mode is None or AutoresetMode(mode) != AutoresetMode.NEXT_STEP:
            raise ValueError(f"a foreign environment is made with autoreset_mode 'NextStep', got {mode}")
        self.single_observation_space, self.single_action_space = env.single_observation_space, env.single_action_space
        first = getattr(env.unwrapped, "envs", [env])[0]
        name = env.spec.id if env.spec else type(first.unwrapped).__name__
        self.rules = ForeignRules(glimpses=glimpses, gaze_size=self.gaze_size)
        self.perception, self.source = ForeignPerception(name), ForeignSource()

    @property
    def gaze_size(self) -> int:
        """Numbers of an action, A."""
        space = self.single_action_space
        if not isinstance(space, spaces.Box) or not space.is_bounded():
            raise TypeError(f"agents answer points of a bounded Box; this environment takes {space}")
        return spaces.flatdim(space)

    @property
    def observation_shape(self) -> tuple[int, int]:
        """Shape (N, D) of what `remember` returns."""
        return 1, spaces.flatdim(self.single_observation_space)

    def scenes(self, index: Tensor) -> ForeignScenes:
        """Return the episodes with these seeds, [B] int64 >= 0."""
        return ForeignScenes(index, torch.full((len(index), 4), torch.nan))

    def prefetch(self, index: Tensor) -> None:
        """Do nothing: there is nothing to make before the reset."""

    def start(self, scenes: ForeignScenes) -> ForeignEpisode:
        """Begin an episode with each seed."""
        batch, rules, nothing = len(scenes), self.rules, torch.zeros(len(scenes))
        observation = self._flat(self._idle(batch).reset(scenes.index))
        return ForeignEpisode(
            scenes=scenes,
            state=self.remember(None, observation),
            outcome=Outcome(nothing, nothing, nothing.bool(), nothing.long()),
            gazes=torch.full((batch, 1 + rules.glimpses, rules.gaze_size), torch.nan),
            glimpses=nothing.long(),
            ended=nothing.bool(),
            asked=torch.zeros(batch, rules.glimpses, self.ask_size),
            observation=observation,
        )

    def look(self, episode: ForeignEpisode, action: Tensor) -> tuple[ForeignEpisode, Tensor]:
        """Take a step in each of B episodes; those that have ended stay as they are, and their reward is 0.

        Args:
            episode: B episodes; they are not changed.
            action: [B, A] float32 in [-1, 1]; values outside are clipped. Numbers that are missing are 0, and those
                beyond A do not count: any scripted gaze [B, 2] will do.

        Returns:
            The episodes after the step, and the reward [B] float32.
        """
        size, active = self.rules.gaze_size, ~episode.ended
        action = functional.pad(action[:, :size], (0, max(0, size - action.shape[1]))).clamp(-1, 1)
        step = int(episode.glimpses.max())  # episodes of a batch began together
        gazes, asked = episode.gazes.clone(), episode.asked.clone()
        gazes[active, 1 + step] = action[active]
        asked[active, step] = self.ask(episode, action)[active]
        told = self._step(episode, asked[:, : step + 1])
        reward = told.reward * active
        after = ForeignEpisode(
            scenes=episode.scenes,
            state=self.remember(episode.state, told.observation),
            outcome=self.outcome_of(episode, reward, told),
            gazes=gazes,
            glimpses=episode.glimpses + active,
            ended=told.ended | (episode.glimpses + active >= self.rules.glimpses),
            asked=asked,
            observation=told.observation,
        )
        rows = active.nonzero().flatten()
        return (after if active.all() else episode.put(rows, after.rows(rows))), reward

    def observe(self, episode: ForeignEpisode) -> Tensor:
        """Return what an agent sees, [B, N, D]: what is remembered."""
        return episode.state

    @property
    def metrics(self) -> dict[str, Metric]:
        """The figures that tables show: the return, and the success."""
        return {"return": Metric(title="return"), "success": share("success")}

    def measure(self, episode: ForeignEpisode) -> dict[str, Tensor]:
        """Return the return so far, and whether it is a success, [B] each."""
        return {"return": -episode.outcome.loss, "success": episode.outcome.correct}

    def info(self, episode: ForeignEpisode) -> dict[str, Tensor]:
        """Return nothing: the outcome is all."""
        return {}

    def remember(self, state: Tensor | None, observation: Tensor) -> Tensor:
        """Return the state [B, N, D] after an observation [B, S]; by default the observation. None is before any."""
        return observation[:, None]

    @property
    def ask_size(self) -> int:
        """Numbers of an action as the environment gets it, F."""
        return self.rules.gaze_size

    def ask(self, episode: ForeignEpisode, action: Tensor) -> Tensor:
        """Return what the environment is asked, [B, F], by actions [B, A] in [-1, 1]: scaled to its bounds."""
        space = self.single_action_space
        assert isinstance(space, spaces.Box)  # see gaze_size
        low, high = (torch.from_numpy(bound).flatten() for bound in (space.low, space.high))
        return low + (action + 1) / 2 * (high - low)

    def as_action(self, asked: np.ndarray) -> Any:
        """Return what `step` of the environment takes, from what it is asked, [B, F]."""
        return asked.reshape(-1, *(self.single_action_space.shape or ())).astype(self.single_action_space.dtype)

    def outcome_of(self, episode: ForeignEpisode, reward: Tensor, told: Told) -> Outcome:
        """Return what a step of B episodes, with this reward [B], came to."""
        correct = torch.from_numpy(np.asarray(told.infos.get("is_success", np.zeros(len(reward))), dtype=bool))
        return Outcome(episode.outcome.loss - reward, correct.float(), correct, correct.long())

    def _flat(self, observations: Any) -> Tensor:
        """Return observations of B rows as [B, S]."""
        space = self.single_observation_space
        if isinstance(space, spaces.Dict):
            parts = [np.asarray(observations[name], dtype=np.float32) for name in space]
            return torch.from_numpy(np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1))
        return torch.from_numpy(np.array(observations, dtype=np.float32).reshape(len(observations), -1))

    def _idle(self, rows: int) -> "_Engine":
        """Return an environment of so many rows, the one that was used longest ago or a new one; it comes last."""
        fitting = [engine for engine in self._engines if engine.env.num_envs == rows]
        engine = fitting[0] if len(fitting) >= ENGINES else _Engine(self.make(rows))
        self._engines = [other for other in self._engines if other is not engine] + [engine]
        return engine

    def _step(self, episode: ForeignEpisode, asked: Tensor) -> Told:
        """Take the last of the steps [B, t + 1, F] of episodes that stand before it."""
        index, before = episode.scenes.index, asked[:, :-1]
        engine = next((engine for engine in self._engines if engine.stands_at(index, before)), None)
        if engine is None:
            engine = self._idle(len(index))
            engine.reset(index)
            for step in range(before.shape[1]):
                engine.step(before[:, step], self.as_action)
                self.steps += len(index)
        self.steps += len(index)
        observations, reward, terminated, truncated, infos = engine.step(asked[:, -1], self.as_action)
        ended = torch.from_numpy(terminated | truncated)
        return Told(asked[:, -1], self._flat(observations), torch.from_numpy(reward).float(), ended, infos)


class _Engine:
    """A vector environment, and what it was asked since its reset."""

    def __init__(self, env: VectorEnv):
        self.env, self.index, self.asked = env, torch.empty(0, dtype=torch.int64), list[Tensor]()

    def stands_at(self, index: Tensor, asked: Tensor) -> bool:
        """Return whether it was reset with these seeds [B], and has taken these steps [B, t, F] and no other."""
        if len(self.asked) != asked.shape[1] or not torch.equal(self.index, index):
            return False
        return all(torch.equal(mine, theirs) for mine, theirs in zip(self.asked, asked.unbind(dim=1), strict=True))

    def reset(self, index: Tensor) -> Any:
        """Begin anew with these seeds; return the observations."""
        self.index, self.asked = index, []
        seeds: Any = (index % 2**31).tolist()
        return self.env.reset(seed=seeds)[0]

    def step(self, asked: Tensor, as_action: Callable[[np.ndarray], Any]) -> tuple[Any, ...]:
        """Step, and keep what was asked."""
        self.asked.append(asked)
        return self.env.step(as_action(asked.numpy()))
