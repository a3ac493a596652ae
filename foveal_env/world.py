"""The centre: an environment is two pure, batched functions, `World.start` and `World.look`.

Gymnasium's environments and the agents' rollouts are views of these. Whatever changes in an episode is in `Episode`;
a `World` holds what does not.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from foveal_env.batch import Batch
from foveal_env.perception import Perception, load_frozen
from foveal_env.retina import extract
from foveal_env.sources import SOURCES
from foveal_env.sources.ahead import Ahead
from foveal_env.sources.base import Scenes, Source
from foveal_env.tasks import REWARDS, Judgement

FIRST_LOOKS = ("centre", None)


@dataclass(frozen=True)
class Episode(Batch):
    """B episodes under way: all that changes, nothing that does not."""

    scenes: Scenes
    state: Tensor  # [B, N, D] float32, the encoder's
    judgement: Judgement  # of the head's answer to that state
    gazes: Tensor  # [B, 1 + T, 2] float32, first look and then each glimpse; NaN where none was taken
    glimpses: Tensor  # [B] int64, glimpses taken since the first look


class World:
    """A source, a frozen perception and the rules of an episode.

    Args:
        source: where scenes come from.
        perception: encoder and task head; it must fit the source.
        glimpses: glimpses of an episode after the first look, T.
        reward: "gain", "probability" or "correct", see `foveal_env.tasks`.
        first_look: "centre": `start` looks at the centre, so that no policy is credited with a constant spot; None:
            the agent's first gaze comes from the initial state, as in the papers.
        clock: add a row to the observation that holds the share of the glimpses left.
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
    ):
        perception.check_fits(source)
        if glimpses < 1:
            raise ValueError(f"glimpses must be at least 1, got {glimpses}")
        if reward not in REWARDS:
            raise ValueError(f"unknown reward {reward!r}; known: {', '.join(REWARDS)}")
        if first_look not in FIRST_LOOKS:
            raise ValueError(f"unknown first_look {first_look!r}; known: 'centre', None")
        self.source, self.perception = source, perception
        self._ahead = Ahead(source)
        self.glimpses, self.reward, self.first_look, self.clock = glimpses, reward, first_look, clock
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
        gazes = state.new_full((len(scenes), 1 + self.glimpses, 2), torch.nan)
        if self.first_look == "centre":
            gazes[:, 0] = 0
            state = self.perception.step(state, extract(scenes.images, gazes[:, 0], self.layout))
        judgement = self.perception.judge(state, scenes)
        return Episode(scenes, state, judgement, gazes, torch.zeros_like(scenes.index))

    def look(self, episode: Episode, gaze: Tensor) -> tuple[Episode, Tensor]:
        """Take one glimpse in each episode; none of them may have ended.

        Args:
            episode: B episodes; they are not changed.
            gaze: [B, 2] float32 (x, y); (-1, -1) is the top-left corner of the image, (1, 1) the bottom-right. What
                lies outside is clipped.

        Returns:
            The episodes after the glimpse, and the reward [B] float32.
        """
        scenes, gaze = episode.scenes, gaze.clamp(-1, 1)
        state = self.perception.step(episode.state, extract(scenes.images, gaze, self.layout))
        judgement = self.perception.judge(state, scenes)
        glimpses = episode.glimpses + 1
        now = torch.arange(1 + self.glimpses, device=self.device) == glimpses[:, None]
        gazes = torch.where(now[..., None], gaze[:, None], episode.gazes)
        after = Episode(scenes, state, judgement, gazes, glimpses)
        return after, REWARDS[self.reward](episode.judgement, judgement, self.ended(after))

    def ended(self, episode: Episode) -> Tensor:
        """Return [B] bool: the budget of glimpses is spent."""
        return episode.glimpses >= self.glimpses

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
    glimpses: int = 4,
    reward: str = "gain",
    first_look: str | None = "centre",
    clock: bool = False,
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
        glimpses: glimpses of an episode after the first look.
        reward: "gain", "probability" or "correct".
        first_look: "centre" or None.
        clock: show the agent the share of the glimpses left.
        device: torch device of images, encoder and state.
        precision: arithmetic of the encoder: "float32", "bfloat16", or "auto" for the second where it is native.
    """
    options = dict(locals())
    seen = load_frozen(perception, device=device, precision=precision)
    trained_on = seen.spec.get("source", "digits")
    own = seen.spec.get("source_options", {}) if source in (None, trained_on) else {}
    changed = {**own, **(source_options or {}), **({} if canvas is None else {"canvas": canvas})}
    world = World(
        make_source(source or trained_on, split, **changed),
        seen,
        glimpses=glimpses,
        reward=reward,
        first_look=first_look,
        clock=clock,
    )
    world.options = options
    return world


def make_source(name: str, split: str = "train", **options: Any) -> Source:
    """Make a source by name, or return the one made before with the same arguments in this process."""
    return _make_source(name, split, json.dumps(options, sort_keys=True, default=str))


@lru_cache(maxsize=16)
def _make_source(name: str, split: str, options: str) -> Source:
    return SOURCES.make(name, split=split, **json.loads(options))
