"""Gymnasium's views of a world: a native batch, and the single environment as a batch of one. No logic of their own."""

import operator
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from foveal_env.data import Episode
from foveal_env.infos import Report, first_row, report
from foveal_env.kernels.hashing import scramble
from foveal_env.make import make_world, with_defaults
from foveal_env.world import World

RENDER_MODES = ("human", "rgb_array")
RESET_OPTIONS = ("scene", "reset_mask")
LARGEST = np.finfo(np.float32).max  # the state has no bound of its own; Gymnasium's check wants a finite one


class FovealVectorEnv(VectorEnv):
    """Many episodes as one batch: one call of the encoder a step. Made by ``gym.make_vec(id, num_envs=...)``.

    Row i behaves as the single environment `FovealEnv` reset with ``seed + i``, however many rows there are.

    ## Observation
    `Box` of shape (num_envs, n, d), or (num_envs, n * d) with ``flat=True``, float32: the observations of `FovealEnv`.

    ## Action
    `Box(-1, 1, (num_envs, A), float32)`: the actions of `FovealEnv`.

    ## End
    A row that ends begins anew in the same step ("SameStep"). Its info then holds the old episode's last observation
    and info as `final_obs` and `final_info`. In mode "NextStep" it begins anew in the next step, which ignores its
    action. In mode "Disabled" it waits for ``reset(options={"reset_mask": mask})``. Some libraries take one mode and
    do not look which they got: docs/guide/other-libraries.md has the table.

    ## Info
    Each entry of the info of `FovealEnv` is an array with one value a row, of the same type. `_key` [num_envs] bool
    says in which rows the entry `key` holds.

    Args:
        num_envs: number of rows, at least 1.
        world: a ready `World`, in place of options.
        autoreset_mode: an `AutoresetMode` or its value: "SameStep", "NextStep" or "Disabled". None is "SameStep", and
            an error in a process that has imported RLlib: it takes any batch for one of "NextStep".
        render_mode: None or "rgb_array"; `render` then returns a tuple of images.
        defaults: options of the id itself; see `foveal_env.make.with_defaults`.
        flat: give each observation as one axis.
        options: all other keyword arguments, those of `foveal_env.make_world`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4, "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        *,
        world: World | None = None,
        autoreset_mode: str | AutoresetMode | None = None,
        render_mode: str | None = None,
        defaults: dict[str, Any] | None = None,
        flat: bool = False,
        **options: Any,
    ):
        if world is not None and options:
            raise ValueError(f"give either a world or options of make_world, got both: {', '.join(options)}")
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        _check_render_mode(render_mode, self.metadata["render_modes"])
        self.num_envs, self.render_mode = num_envs, render_mode
        self.world = world or make_world(**with_defaults(defaults or {}, options))
        tokens, width = self.world.observation_shape
        shape = (tokens * width,) if flat else (tokens, width)
        self.single_observation_space = spaces.Box(-LARGEST, LARGEST, shape, np.float32)
        self.single_action_space = spaces.Box(-1, 1, (self.world.rules.action_size,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._started: Episode | None = None  # None before the first reset
        self._ended = np.zeros(num_envs, dtype=bool)
        self._all_rows = torch.arange(num_envs, device=self.world.device)
        self._stream = torch.empty(0, dtype=torch.int64)  # [B] seed of each row's sequence of scenes
        self._count = torch.zeros(num_envs, dtype=torch.int64)  # [B] scenes that each row has drawn from it

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new episodes.

        Args:
            seed: an int gives row i the seed ``seed + i``; a list gives each row its own; None goes on.
            options: "reset_mask" [num_envs] bool restarts only these rows; "scene" (an int or [num_envs] ints) picks
                the scenes by index instead of drawing them.

        Raises ValueError if an option is unknown or impossible.
        """
        options = options or {}
        _check_reset_options(options, RESET_OPTIONS)
        if seed is not None and not isinstance(seed, list | tuple):
            seed = operator.index(seed)
            super().reset(seed=seed)
        mask = self._reset_mask(options)
        self._seed(seed, mask)
        self._begin(mask, options.get("scene"))
        told = report(self.world, self._episode)
        return self._shaped(told.observations), told.infos(mask)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Look at `actions` [num_envs, A]; ValueError for NaN, infinity or a wrong shape."""
        action = _action(actions, (self.num_envs, self.world.rules.action_size))
        old = self._ended
        if old.any() and self.autoreset_mode == AutoresetMode.DISABLED:
            raise ResetNeeded(f"rows {np.flatnonzero(old).tolist()} have ended; reset them with a reset_mask")
        reward = self._look(action, ~old)
        if old.any():  # NEXT_STEP: these rows begin anew and ignore their action
            self._begin(old)
        told = report(self.world, self._episode, reward)
        rewards, ended, final = told.rewards, told.ended, {}
        self._ended = ended.copy()
        if ended.any() and self.autoreset_mode == AutoresetMode.SAME_STEP:
            final = self._final(told)
            self._begin(ended)
            told = report(self.world, self._episode)
        infos = {**told.infos(np.ones_like(ended)), **final}
        return self._shaped(told.observations), rewards, ended, np.zeros_like(ended), infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return a picture [h, w, 3] uint8 of each row: image, windows of the last glimpse, path of the gaze."""
        if self.render_mode is None:
            gym.logger.warn("render was called without a render_mode; pass render_mode='rgb_array' to make_vec")
            return None
        return tuple(self.draw(row) for row in range(self.num_envs))

    def draw(self, row: int) -> np.ndarray:
        """Return the picture [h, w, 3] uint8 of a row, whatever the render mode."""
        episode = self._episode
        prediction = episode.outcome.prediction[row]
        caption = self.world.caption(episode.scenes, row, prediction)
        return self.world.draw(episode.scenes, row, episode.gazes[row], prediction, caption=caption)

    @property
    def questions(self) -> tuple[str, ...]:
        """What is asked in each row, in words; "" if all scenes are asked the same."""
        scenes = self._episode.scenes
        return tuple(self.world.question_text(scenes, row) for row in range(self.num_envs))

    @property
    def _episode(self) -> Episode:
        """The episodes under way; ResetNeeded before the first reset."""
        if self._started is None:
            raise ResetNeeded("call reset first")
        return self._started

    def _reset_mask(self, options: dict[str, Any]) -> np.ndarray:
        mask = options.get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, dtype=bool)
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"reset_mask must be {self.num_envs} booleans, at least one of them true, got {mask!r}")
        if self._started is None and not mask.all():
            raise ResetNeeded("the first reset must reset every row")
        return mask

    def _seed(self, seed: int | list[int | None] | None, mask: np.ndarray) -> None:
        seeds = [seed + row for row in range(self.num_envs)] if isinstance(seed, int) else seed
        if not len(self._stream):
            self._stream = torch.from_numpy(self.np_random.integers(2**62, size=self.num_envs))
        if seeds is None:
            return
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments")
        for row in np.flatnonzero(mask):
            own = seeds[row]
            if own is not None:
                self._stream[row], self._count[row] = operator.index(own) % 2**63, 0

    def _begin(self, mask: np.ndarray, scene: int | np.ndarray | None = None) -> None:
        """Start new episodes in the rows where `mask` is true."""
        rows = torch.from_numpy(mask)
        if scene is None:
            index = self._next(rows)
            self._count[rows] += 1
        else:
            scene = np.asarray(scene)
            if not np.issubdtype(scene.dtype, np.integer) or (scene < 0).any():
                raise ValueError(f"a scene is an index of at least 0, got {scene}")
            index = torch.from_numpy(np.broadcast_to(scene, (self.num_envs,)).astype(np.int64))[rows]
        with torch.no_grad():
            scenes = self.world.scenes(index)
            if self.world.source.reads_files:
                self.world.prefetch(self._next(torch.ones(self.num_envs, dtype=torch.bool)))
            new = self.world.start(scenes)
        self._started = new if mask.all() else self._episode.replaced(rows.to(self.world.device), new)
        self._ended = self._ended & ~mask

    def _next(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the index of the scene that each of the rows, a mask, draws next."""
        return scramble(self._stream[rows], 0) ^ scramble(self._count[rows], 1)

    def _look(self, action: torch.Tensor, active: np.ndarray) -> torch.Tensor | None:
        """Look in the rows where `active` is true; return the rewards [num_envs], 0 in the others; None if none is."""
        if not active.any():
            return None
        goes_on = active & ~(action[:, -1] > 0).numpy() if self.world.rules.stop else active
        rows = self._all_rows  # which rows go on is known here: a device need not wait
        if not goes_on.all():
            rows = torch.from_numpy(np.flatnonzero(goes_on)).to(self.world.device)
        with torch.no_grad():
            self._started, reward = self.world.look(self._episode, action.to(self.world.device), rows=rows)
        return reward

    def _shaped(self, observations: np.ndarray) -> np.ndarray:
        """Return observations [num_envs, n, d] as the space has them."""
        return observations.reshape(self.observation_space.shape)

    def _final(self, told: Report) -> dict[str, Any]:
        """Return the last observations and infos of the rows that have ended."""
        ended = told.ended
        observations, last = np.full(self.num_envs, None, dtype=object), self._shaped(told.observations)
        for row in np.flatnonzero(ended).tolist():
            observations[row] = last[row]
        return {
            "final_obs": observations,
            "_final_obs": ended.copy(),
            "final_info": told.infos(ended),
            "_final_info": ended.copy(),
        }


class FovealEnv(gym.Env):
    """Look at an image a few patches at a time; the observation is what a frozen encoder made of them.

    ## Description
    An image is hidden from the agent. A frozen, pretrained encoder takes a few square patches of it around one point.
    The wide patches are coarse, and the narrow ones are sharp. The encoder updates its internal state from them, and a
    frozen head answers the task from that state. The agent sees the state, and chooses the next point. Its aim is a
    right answer within few glimpses. The cost of a step hardly depends on the size of the image.

    ## Observation
    The observation is the internal state of the encoder: a `Box` of shape (n, d), float32. With ``flat=True`` it is one
    axis, (n * d,), row after row, for libraries that take no more.

    | rows | range | meaning |
    |---|---|---|
    | n tokens of width d | any finite value | what the encoder shows of its state, with the prompt; by default all |
    | one more row, with ``time_left=True`` | 0 to 1 | share of the glimpses that are left |

    ## Action
    The action is the gaze, the point of the image to look at: `Box(-1, 1, (A,), float32)`.

    | entry | range | meaning |
    |---|---|---|
    | x | -1 to 1 | -1 is the left edge of the image, 1 the right edge |
    | y | -1 to 1 | -1 is the top edge of the image, 1 the bottom edge |
    | z, with ``zoom=True`` | -1 to 1 | times `zoom_reach`, added to every patch's zoom; above 0 they are narrower |
    | the last, with ``stop=True`` | -1 to 1 | above 0 the episode ends, and no glimpse is taken |

    Values outside are clipped. NaN, infinity and wrong shapes raise ValueError.

    ## Reward
    | `reward` | when | value |
    |---|---|---|
    | "gain", the default | every glimpse | fall of the head's loss; the return is the first loss less the last one |
    | "probability" | every glimpse | score of the answer after the glimpse, 0 to 1 |
    | "correct" | at the end | 1 if the answer is right, otherwise 0 |

    Each glimpse costs `glimpse_cost`, 0 by default. A task may have more rewards of its own.

    ## Start and end
    The first look is at the centre of the image, and counts as no glimpse. With ``first_look=None`` there is none, and
    the first observation is the constant initial state. The episode is terminated after `glimpses` steps. A stop of
    the agent terminates it earlier, and so does success if the task ends on success. It is never truncated.

    ## Info
    | key | when | meaning |
    |---|---|---|
    | `prediction` | always | answer of the head: a class by its index, a point, a box or an image |
    | `score` | always | how good the answer is, 0 to 1; the probability of the truth if the answer is a distribution |
    | `scene` | always | index of the scene; ``reset(options={"scene": index})`` shows it again |
    | `is_success` | always | whether the answer is right, at the end of the episode; before that False |
    | `prompt` | scenes with a prompt | what is asked, as the encoder gets it; in words: `env.unwrapped.question` |
    | `distance` | tasks with a place | distance of the answer from the target's centre, in sides of the target |
    | `iou` | `locate` | area that the answered box shares with the target's, over the area that both cover |
    | `path_length` | `search` | length of the gaze's path, in px |
    | `spl` | `search` | success weighted by path length (arXiv 1807.06757), 0 to 1 |

    ## Versions
    v0: the first version, of release 0.1.0.

    Args:
        world: a ready `World`, in place of options.
        render_mode: None, "rgb_array" or "human".
        flat: give the observation as one axis.
        options: all other keyword arguments, those of `foveal_env.make_world`.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012

    def __init__(
        self, *, world: World | None = None, render_mode: str | None = None, flat: bool = False, **options: Any
    ):
        _check_render_mode(render_mode, self.metadata["render_modes"])
        if "autoreset_mode" in options:
            raise ValueError("a single environment does not reset itself; autoreset_mode is for gym.make_vec")
        self.render_mode, self._screen = render_mode, render_mode == "human" and _has_screen()
        self.batch = FovealVectorEnv(
            1, world=world, autoreset_mode=AutoresetMode.DISABLED, render_mode="rgb_array", flat=flat, **options
        )
        self.world = self.batch.world
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin a new episode; ``options={"scene": index}`` picks the scene. ValueError if an option is unknown."""
        _check_reset_options(options or {}, RESET_OPTIONS[:1])
        super().reset(seed=seed)
        observations, infos = self.batch.reset(seed=seed, options=options)
        self._show()
        return observations[0], first_row(infos)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Look at `action` [A]."""
        action = _action(action, (self.world.rules.action_size,)).numpy()
        observations, rewards, terminated, _, infos = self.batch.step(action[None])
        self._show()
        return observations[0], float(rewards[0]), bool(terminated[0]), False, first_row(infos)

    @property
    def question(self) -> str:
        """What is asked, in words; "" if all scenes are asked the same."""
        return self.batch.questions[0]

    def render(self) -> np.ndarray | None:
        """Return the picture [h, w, 3] uint8 in mode "rgb_array"; mode "human" shows it at every step by itself."""
        if self.render_mode is None:
            gym.logger.warn("render was called without a render_mode; pass render_mode='rgb_array' to gym.make")
        return self.batch.draw(0) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the window of mode "human"."""
        if self.render_mode == "human":
            from matplotlib import pyplot

            pyplot.close("foveal_env")

    def _show(self) -> None:
        if self._screen:
            _show(self.batch.draw(0), pause=1 / self.metadata["render_fps"])


def _autoreset_mode(mode: str | AutoresetMode | None) -> AutoresetMode:
    """Return the mode that is meant, or raise ValueError."""
    if mode is None:
        if "ray.rllib" in sys.modules:
            raise ValueError(
                "RLlib takes any batch for one of autoreset_mode='NextStep' and does not look: say which mode is "
                "meant, or let foveal_env.rllib_env make the environment"
            )
        return AutoresetMode.SAME_STEP
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(mode.value for mode in AutoresetMode)
        raise ValueError(f"unknown autoreset_mode {mode!r}; known: {known}") from None


def _check_reset_options(options: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(f"unknown reset option {', '.join(map(repr, unknown))}; known: {', '.join(known)}")


def _check_render_mode(mode: str | None, known: list[str]) -> None:
    if mode is not None and mode not in known:
        raise ValueError(f"unknown render_mode {mode!r}; known: None, {', '.join(known)}")


def _action(action: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """Return an action as a tensor, or raise ValueError that names it."""
    action = np.asarray(action)
    if action.dtype.kind not in "fiub":
        raise ValueError(f"an action is an array of real numbers, got {action!r}")
    if action.shape != shape:
        raise ValueError(f"an action has shape {shape}, got {action.shape}: {action!r}")
    if not np.isfinite(action).all():
        raise ValueError(f"an action must be finite, got {action!r}")
    return torch.from_numpy(action.astype(np.float32))


def _has_screen() -> bool:
    import matplotlib

    if matplotlib.get_backend().lower() != "agg":
        return True
    warnings.warn("render_mode='human' has no screen to show the picture on; use 'rgb_array' here", stacklevel=3)
    return False


def _show(picture: np.ndarray, *, pause: float) -> None:
    from matplotlib import pyplot

    figure = pyplot.figure("foveal_env")
    figure.clear()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture)
    axes.axis("off")
    pyplot.pause(pause)
