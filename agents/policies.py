"""Trained policies in any loop: from an observation to an action, whatever library steps the environment."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from foveal_agents import AGENTS
from foveal_agents.base import Agent, make_agent
from foveal_agents.policy_files import Policy, read_policy
from foveal_encoders.base import Encoder
from foveal_env import IDS
from foveal_env.checkpoint import shipped
from foveal_env.data import Episode
from foveal_env.devices import check_device
from foveal_env.make import make_world
from foveal_env.trust import made_from
from foveal_env.world import Rules, World

DIGITS = "digits"  # perception of an id that names none


class Memory(NamedTuple):
    """What a policy remembers of B episodes under way: B = 1 for a single environment."""

    gazes: np.ndarray  # [B, 1 + t, G] float32, first look and then each gaze; NaN if it was not taken
    glimpses: np.ndarray  # [B] int64, glimpses taken since the first look


class LoadedPolicy:
    """A policy that acts on observations, as those of Stable-Baselines3 do.

    Args:
        agent: agent that acts.
        world: what it knows of the world.
        seed: seed of what it draws.

    Attributes:
        agent: that agent, with its `name`, `options`, `seed` and what its training has `spent`.
        rules: rules of an episode that it was trained with.
        observation_shape: (n, d) of an observation.
    """

    def __init__(self, agent: Agent, world: "ObservedWorld", *, seed: int = 0):
        self.agent, self.rules, self.observation_shape = agent, world.rules, world.observation_shape
        self._world, self._generator = world, torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def predict(
        self,
        observation: np.ndarray | Tensor,
        state: Memory | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Memory]:
        """Return the next action, and what the policy remembers; the latter is passed back with the next observation.

        Args:
            observation: [n, d] of one environment or [B, n, d] of a batch, float32; flat, [n d] or [B, n d], too.
            state: what the last call returned. None begins episodes.
            episode_start: [B] bool, rows whose episode begins with this observation.
            deterministic: whether the answer is the policy's best guess; otherwise it is drawn, as in training.

        Returns:
            Actions [A] or [B, A] float32 in [-1, 1], and the memory.

        Raises ValueError if the observation or the memory has another shape.
        """
        batch, is_single = self._batch(observation)
        memory = self._memory(state, episode_start, len(batch))
        gazes, glimpses = (torch.from_numpy(part).to(self._world.device) for part in memory)
        nothing = _NotSeen(self.agent.name)
        ended = torch.zeros(len(batch), dtype=torch.bool, device=self._world.device)
        episode = Episode(nothing, batch, nothing, gazes, glimpses, ended)  # pyright: ignore[reportArgumentType]
        world: Any = self._world
        action = self.agent.act(world, episode, generator=self._generator, greedy=deterministic)
        action = world.completed(action.float()).clamp(-1, 1).cpu().numpy()
        after = _with_gaze(memory, action[:, : self.rules.gaze_size])
        return (action[0] if is_single else action), after

    def save(self, path: str | os.PathLike) -> None:
        """Save what acting needs, weights in float16: a small file that `load_policy` reads and no training goes on."""
        self.agent.save(path, acts_only=True)

    def _batch(self, observation: np.ndarray | Tensor) -> tuple[Tensor, bool]:
        """Return observations [B, n, d] on the device, and whether there was one alone."""
        given = observation if isinstance(observation, Tensor) else torch.as_tensor(np.asarray(observation))
        shape, wanted = tuple(given.shape), tuple(self.observation_shape)
        is_single = shape in (wanted, (wanted[0] * wanted[1],))
        if not is_single and shape[1:] not in (wanted, (wanted[0] * wanted[1],)):
            raise ValueError(f"the policy takes observations of shape {wanted} or (B, {wanted[0]}, {wanted[1]}), "
                             f"got {shape}")  # fmt: skip
        return given.float().reshape(-1, *wanted).to(self._world.device), is_single

    def _memory(self, state: Memory | None, start: np.ndarray | None, batch: int) -> Memory:
        """Return the memory of B episodes, in which those that start are empty; what was given is not changed."""
        fresh = np.ones(batch, dtype=bool) if state is None else np.zeros(batch, dtype=bool)
        if start is not None:
            fresh |= np.asarray(start, dtype=bool).reshape(-1)
        room = 1 + self.rules.glimpses if state is None else state.gazes.shape[1]
        gazes = np.full((batch, room, self.rules.gaze_size), np.nan, dtype=np.float32)
        glimpses = np.zeros(batch, dtype=np.int64)
        if state is not None:
            if len(state.glimpses) != batch:
                raise ValueError(f"the state is of {len(state.glimpses)} episodes, the observation of {batch}")
            gazes[~fresh], glimpses[~fresh] = state.gazes[~fresh], state.glimpses[~fresh]
        if self.rules.first_look == "centre":
            gazes[fresh, 0] = 0
        return Memory(gazes, glimpses)


class ObservedWorld:
    """What an agent that acts on observations knows of a world; all else is an error that says so.

    Args:
        shape: (n, d) of an observation.
        rules: rules of an episode.
        perception: fingerprint of the perception.
        device: torch device of the policy.
        world: the world itself, if there is one.
    """

    def __init__(
        self, shape: tuple[int, int], rules: Rules, perception: str, *, device: str = "cpu", world: World | None = None
    ):
        check_device(device)
        self.observation_shape, self.rules, self.device = shape, rules, torch.device(device)
        encoder = world.perception.encoder if world else None
        self.perception = SimpleNamespace(fingerprint=perception, precision=torch.float32, encoder=encoder)
        self.source = world.source if world else SimpleNamespace(knows_target=True)
        self._world, self.map_side = world, world.map_side if world else 0

    def observe(self, episode: Episode) -> Tensor:
        """Return the observation [B, n, d], which stands for the state here."""
        return episode.state

    def info(self, episode: Episode) -> dict[str, Tensor]:
        """Return nothing: the task is not known."""
        return {}

    measure = info

    def scenes(self, index: Tensor) -> Any:
        """Refuse, as all that would need the scenes."""
        raise ValueError(
            "a policy that was loaded to act on observations knows no scenes: load_agent puts it in a world"
        )

    prefetch = start = look = measure = scenes

    def completed(self, action: Tensor) -> Tensor:
        """Return an action [B, A]; a gaze [B, 2] alone leaves the zoom as it is, and does not stop."""
        return World.completed(self, action)  # pyright: ignore[reportArgumentType]

    def target_map(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `World.target_map` does; ValueError if that needs more of the state than the observation."""
        encoder = self._world.perception.encoder if self._world else None
        if self._world is None or encoder is None or type(encoder).observe is not Encoder.observe:
            raise ValueError("the map of the head needs the encoder's state, and the observation is not all of it")
        logits, points = self._world.target_map(state.to(self._world.device))
        return logits.to(state.device), points.to(state.device)


