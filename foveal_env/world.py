"""The centre: an environment is two pure, batched functions, `World.start` and `World.look`.

Gymnasium's environments and the agents' rollouts are views of these. Whatever changes in an episode is in `Episode`;
a `World` holds what does not.
"""

import inspect
import json
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from foveal_env.batch import Batch
from foveal_env.perception import NEEDS_TARGET, Perception, load_frozen
from foveal_env.retina import extract
from foveal_env.sources import SOURCES
from foveal_env.sources.ahead import Ahead
from foveal_env.sources.base import Scenes, Source
from foveal_env.tasks.base import REWARDS, Judgement

FIRST_LOOKS = ("centre", None)


@dataclass(frozen=True)
class Episode(Batch):
    """B episodes under way: all that changes, nothing that does not."""

    scenes: Scenes
    state: Tensor  # [B, N, D] float32, the encoder's
    judgement: Judgement  # of the head's answer to that state
    gazes: Tensor  # [B, 1 + T, 2 or 3] float32, first look and then each glimpse; NaN where none was taken
    glimpses: Tensor  # [B] int64, glimpses taken since the first look
    ended: Tensor  # [B] bool


class World:
    """A source, a frozen perception and the rules of an episode.

    Args:
        source: where scenes come from.
        perception: encoder and task head; it must fit the source.
        glimpses: glimpses of an episode after the first look, T.
        reward: "gain", "probability" or "correct", see `foveal_env.tasks.base`, or one of the task's own.
        first_look: "centre": `start` looks at the centre, so that no policy is credited with a constant spot; None:
            the agent's first gaze comes from the initial state, as in the papers.
        clock: add a row to the observation that holds the share of the glimpses left.
        stop: the agent can end an episode: the last entry of the action above 0 does, and no glimpse is taken.
        zoom: the agent chooses the zoom too: the third entry of the action, in [-1, 1], shifts that of every patch by
            as many times `zoom_reach`.
        zoom_reach: largest shift of the zoom; at 1 every side is halved or doubled.
        price: taken off the reward for each glimpse.
    """

    def __init__(
        self,
        source: Source,
        perception: Perception,
        *,
        glimpses: int = 4,
        reward: str = "gain",
        first_look: str | None = "centre",
        clock: bool = False,
        stop: bool = False,
        zoom: bool = False,
        zoom_reach: float = 1.0,
        price: float = 0.0,
    ):
        perception.check_fits(source)
        if not isinstance(glimpses, Integral) or glimpses < 1:
            raise ValueError(f"glimpses must be at least 1, and whole, got {glimpses!r}")
        rewards = {**REWARDS, **perception.task.rewards}
        if reward not in rewards:
            raise ValueError(f"unknown reward {reward!r}; known: {', '.join(rewards)}")
        if first_look not in FIRST_LOOKS:
            raise ValueError(f"unknown first_look {first_look!r}; known: 'centre', None")
        if not (0 < zoom_reach < math.inf and 0 <= price < math.inf):
            raise ValueError(f"zoom_reach must be above 0 and price at least 0, got {zoom_reach} and {price}")
        self.source, self.perception = source, perception
        self.stop, self.zoom, self.zoom_reach, self.price = stop, zoom, zoom_reach, price
        self.gaze_size = 2 + zoom
        self.action_size = self.gaze_size + stop
        self.ends_early = stop or perception.task.ends_on_success
        self._ahead = Ahead(source)
        self.glimpses, self.reward, self.first_look, self.clock = glimpses, reward, first_look, clock
        self._rewarded = rewards[reward]
        self.options: dict[str, Any] = {}  # what `make_world` was called with
        self.layout = perception.encoder.layout
        self.device = next(perception.parameters()).device

    @property
    def observation_shape(self) -> tuple[int, int]:
        """Shape of an observation, (N, D), or (N + 1, D) with a clock."""
        tokens, width = self.perception.encoder.state_shape
        return tokens + self.clock, width

    def scenes(self, index: Tensor) -> Scenes:
        """Return scenes of the source, by index [B] int64, on the world's device."""
        return self._ahead.take(index).to(self.device)

    def request(self, index: Tensor) -> None:
        """Let a worker make scenes, by index [B] int64, which `scenes` will be asked for next."""
        self._ahead.request(index)

    def start(self, scenes: Scenes) -> Episode:
        """Begin an episode in each of B scenes."""
        state = self.perception.initial(scenes)
        gazes = state.new_full((len(scenes), 1 + self.glimpses, self.gaze_size), torch.nan)
        if self.first_look == "centre":
            gazes[:, 0] = 0
            state = self._see(state, scenes, gazes[:, 0])
        judgement = self.perception.judge(state, scenes)
        glimpses = torch.zeros_like(scenes.index)
        return Episode(scenes, state, judgement, gazes, glimpses, torch.zeros_like(glimpses, dtype=torch.bool))

    def look(self, episode: Episode, action: Tensor) -> tuple[Episode, Tensor]:
        """Take one glimpse in each episode; those that ended early stay as they are, and their reward is 0.

        Args:
            episode: B episodes; they are not changed. None may have spent its glimpses.
            action: [B, A] float32: (x, y), with `zoom` (x, y, z), and with `stop` one more entry at the end. (-1, -1)
                is the top-left corner of the image, (1, 1) the bottom-right; what lies outside is clipped. A gaze
                [B, 2] alone will do: it keeps the zoom, and never stops.

        Returns:
            The episodes after the glimpse, and the reward [B] float32.
        """
        action = self.completed(action).clamp(-1, 1)
        if not self.ends_early:
            return self._looked(episode, action)
        over = episode.ended | (action[:, -1] > 0) if self.stop else episode.ended
        if not over.any():
            return self._looked(episode, action)
        stopped, reward = replace(episode, ended=over), torch.zeros_like(episode.judgement.loss)
        if self.reward == "correct":  # at the end of an episode, however it ends
            reward = (episode.judgement.correct & over & ~episode.ended).float()
        rows = (~over).nonzero().flatten()
        if not len(rows):
            return stopped, reward
        after, earned = self._looked(episode.rows(rows), action[rows])
        return stopped.put(rows, after, but=("scenes",)), reward.index_copy(0, rows, earned)

    def _looked(self, episode: Episode, action: Tensor) -> tuple[Episode, Tensor]:
        """Return what `look` does to episodes none of which is over, by a complete action [B, A]."""
        scenes, gaze = episode.scenes, action[:, : self.gaze_size]
        state = self._see(episode.state, scenes, gaze)
        judgement = self.perception.judge(state, scenes)
        glimpses = episode.glimpses + 1
        now = torch.arange(1 + self.glimpses, device=self.device) == glimpses[:, None]
        gazes = torch.where(now[..., None], gaze[:, None], episode.gazes)
        ended = glimpses >= self.glimpses
        if self.perception.task.ends_on_success:
            ended = ended | judgement.correct
        reward = self._rewarded(episode.judgement, judgement, ended) - self.price
        return Episode(scenes, state, judgement, gazes, glimpses, ended), reward

    def completed(self, action: Tensor) -> Tensor:
        """Return an action [B, A], with what a gaze [B, 2] alone leaves open: the zoom as it is, and no stop."""
        missing = self.action_size - action.shape[1]
        if not missing:
            return action
        rest = action.new_zeros(len(action), missing)
        if self.stop:
            rest[:, -1] = -1
        return torch.cat([action, rest], dim=1)

    def _see(self, state: Tensor, scenes: Scenes, gaze: Tensor) -> Tensor:
        shift = gaze[:, 2] * self.zoom_reach if self.zoom else None
        return self.perception.step(state, extract(scenes.images, gaze[:, :2], self.layout, shift))

    def observe(self, episode: Episode) -> Tensor:
        """Return what an agent sees, [B, N, D]: the state, and with a clock one more row."""
        if not self.clock:
            return episode.state
        left = (1 - episode.glimpses / self.glimpses).to(episode.state.dtype)
        row = left[:, None, None].expand(-1, 1, episode.state.shape[-1])
        return torch.cat([episode.state, row], dim=1)


