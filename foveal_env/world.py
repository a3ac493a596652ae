"""The centre: an environment is two pure, batched functions, `World.start` and `World.look`.

Gymnasium's environments, stage 1 and every rollout look through these. Whatever changes in an episode is in `Episode`;
a `World` holds what does not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal_env.contracts import check_looks, check_source, first_scenes
from foveal_env.data import Episode, Scenes
from foveal_env.perception import Perception
from foveal_env.render import draw
from foveal_env.retina import extract
from foveal_env.sources.base import Source
from foveal_env.sources.prefetch import Prefetcher
from foveal_env.tasks.base import REWARDS, Metric

FIRST_LOOKS = ("centre", None)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Rules of an episode.

    Args:
        glimpses: glimpses of an episode after the first look, T.
        reward: "gain", "probability" or "correct" (see `foveal_env.tasks.base`), or a reward of the task.
        first_look: "centre": `start` looks at the centre, and no policy is credited with a constant spot. None (null
            on the command line): the agent's first gaze comes from the initial state, as in the papers.
        time_left: add a row to the observation that holds the share of the glimpses left.
        stop: let the agent end an episode: the last entry of the action above 0 does, and no glimpse is taken.
        zoom: let the agent choose the zoom: the third entry of the action, in [-1, 1], times `zoom_reach` is added to
            the zoom of every patch.
        zoom_reach: largest shift of the zoom; at 1 every side is halved or doubled.
        glimpse_cost: cost of a glimpse, subtracted from its reward.
        ends_on_success: end an episode when an answer ends it, if the task is one that ends then (a search).

    Raises ValueError if a number is out of range, or `first_look` is unknown.
    """

    glimpses: int = 4
    reward: str = "gain"
    first_look: str | None = "centre"
    time_left: bool = False
    stop: bool = False
    zoom: bool = False
    zoom_reach: float = 1.0
    glimpse_cost: float = 0.0
    ends_on_success: bool = True

    def __post_init__(self):
        if not isinstance(self.glimpses, Integral) or self.glimpses < 1:
            raise ValueError(f"glimpses must be at least 1, and whole, got {self.glimpses!r}")
        if self.first_look not in FIRST_LOOKS:
            raise ValueError(f"unknown first_look {self.first_look!r}; known: 'centre', None")
        if not 0 < self.zoom_reach < math.inf:
            raise ValueError(f"zoom_reach must be above 0, got {self.zoom_reach}")
        if not 0 <= self.glimpse_cost < math.inf:
            raise ValueError(f"glimpse_cost must be at least 0, got {self.glimpse_cost}")

    @property
    def gaze_size(self) -> int:
        """Numbers of a gaze: 2, or 3 with the zoom."""
        return 2 + self.zoom

    @property
    def action_size(self) -> int:
        """Numbers of an action, A: the gaze, and one more if the agent can stop."""
        return self.gaze_size + self.stop

    @property
    def of_policies(self) -> dict[str, bool | float]:
        """The rules without which a policy does not mean what it meant in training."""
        reach = {"zoom_reach": self.zoom_reach} if self.zoom else {}
        return {"time_left": self.time_left, "stop": self.stop, "zoom": self.zoom, **reach}