class _NotSeen:
    """Stands for what an observation does not show."""

    def __init__(self, agent: str):
        self._agent = agent

    def __getattr__(self, name: str) -> Any:
        raise ValueError(
            f"the agent {self._agent!r} needs the scene itself ({name}), which an observation does not show; "
            "make_agent and evaluate of foveal_agents run it in a world"
        )


def load_policy(
    name: str | os.PathLike,
    env: Any = None,
    *,
    device: str = "cpu",
    seed: int = 0,
    trust: bool = False,
    algorithm: Any = None,
) -> Any:
    """Return a policy with `predict`, which maps observations to actions in any loop.

    Args:
        name: path of a saved policy; or a shipped one, by its name or by the id of its environment
            ("foveal_env/Search-v0"); or a rule that learns nothing, such as "spiral"; or the path of a .zip that
            Stable-Baselines3 saved.
        env: environment, batch or `World` that it will act in. It is checked that the policy belongs there. A rule
            needs it, because it depends on the number of glimpses. So does a policy that acts by the map of the
            perception's head, unless it ships with the package. Others do not.
        device: torch device of the policy.
        seed: seed of what it draws.
        trust: whether the file may run code: name an agent of a module that is not imported yet, or be a .zip, which
            is unpickled.
        algorithm: class of Stable-Baselines3 that saved a .zip, if its own header does not tell.

    Returns:
        A `LoadedPolicy`; of a .zip a `ZipPolicy`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: unknown name, damaged file, a policy of another perception or of other rules, a rule without `env`
            or one that needs more than observations, or a .zip without `trust`.
    """
    if Path(name).suffix == ".zip":
        from foveal_agents.sb3 import load_zip  # Stable-Baselines3 takes a second to import

        return ZipPolicy(load_zip(name, trust=trust, algorithm=algorithm, device=device))
    world = None if env is None else world_of(env)
    if str(name) in AGENTS or (":" in str(name) and not str(name).endswith(".safetensors")):
        return _rule(str(name), world, device=device, seed=seed)
    saved = read_policy(IDS[str(name)].get("perception", DIGITS) if str(name) in IDS else name, trust=trust)
    if world is None and saved.header.get("reads_map"):
        world = _shipped_world(saved, name)
    if world is not None:
        saved.check(world)
    shape = world.observation_shape if world else saved.header.get("observation_shape")
    if shape is None:
        raise ValueError(f"{saved.path} does not say which observations it takes: give env=, or save it anew")
    with made_from(saved.path):
        rules = world.rules if world else Rules(**{**saved.trained_rules, **saved.rules})
        n, d = map(int, shape)
    there: Any = ObservedWorld((n, d), rules, saved.header["perception"], device=device, world=world)
    return LoadedPolicy(saved.agent(there), there, seed=seed)