def make_world(
    *,
    perception: str = "digits",
    source: str | None = None,
    canvas: int | None = None,
    source_options: dict[str, Any] | None = None,
    split: str = "train",
    task: str | None = None,
    task_options: dict[str, Any] | None = None,
    glimpses: int = 4,
    reward: str = "gain",
    first_look: str | None = "centre",
    clock: bool = False,
    stop: bool = False,
    zoom: bool = False,
    zoom_reach: float = 1.0,
    price: float = 0.0,
    device: str = "cpu",
    precision: str = "float32",
) -> World:
    """Make a world from names; frozen perceptions and sources are shared within a process.

    Args:
        perception: a shipped perception by name, or the path of a checkpoint.
        source: name of a source, or "module:Class"; None is the one that the perception was trained on.
        canvas: side of the canvas of composed scenes in px; None is the source's or the perception's own.
        source_options: more options of the source's constructor; those that the perception was trained with are kept
            where the source is the same.
        split: "train", "validation" or "test".
        task: of a perception that answers several questions, the one that is asked; None, or the name of its own task,
            "several", asks them all in turn.
        task_options: options of the task that can still be chosen, such as the tolerance of a search; of several
            questions by the name of each, such as ``{"where": {"tolerance": 0.25}}``.
        glimpses: glimpses of an episode after the first look.
        reward: "gain", "probability" or "correct", or one of the task's own.
        first_look: "centre", or None (null on the command line).
        clock: show the agent the share of the glimpses left.
        stop: let the agent end an episode, by the last entry of the action.
        zoom: let the agent choose the zoom, by the third entry of the action.
        zoom_reach: largest shift of the zoom; at 1 every side is halved or doubled.
        price: taken off the reward for each glimpse.
        device: torch device of images, encoder and state.
        precision: arithmetic of the encoder: "float32", "bfloat16", or "auto" for the second where it is native.
    """
    options = dict(locals())
    seen = load_frozen(perception, device=device, precision=precision, task_options=task_options)
    trained_on = seen.spec.get("source", "digits")
    own = seen.spec.get("source_options", {}) if source in (None, trained_on) else {}
    changed = {**own, **(source_options or {}), **({} if canvas is None else {"canvas": canvas})}
    if task is not None:
        known = [seen.spec["task"], *seen.spec["task_config"].get("questions", ())]
        if task not in known:
            raise ValueError(f"unknown task {task!r} of this perception; known: {', '.join(known)}")
        if task != seen.spec["task"]:
            changed["ask"] = task
    kind = SOURCES.resolve(source or trained_on)
    if seen.task.needs_target and not kind.knows_target:
        raise ValueError(NEEDS_TARGET.format(task=seen.spec["task"]))
    parameters = inspect.signature(kind).parameters
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    if "canvas" in changed and "canvas" not in parameters and not takes_any:
        raise ValueError(
            f"scenes of the source {source or trained_on!r} have no canvas; an id that sets one takes canvas=None"
        )
    world = World(
        make_source(source or trained_on, split, **changed),
        seen,
        glimpses=glimpses,
        reward=reward,
        first_look=first_look,
        clock=clock,
        stop=stop,
        zoom=zoom,
        zoom_reach=zoom_reach,
        price=price,
    )
    world.options = options
    return world


def make_source(name: str, split: str = "train", **options: Any) -> Source:
    """Make a source by name, or return the one made before with the same arguments in this process."""
    return _make_source(name, split, json.dumps(options, sort_keys=True, default=str))


@lru_cache(maxsize=16)
def _make_source(name: str, split: str, options: str) -> Source:
    return SOURCES.make(name, split=split, **json.loads(options))