class World:
    """A source, a perception and the rules of an episode.

    Args:
        source: source of the scenes.
        perception: encoder and task head; it must fit the source.
        rules: rules of an episode.

    Raises ValueError if the perception does not fit the source, or the reward is unknown. The first scenes, and what
    encoder and head make of them, are checked as well (`foveal_env.contracts`).
    """

    def __init__(self, source: Source, perception: Perception, rules: Rules = Rules()):
        check_source(source)
        perception.check_fits(source)
        rewards = {**REWARDS, **perception.task.rewards}
        if rules.reward not in rewards:
            raise ValueError(f"unknown reward {rules.reward!r}; known: {', '.join(rewards)}")
        self.source, self.perception, self.rules = source, perception, rules
        self.ends_on_success = rules.ends_on_success and perception.task.ends_on_success
        self.layout = perception.encoder.layout
        self.device = next(perception.parameters()).device
        self._reward = rewards[rules.reward]
        self._prefetcher = Prefetcher(source)
        self._is_checked = not source.truth_known  # otherwise losses mean nothing, and may be NaN

    @property
    def ends_early(self) -> bool:
        """Whether an episode can end before its glimpses are spent."""
        return self.rules.stop or self.ends_on_success

    @property
    def observation_shape(self) -> tuple[int, int]:
        """Shape of an observation: (n, d), or (n + 1, d) with the time left."""
        tokens, width = self.perception.encoder.observation_shape
        return tokens + self.rules.time_left, width

    def scenes(self, index: Tensor) -> Scenes:
        """Return scenes of the source, by index [B] int64, on the world's device.

        What a plug-in returns is checked once, in the first of them (`foveal_env.contracts`).
        """
        if self._is_checked or not len(index):
            return self._make(index).to(self.device)
        scenes = first_scenes(self.source, index, self._make).to(self.device)
        check_looks(self.perception.encoder, self.perception.task, scenes)
        self._is_checked = True
        return scenes

    def _make(self, index: Tensor) -> Scenes:
        """Make scenes on the device if the source can, otherwise on the CPU.

        It is as exact there, because all but a warp is done in whole numbers, and saves the copy of the pyramids. Files
        are read on the CPU.
        """
        if self.source.any_device and self.device.type != "cpu":
            return self.source.scenes(index.to(self.device))
        return self._prefetcher.get(index.cpu())

    def prefetch(self, index: Tensor) -> None:
        """Let a worker make the scenes, by index [B] int64, that `scenes` will be asked for next."""
        self._prefetcher.prefetch(index)

    def start(self, scenes: Scenes) -> Episode:
        """Begin an episode in each of B scenes."""
        state = self.perception.initial(scenes)
        gazes = state.new_full((len(scenes), 1 + self.rules.glimpses, self.rules.gaze_size), torch.nan)
        if self.rules.first_look == "centre":
            gazes[:, 0] = 0
            state = self._step(state, scenes, gazes[:, 0])
        outcome = self.perception.score(state, scenes)
        glimpses = torch.zeros_like(scenes.index)
        return Episode(scenes, state, outcome, gazes, glimpses, torch.zeros_like(glimpses, dtype=torch.bool))

    def look(self, episode: Episode, action: Tensor, *, rows: Tensor | None = None) -> tuple[Episode, Tensor]:
        """Take one glimpse in each episode; those that ended early stay as they are, and their reward is 0.

        Args:
            episode: B episodes; they are not changed. None may have spent its glimpses.
            action: [B, A] float32: (x, y), with `zoom` (x, y, z), and with `stop` one more entry at the end. (-1, -1)
                is the top-left corner of the image, (1, 1) the bottom-right; values outside are clipped. A gaze
                [B, 2] alone will do: it keeps the zoom, and never stops.
            rows: [R] int64, the episodes that have not ended and are not stopped, if the caller knows them. Otherwise
                they are found, for which a device must be waited.

        Returns:
            The episodes after the glimpse, and the reward [B] float32.
        """
        action = self.completed(action).clamp(-1, 1)
        if rows is None and not self.ends_early:
            return self._look_at(episode, action)
        over = episode.ended | (action[:, -1] > 0) if self.rules.stop else episode.ended
        rows = (~over).nonzero().flatten() if rows is None else rows
        if len(rows) == len(over):
            return self._look_at(episode, action)
        stopped, reward = replace(episode, ended=over), torch.zeros_like(episode.outcome.loss)
        if self.rules.reward == "correct":  # at the end of an episode, however it ends
            reward = (episode.outcome.correct & over & ~episode.ended).float()
        if not len(rows):
            return stopped, reward
        after, earned = self._look_at(episode.rows(rows), action[rows])
        return stopped.put(rows, after, but=("scenes",)), reward.index_copy(0, rows, earned)

    def _look_at(self, episode: Episode, action: Tensor) -> tuple[Episode, Tensor]:
        """Return what `look` does to episodes none of which is over, by a complete action [B, A]."""
        scenes, gaze = episode.scenes, action[:, : self.rules.gaze_size]
        state = self._step(episode.state, scenes, gaze)
        outcome = self.perception.score(state, scenes)
        glimpses = episode.glimpses + 1
        now = torch.arange(1 + self.rules.glimpses, device=self.device) == glimpses[:, None]
        gazes = torch.where(now[..., None], gaze[:, None], episode.gazes)
        ended = glimpses >= self.rules.glimpses
        if self.ends_on_success:
            ended = ended | self.perception.task.ends(outcome)
        reward = self._reward(episode.outcome, outcome, ended) - self.rules.glimpse_cost
        return Episode(scenes, state, outcome, gazes, glimpses, ended), reward

    def _step(self, state: Tensor, scenes: Scenes, gaze: Tensor) -> Tensor:
        shift = gaze[:, 2] * self.rules.zoom_reach if self.rules.zoom else None
        return self.perception.step(state, extract(scenes.images, gaze[:, :2], self.layout, shift))

    def completed(self, action: Tensor) -> Tensor:
        """Return an action [B, A]; a gaze [B, 2] alone leaves the zoom as it is, and does not stop."""
        missing = self.rules.action_size - action.shape[1]
        if not missing:
            return action
        rest = action.new_zeros(len(action), missing)
        if self.rules.stop:
            rest[:, -1] = -1
        return torch.cat([action, rest], dim=1)

    def observe(self, episode: Episode) -> Tensor:
        """Return what an agent sees, [B, n, d]: the encoder's observation, and a row of the time left if asked for."""
        observation = self.perception.encoder.observe(episode.state)
        if not self.rules.time_left:
            return observation
        left = 1 - episode.glimpses.to(observation.dtype) / self.rules.glimpses
        row = left[:, None, None].expand(-1, 1, observation.shape[-1])
        return torch.cat([observation, row], dim=1)

    def info(self, episode: Episode) -> dict[str, Tensor]:
        """Return what the task tells of B episodes besides their outcome, [B] each; NaN if it does not apply to one."""
        return self.perception.task.info(episode)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The figures that tables show of the task, by name; the main one first."""
        return self.perception.task.metrics

    def measure(self, episode: Episode) -> dict[str, Tensor]:
        """Return the figures of `metrics`, and perhaps more, for B episodes, [B] each; NaN if one does not apply."""
        return self.perception.task.measure(episode)

    @property
    def map_side(self) -> int:
        """Cells along each side of the map in which the head tells where the target is; 0 if it has none."""
        return self.perception.task.map_side

    def target_map(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return how likely the head believes the target to be in each cell of the image, and where in it it would be.

        It is read off a state [B, N, D]; rows after it, as of the time left, are not read. Returns logits
        [B, map_side, map_side], rows along y, and the points [B, map_side * map_side, 2] (x, y); TypeError if the head
        has no such map.
        """
        task = self.perception.task
        answer = task(state[:, : self.perception.encoder.state_shape[0]])
        return task.target_map(answer).float(), task.cell_points(answer).float()

    def draw(
        self, scenes: Scenes, row: int, gazes: Tensor, prediction: Tensor, *, side: int = 480, caption: str = ""
    ) -> np.ndarray:
        """Draw a scan path on the image of a scene, with the truth and the answer.

        Args:
            scenes: B scenes.
            row: which of them.
            gazes: [T, 2 or 3], in the order they were taken; NaN if one was not.
            prediction: [...] the answer to that scene.
            side: px of the longer side of the image as it is drawn.
            caption: words below the drawing.

        Returns:
            [h, w, 3] uint8; an answer that is an image stands beside it.
        """
        return draw(
            scenes.images.pixels(row).cpu().numpy(),
            gazes.cpu().numpy(),
            self.layout,
            side=side,
            zoom_reach=self.rules.zoom_reach,
            caption=caption,
            **self.marks(scenes, row, prediction),
        )

    def marks(self, scenes: Scenes, row: int, prediction: Tensor) -> dict[str, Any]:
        """Return what `draw` marks: "truth", "answer" and "answer_image" as in `render.draw`, None if there is none."""
        task, prompt, prediction = self.perception.task, scenes.prompt[row].cpu(), prediction.cpu()
        image = task.answer_image(prediction, prompt)
        is_marked = self.source.knows_target and image is None  # an image is the answer to all of the scene
        return {
            "truth": scenes.box[row : row + 1].cpu().numpy() if is_marked else None,
            "answer": task.boxes(prediction, prompt).numpy(),
            "answer_image": None if image is None else image.numpy(),
        }

    def question_text(self, scenes: Scenes, row: int) -> str:
        """Return what is asked of a scene, in words; "" if there is but one question."""
        return self.source.question_text(scenes, row)

    def caption(self, scenes: Scenes, row: int, prediction: Tensor) -> str:
        """Return the question of a scene, and answer and truth if they are words; "" if there is but one question."""
        question, answer = self.question_text(scenes, row), self.answer_text(scenes, row, prediction)
        if not question or not answer:
            return question
        return f"{question} answer: {answer}, truth: {self.truth_text(scenes, row)}"

    def truth_text(self, scenes: Scenes, row: int) -> str:
        """Return the right answer of a scene, in words."""
        return self.source.truth_text(scenes, row)

    def answer_text(self, scenes: Scenes, row: int, prediction: Tensor) -> str:
        """Return an answer [...] to a scene in words; "" if it is drawn and not said."""
        return self.perception.task.answer_text(prediction, scenes.prompt[row].cpu())