def world_of(env: Any) -> World:
    """Return the world of an environment, of a batch of them, or a world itself; TypeError if it has none."""
    found = env if isinstance(env, World) else getattr(getattr(env, "unwrapped", env), "world", None)
    if not isinstance(found, World):
        raise TypeError(f"env must be one of foveal_env's environments or a World, got {type(env).__name__}")
    return found


def _shipped_world(saved: Policy, name: str | os.PathLike) -> World:
    """Return a world with the perception of a shipped policy; ValueError for another one."""
    if shipped("foveal_agents.pretrained").get(saved.path.stem) != saved.path:
        raise ValueError(f"{saved.path} acts by the map of the perception's head: load_policy({str(name)!r}, env)")
    return make_world(perception=saved.path.stem, **{**saved.trained_rules, **saved.rules})


def _rule(name: str, world: World | None, *, device: str, seed: int) -> LoadedPolicy:
    """Return a policy of an agent that learns nothing."""
    if AGENTS.resolve(name).is_trainable:
        raise ValueError(f"{name!r} is an agent that learns: name the file of a policy that it has trained")
    if world is None:
        raise ValueError(f"the rule {name!r} depends on the episode: load_policy({name!r}, env)")
    there: Any = ObservedWorld(
        world.observation_shape, world.rules, world.perception.fingerprint, device=device, world=world
    )
    policy = LoadedPolicy(make_agent(name, there, seed=seed), there, seed=seed)
    policy.predict(np.zeros(world.observation_shape, np.float32))  # fails at once if observations are not enough
    return LoadedPolicy(policy.agent, there, seed=seed)


class ZipPolicy:
    """A policy of Stable-Baselines3, as its own .zip holds it.

    Args:
        model: what Stable-Baselines3 has loaded.

    Attributes:
        model: that algorithm.
    """

    def __init__(self, model: Any):
        self.model = model

    def predict(
        self,
        observation: np.ndarray | Tensor,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Return the next action [A] or [B, A], and the state of a recurrent policy; as `LoadedPolicy.predict`."""
        given = observation.cpu().numpy() if isinstance(observation, Tensor) else np.asarray(observation)
        wanted = self.model.observation_space.shape
        flat = (int(np.prod(wanted)),)
        if given.shape not in (wanted, flat) and given.shape[1:] not in (wanted, flat):
            raise ValueError(f"the policy takes observations of shape {wanted} or (B, ...), got {given.shape}")
        leading = () if given.shape in (wanted, flat) else given.shape[:1]
        return self.model.predict(given.reshape(*leading, *wanted), state, episode_start, deterministic)


def _with_gaze(memory: Memory, gaze: np.ndarray) -> Memory:
    """Return a memory with one more gaze [B, G] in each episode."""
    column = memory.glimpses + 1
    more = max(0, int(column.max()) + 1 - memory.gazes.shape[1])
    gazes = np.pad(memory.gazes, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
    gazes[np.arange(len(gaze)), column] = gaze
    return Memory(gazes, column)
