"""Stable-Baselines3: its view of the native batch, and any of its algorithms for continuous actions as an agent."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import stable_baselines3
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecMonitor
from torch import Tensor

from foveal_agents.base import Agent
from foveal_agents.rollout import gaze_statistics
from foveal_env import checkpoint
from foveal_env.data import Episode
from foveal_env.env import FovealVectorEnv
from foveal_env.world import World

ALGORITHMS = ("A2C", "DDPG", "PPO", "SAC", "TD3")


class Sb3VecEnv(VecEnv):
    """Stable-Baselines3's view of a `FovealVectorEnv`, which it refuses as it is.

    ``PPO("MlpPolicy", Sb3VecEnv(gym.make_vec("foveal_env/Classify-v0", num_envs=64)))``

    Args:
        batch: the native batch, with autoreset in the same step.
    """

    def __init__(self, batch: FovealVectorEnv):
        if batch.autoreset_mode != AutoresetMode.SAME_STEP:
            raise ValueError(f"Stable-Baselines3 needs autoreset_mode 'SameStep', got {batch.autoreset_mode.value!r}")
        self.batch, self.render_mode = batch, batch.render_mode
        super().__init__(batch.num_envs, batch.single_observation_space, batch.single_action_space)

    def reset(self) -> np.ndarray:
        """Begin new episodes; return the observations [num_envs, N, D]."""
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        if any(self._options):
            raise ValueError("options of a reset are not passed through Stable-Baselines3; reset the batch itself")
        observations, infos = self.batch.reset(seed=seeds)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = self._rows(infos)
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions [num_envs, 2]."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step; where an episode ended, the info holds "terminal_observation", the observation is the next one's."""
        observations, rewards, ended, _, infos = self.batch.step(self._actions)
        rows = self._rows(infos)
        for row in np.flatnonzero(ended):
            final = infos["final_info"]
            told = [key for key in final if not key.startswith("_") and final[f"_{key}"][row]]
            rows[row] = {key: final[key][row].tolist() for key in told}
            rows[row]["terminal_observation"] = infos["final_obs"][row]
            rows[row]["TimeLimit.truncated"] = False
        return observations, rewards.astype(np.float32), ended, rows

    def _rows(self, infos: dict[str, Any]) -> list[dict[str, Any]]:
        keys = [key for key in infos if not key.startswith(("_", "final"))]
        columns = [infos[key].tolist() for key in keys]
        rows = [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]
        for key in keys:
            for row in np.flatnonzero(~infos[f"_{key}"]):
                del rows[row][key]
        return rows

    def close(self) -> None:
        """Close the batch."""
        self.batch.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of each row."""
        return self.batch.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the batch, once for each row asked for."""
        return [getattr(self.batch, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: the rows are one batch, and have no attributes of their own."""
        raise TypeError(f"the rows of a native batch share all attributes; cannot set {attr_name!r}")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refuse: the rows are one batch, and have no methods of their own."""
        raise TypeError(f"the rows of a native batch have no methods of their own; cannot call {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Return False for each row: a native batch takes no wrappers of single environments."""
        return [False] * len(list(self._get_indices(indices)))


class StableBaselines(Agent):
    """Any algorithm of Stable-Baselines3 for continuous actions.

    Training proceeds in chunks of whole episodes. Each chunk begins with a seed of its own, so that an on-policy
    algorithm stopped between two of them goes on as if it had not been.

    Args:
        world: what it trains on.
        seed: of weights, scenes and samples.
        algorithm: "A2C", "DDPG", "PPO", "SAC" or "TD3".
        num_envs: episodes that run at once.
        episodes: episodes of each of them in one chunk; for A2C and PPO one chunk is one rollout.
        options: keyword arguments of the algorithm's constructor, beside policy, env, n_steps, seed and device.
    """

    is_trainable = True

    def __init__(
        self,
        world: World,
        *,
        seed: int = 0,
        algorithm: str = "SAC",
        num_envs: int = 64,
        episodes: int = 1,
        options: dict[str, Any] | None = None,
    ):
        super().__init__(world, seed=seed)
        if algorithm not in ALGORITHMS:
            raise ValueError(f"unknown algorithm {algorithm!r}; known: {', '.join(ALGORITHMS)}")
        kind = getattr(stable_baselines3, algorithm)
        self.algorithm, self.episodes = algorithm, episodes
        self.on_policy = issubclass(kind, OnPolicyAlgorithm)
        self.chunk = num_envs * world.rules.glimpses * episodes  # glimpses
        steps = {"n_steps": world.rules.glimpses * episodes} if self.on_policy else {}
        env = VecMonitor(Sb3VecEnv(FovealVectorEnv(num_envs, world=world)))
        with _global_seed(seed):
            steps["stats_window_size"] = num_envs * episodes
            self.model = kind("MlpPolicy", env, seed=seed, device=world.device, **steps, **(options or {}))

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return actions [B, A]."""
        observations = world.observe(episode).cpu().numpy()
        with _global_seed(int(torch.randint(2**31, (), generator=generator))) if not greedy else nullcontext():
            action, _ = self.model.predict(observations, deterministic=greedy)
        return torch.from_numpy(action).to(world.device)

    def updates(self, glimpses: int) -> Iterator[dict[str, float]]:
        """Learn until `glimpses` glimpses were taken in all, in whole chunks; yield what there is to log."""
        while self.model.num_timesteps < glimpses:
            if not self.can_resume:
                raise ValueError(f"{self.algorithm} cannot go on training: its replay buffer was not saved")
            chunk = self.model.num_timesteps // self.chunk
            seed = (self.seed * 1_000_003 + chunk * 4_099) % 2**31
            with _global_seed(seed):
                self.model.env.seed(seed)
                self.model._last_obs = self.model.env.reset()
                self.model._last_episode_starts = np.ones(self.model.n_envs, dtype=bool)
                self.model.learn(self.chunk, reset_num_timesteps=False)
            yield {"glimpses": self.model.num_timesteps, **self._logs()}

    def _logs(self) -> dict[str, float]:
        finished = list(self.model.ep_info_buffer)
        successes = list(self.model.ep_success_buffer)
        values = self.model.logger.name_to_value
        logs = {name.partition("/")[2]: float(value) for name, value in values.items() if name.startswith("train/")}
        if finished:
            logs["reward"] = float(np.mean([episode["r"] for episode in finished]))
        if successes:
            logs["accuracy"] = float(np.mean(successes))
        if self.on_policy:
            actions = torch.from_numpy(self.model.rollout_buffer.actions)
            logs |= gaze_statistics(actions.reshape(-1, self.world.rules.glimpses, self.world.rules.action_size))
        return logs

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the policy's weights, and what an on-policy algorithm needs to go on training."""
        tensors = checkpoint.prefixed("policy", self.model.policy.state_dict())
        if self.on_policy:
            tensors |= checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.model.policy.optimizer))
        return tensors, {}

    def restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        """Put back what `state` returned; an off-policy algorithm can then act, but not go on training."""
        self.model.policy.load_state_dict(checkpoint.below("policy", tensors))
        if self.on_policy:
            checkpoint.restore_optimizer(self.model.policy.optimizer, checkpoint.below("optimizer", tensors))
        self.can_resume = self.on_policy
        self.model.num_timesteps = self.spent.glimpses


class Ppo(StableBaselines):
    """PPO of Stable-Baselines3.

    Args:
        world: what it trains on.
        seed: of weights, scenes and samples.
        num_envs: episodes that run at once; with `episodes` 1, the episodes of one rollout.
        episodes: episodes of each of them in one rollout.
        learning_rate: of Adam.
        n_epochs: passes over each rollout.
        batch_size: glimpses of one gradient step.
        gamma: discount of later rewards.
        gae_lambda: of the generalised advantages.
        ent_coef: weight of the entropy.
        log_std_init: logarithm of the policy's standard deviation when training begins.
        options: more keyword arguments of ``stable_baselines3.PPO``.
    """

    def __init__(
        self,
        world: World,
        *,
        seed: int = 0,
        num_envs: int = 512,
        episodes: int = 1,
        learning_rate: float = 3e-4,
        n_epochs: int = 4,
        batch_size: int = 1024,
        gamma: float = 0.3,
        gae_lambda: float = 0.95,
        ent_coef: float = 0.0,
        log_std_init: float = -1.0,
        options: dict[str, Any] | None = None,
    ):
        chosen = {
            "learning_rate": learning_rate,
            "n_epochs": n_epochs,
            "batch_size": min(batch_size, num_envs * episodes * world.rules.glimpses),
            "gamma": gamma,
            "gae_lambda": gae_lambda,
            "ent_coef": ent_coef,
            "policy_kwargs": {"log_std_init": log_std_init, "net_arch": [256, 256]},
        }
        super().__init__(
            world,
            seed=seed,
            algorithm="PPO",
            num_envs=num_envs,
            episodes=episodes,
            options={**chosen, **(options or {})},
        )


class A2c(StableBaselines):
    """A2C of Stable-Baselines3.

    Args:
        world: what it trains on.
        seed: of weights, scenes and samples.
        num_envs: episodes that run at once; with `episodes` 1, the episodes of one rollout.
        episodes: episodes of each of them in one rollout.
        learning_rate: of RMSprop.
        gamma: discount of later rewards.
        gae_lambda: of the generalised advantages.
        ent_coef: weight of the entropy.
        log_std_init: logarithm of the policy's standard deviation when training begins.
        options: more keyword arguments of ``stable_baselines3.A2C``.
    """

    def __init__(
        self,
        world: World,
        *,
        seed: int = 0,
        num_envs: int = 256,
        episodes: int = 1,
        learning_rate: float = 7e-4,
        gamma: float = 0.3,
        gae_lambda: float = 0.95,
        ent_coef: float = 0.0,
        log_std_init: float = -1.0,
        options: dict[str, Any] | None = None,
    ):
        chosen = {
            "learning_rate": learning_rate,
            "gamma": gamma,
            "gae_lambda": gae_lambda,
            "ent_coef": ent_coef,
            "policy_kwargs": {"log_std_init": log_std_init, "net_arch": [256, 256]},
        }
        super().__init__(
            world,
            seed=seed,
            algorithm="A2C",
            num_envs=num_envs,
            episodes=episodes,
            options={**chosen, **(options or {})},
        )


class Sac(StableBaselines):
    """SAC of Stable-Baselines3: off-policy, with a replay buffer.

    Args:
        world: what it trains on.
        seed: of weights, scenes and samples.
        num_envs: episodes that run at once.
        learning_rate: of Adam.
        buffer_size: glimpses that are kept.
        batch_size: glimpses of one gradient step.
        gradient_steps: gradient steps after each step of all environments.
        gamma: discount of later rewards.
        tau: share of the new weights in the target's average.
        learning_starts: glimpses before the first gradient step, taken at random.
        options: more keyword arguments of ``stable_baselines3.SAC``.
    """

    def __init__(
        self,
        world: World,
        *,
        seed: int = 0,
        num_envs: int = 64,
        learning_rate: float = 3e-4,
        buffer_size: int = 100_000,
        batch_size: int = 256,
        gradient_steps: int = 1,
        gamma: float = 0.3,
        tau: float = 0.005,
        learning_starts: int = 5_000,
        options: dict[str, Any] | None = None,
    ):
        chosen = {
            "learning_rate": learning_rate,
            "buffer_size": buffer_size,
            "batch_size": batch_size,
            "gradient_steps": gradient_steps,
            "gamma": gamma,
            "tau": tau,
            "learning_starts": learning_starts,
        }
        super().__init__(
            world, seed=seed, algorithm="SAC", num_envs=num_envs, episodes=4, options={**chosen, **(options or {})}
        )


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed the global generators, which Stable-Baselines3 draws from, and leave them afterwards as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            stable_baselines3.common.utils.set_random_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
