"""The contract of an agent, and what it asks of a world."""

import inspect
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, is_dataclass
from inspect import Parameter, Signature
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from foveal_agents import AGENTS
from foveal_env import checkpoint
from foveal_env.registry import options_of
from foveal_env.sources import SOURCES
from foveal_env.sources.base import Source


class AgentRules(Protocol):
    """What agents ask of the rules of an episode: see `foveal_env.world.Rules`."""

    @property
    def glimpses(self) -> int:
        """Steps of an episode, T."""
        ...

    @property
    def gaze_size(self) -> int:
        """Numbers of a gaze: 2 or more, or 1 in a world that is no image."""
        ...

    @property
    def action_size(self) -> int:
        """Numbers of an action, A."""
        ...

    @property
    def stop(self) -> bool:
        """Whether the last entry of an action ends the episode."""
        ...

    @property
    def of_policies(self) -> dict[str, Any]:
        """What a saved policy must find again, JSON."""
        ...


@runtime_checkable
class AgentWorld(Protocol):
    """What GRPO and the scripted agents ask of a world. `World` is one, `foveal_agents.foreign.ForeignWorld` another.

    `start`, `look` and `observe` are pure. An episode is a `Batch` with the fields of `foveal_env.data.Episode`: of its
    scenes agents read `index` and `box`, NaN if no target is known. Its gazes are [B, 1 + T, gaze_size] in [-1, 1], NaN
    if one was not taken. Of `perception` agents read `fingerprint`, `precision` and `task_name`, of `source`
    `knows_target`. The saliency agent reads the images, too. Agents of Stable-Baselines3 need a `World`.
    """

    device: torch.device
    perception: Any
    source: Any

    @property
    def rules(self) -> AgentRules:
        """Rules of an episode."""
        ...

    @property
    def observation_shape(self) -> tuple[int, int]:
        """Shape (N, D) of an observation."""
        ...

    @property
    def map_side(self) -> int:
        """Cells along each side of a map of the target; 0 if there is none."""
        ...

    def scenes(self, index: Tensor) -> Any:
        """Return scenes by index [B] int64; equal indices are equal scenes."""
        ...

    def prefetch(self, index: Tensor) -> None:
        """Prepare the scenes that `scenes` will be asked for next."""
        ...

    def start(self, scenes: Any) -> Any:
        """Begin an episode in each of B scenes."""
        ...

    def look(self, episode: Any, action: Tensor) -> tuple[Any, Tensor]:
        """Return the episodes after actions [B, A] or gazes [B, 2], and the rewards [B]."""
        ...

    def observe(self, episode: Any) -> Tensor:
        """Return what an agent sees, [B, N, D] float32."""
        ...

    def info(self, episode: Any) -> dict[str, Tensor]:
        """Return what else there is to tell, [B] each."""
        ...

    def measure(self, episode: Any) -> dict[str, Tensor]:
        """Return figures of B episodes, [B] each, NaN if one does not apply."""
        ...


@dataclass(frozen=True)
class Spent:
    """What the training of an agent has cost so far."""

    glimpses: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of all threads


class Agent:
    """Base of all agents.

    A subclass implements `act`. If it learns, it sets `is_trainable`, and implements `updates`, `state` and `restore`.

    Args:
        world: world that the agent is made for; an agent that learns trains on its scenes.
        seed: seed of everything random in its training.

    Attributes:
        is_trainable: whether the agent learns.
        is_stochastic: whether even its greedy gaze is drawn at random.
        can_resume: whether a saved agent can go on training.
        reads_map: whether it acts by the map of the perception's head, too, and not by the observation alone.
        acts_only: whether this agent was saved for acting alone, and cannot go on training.
        trained_on: where a loaded agent had learned, as its file says; None for a new one.
        options: flat options of its constructor, JSON; those not given have their defaults.
        spent: what its training has cost so far.
    """

    is_trainable = False
    is_stochastic = False
    can_resume = True
    reads_map = False
    acts_only = False
    trained_on: dict[str, Any] | None = None
    options: dict[str, Any]

    def __init_subclass__(cls, **keywords: Any):
        """Let `inspect.signature` show the constructor's parameters, and not those of `__new__`."""
        super().__init_subclass__(**keywords)
        cls.__signature__ = cls.signature()

    @classmethod
    def signature(cls) -> Signature:
        """Return the parameters of the constructor, from which the command line makes options."""
        return Signature(list(inspect.signature(cls.__init__).parameters.values())[1:])  # without self

    def __new__(cls, *arguments: Any, **options: Any):
        """Keep the options that the constructor is given."""
        agent = super().__new__(cls)
        agent.options = _flat_options(cls, options)
        return agent

    def __init__(self, world: AgentWorld, *, seed: int = 0):
        self.world: Any = world
        self.seed, self.spent = seed, Spent()

    @property
    def name(self) -> str:
        """Name in the registry of agents, or "module:Class"."""
        return AGENTS.name_of(type(self))

    def act(self, world: Any, episode: Any, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Choose the next action in each episode.

        Args:
            world: world to act in; it has the rules of the world that the agent was made for.
            episode: B episodes.
            generator: randomness of what is drawn.
            greedy: whether a learned policy answers its best guess, and draws nothing.

        Returns:
            [B, A] float32 on the world's device. A gaze [B, 2] will do in any world: it leaves the zoom as it is, and
            never stops.
        """
        raise NotImplementedError

    def updates(self, glimpses: int) -> Iterator[dict[str, float]]:
        """Learn until `glimpses` glimpses were taken in all; yield after each update what there is to log.

        Each dictionary has "glimpses", the number taken so far. `self.spent` has that number before the next update.
        """
        yield from ()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what was learned and what training needs to go on: tensors by name, and JSON for the header."""
        raise NotImplementedError

    def acting_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what `restore` needs for an agent that acts and never trains again; by default all of `state`."""
        return self.state()

    def restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        """Put back what `state` or `acting_state` returned; `self.spent` is put back already.

        Raises RuntimeError, as torch does, if the weights do not fit.
        """
        raise NotImplementedError

    def train(self, glimpses: int) -> Iterator[dict[str, float]]:
        """Learn until `glimpses` glimpses were taken in all; yield after each update what there is to log.

        Each dictionary has "glimpses", the number taken so far. To stop is to stop asking. A scripted agent yields
        nothing. `self.spent` counts the time inside the updates, and not what the caller does in between.

        Raises ValueError if the agent was saved for acting alone.
        """
        if self.acts_only and self.spent.glimpses < glimpses:
            raise ValueError(f"this policy of {self.name!r} was saved for acting alone: it cannot go on training")
        updates = self.updates(glimpses)
        while True:
            started, started_cpu = time.monotonic(), time.process_time()
            logs = next(updates, None)
            if logs is None:
                return
            self.spent = Spent(
                glimpses=int(logs["glimpses"]),
                seconds=self.spent.seconds + time.monotonic() - started,
                cpu_seconds=self.spent.cpu_seconds + time.process_time() - started_cpu,
            )
            yield logs

    def save(self, path: str | os.PathLike, *, acts_only: bool = False) -> None:
        """Save the policy, and what training needs to go on from here.

        Args:
            path: the file.
            acts_only: leave out what acting does not need, and round weights to float16: the file is far smaller.

        Raises TypeError if the agent does not learn.
        """
        if not self.is_trainable:
            raise TypeError(f"the agent {self.name!r} learns nothing: there is nothing to save")
        acts_only = acts_only or self.acts_only
        tensors, header = self.acting_state() if acts_only else self.state()
        if acts_only:
            tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
        record = {
            "agent": self.name,
            "options": self.options,
            "seed": self.seed,
            "spent": asdict(self.spent),
            "perception": self.world.perception.fingerprint,
            "rules": self.world.rules.of_policies,
            "trained_on": self.trained_on or self._here(),
            "observation_shape": list(self.world.observation_shape),
            "acts_only": acts_only,
            "reads_map": self.reads_map,
        }
        checkpoint.save(path, "policy", tensors, {**header, **record})

    def _here(self) -> dict[str, Any]:
        """Return where the agent learns, JSON: policies of different places are not averaged."""
        source, rules = self.world.source, asdict(self.world.rules)
        if not isinstance(source, Source):  # of a world that shows no images
            return {"rules": rules}
        place = {"canvas": source.canvas, "split": source.split, "images": getattr(source, "count", None)}
        return {"rules": rules, "source": SOURCES.name_of(type(source)), **place}


def make_agent(name: str, world: AgentWorld, *, seed: int = 0, **options: Any) -> Agent:
    """Make an agent by its name in `AGENTS`, or by "module:Class", from flat options.

    Raises ValueError if the name is unknown or an option is out of range, and TypeError if an option is unknown, or
    `world` is none: an environment has one.
    """
    if not isinstance(world, AgentWorld):
        raise TypeError(
            f"an agent is made for a world, got {type(world).__name__}: pass env.unwrapped.world of a foveal "
            "environment, or foveal_agents.foreign.ForeignWorld for another one"
        )
    return AGENTS.make(name, world=world, seed=seed, **options)


def _flat_options(kind: type[Agent], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a constructor, defaults included, with the fields of its groups in place of them."""
    known = options_of(kind)
    flat = {name: option.default for name, option in known.items() if option.default is not Parameter.empty}
    for name, value in options.items():
        flat |= vars(value) if is_dataclass(value) else {name: value}
    return {name: value for name, value in flat.items() if name not in ("world", "seed")}
