"""Algorithms of Stable-Baselines3 for continuous actions, as agents."""

import inspect
import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from inspect import Parameter, Signature
from typing import Any, ClassVar

import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecMonitor
from torch import Tensor

from foveal_agents.base import Agent
from foveal_agents.map_policy import make_policy, told_by_head
from foveal_agents.mixture import Mixture
from foveal_agents.rollout import gaze_statistics
from foveal_agents.sb3.policies import MapActorCritic
from foveal_agents.sb3.vec_env import Sb3VecEnv
from foveal_env import checkpoint
from foveal_env.data import Episode
from foveal_env.env import FovealVectorEnv
from foveal_env.world import World

OWN = ("num_envs", "episodes", "shared")  # options of the agent itself
MADE_HERE = {  # parameters of algorithms and policies that are no options: the agent knows them
    *("policy", "env", "seed", "device", "stats_window_size", "policy_kwargs", "_init_setup_model"),
    *("observation_space", "action_space", "lr_schedule"),
}


class StableBaselines(Agent):
    """Base of agents that learn with an algorithm of Stable-Baselines3 for continuous actions.

    Training proceeds in chunks of whole episodes. Each chunk begins with a seed of its own: an on-policy algorithm that
    was stopped between two of them goes on as if it had not been.

    A subclass names the algorithm, and the options whose defaults differ from those of its base class, or are not
    Stable-Baselines3's. Two lines do for any algorithm of a package built on it:
    ``class Tqc(StableBaselines): algorithm = sb3_contrib.TQC``.

    Args:
        world: world that it trains on.
        seed: seed of weights, scenes and samples.
        options: options that `defaults` names, and any other keyword of the algorithm's constructor or of its MLP
            policy. "num_envs" is the number of episodes that run at once. "episodes" is the number of episodes of each
            of them in one chunk, which is one rollout of an on-policy algorithm. With "shared" an on-policy algorithm
            has the net of GRPO that shares its weights over places (`foveal_agents.map_policy`), in place of an MLP.

    Attributes:
        algorithm: class of Stable-Baselines3.
        defaults: options by name, those of the base class included. The command line has these.

    Raises TypeError if an option is unknown; the error names those that are known.
    """

    is_trainable = True
    algorithm: ClassVar[Any]
    defaults: ClassVar[dict[str, Any]] = {"num_envs": 64, "episodes": 1}

    def __init_subclass__(cls, **keywords: Any):
        """Complete the defaults by those of the base class."""
        bases = [vars(base).get("defaults", {}) for base in reversed(cls.__mro__)]
        cls.defaults = {name: value for defaults in bases for name, value in defaults.items()}
        super().__init_subclass__(**keywords)

    def __init__(self, world: World, *, seed: int = 0, **options: Any):
        super().__init__(world, seed=seed)
        options = {**self.defaults, **options}
        of_algorithm, of_policy = self.known_options()
        unknown = [name for name in options if name not in {*OWN, *of_algorithm, *of_policy}]
        if unknown:
            known = ", ".join(dict.fromkeys([*self.defaults, *of_algorithm, *of_policy]))
            raise TypeError(f"no option {', '.join(map(repr, unknown))}; known: {known}")
        num_envs, self.episodes = options["num_envs"], options["episodes"]
        self.on_policy = self.can_resume = issubclass(self.algorithm, OnPolicyAlgorithm)
        self.chunk = num_envs * world.rules.glimpses * self.episodes  # glimpses
        given = {name: options[name] for name in of_algorithm if name in options}
        if self.on_policy:
            given["n_steps"] = world.rules.glimpses * self.episodes
            if "batch_size" in given:
                given["batch_size"] = min(given["batch_size"], self.chunk)
        if "stats_window_size" in inspect.signature(self.algorithm).parameters:
            given["stats_window_size"] = num_envs * self.episodes
        given["policy_kwargs"] = {name: options[name] for name in of_policy if name in options}
        policy: Any = "MlpPolicy"
        if options.get("shared"):
            lost = [name for name in given["policy_kwargs"] if options[name] != self.defaults.get(name)]
            if lost:
                raise TypeError(f"shared has a net of its own: {', '.join(map(repr, lost))} would not count")
            policy, given["policy_kwargs"], self.reads_map = MapActorCritic, self._shared_net(world), True
        env = VecMonitor(Sb3VecEnv(FovealVectorEnv(num_envs, world=world)))
        with _global_seed(seed):
            self.model = self.algorithm(policy, env, seed=seed, device=world.device, **given)

    def _shared_net(self, world: World) -> dict[str, Any]:
        """Return the keywords of the policy that shares its weights; ValueError if it does not fit."""
        if not self.on_policy or world.rules.stop or not world.map_side:
            raise ValueError("shared needs an on-policy algorithm, no stop, and a head with a map, as that of a search")
        return {
            "make_net": lambda: make_policy(world, Mixture(shared=True)),
            "told_by": lambda observation: told_by_head(world, observation),
        }

    @classmethod
    def known_options(cls) -> tuple[list[str], list[str]]:
        """Return the names of the options that the algorithm takes, and of those that only its MLP policy takes."""
        made_here = {*MADE_HERE, "n_steps"} if issubclass(cls.algorithm, OnPolicyAlgorithm) else MADE_HERE
        of_algorithm = [name for name in inspect.signature(cls.algorithm).parameters if name not in made_here]
        policy = inspect.signature(cls.algorithm.policy_aliases["MlpPolicy"]).parameters
        return of_algorithm, [name for name in policy if name not in {*made_here, *of_algorithm}]

    @classmethod
    def signature(cls) -> Signature:
        """Return the parameters of the constructor, with the options of `defaults` among them."""
        *own, others = super().signature().parameters.values()
        if others.kind != Parameter.VAR_KEYWORD:  # a subclass has a constructor of its own
            return Signature([*own, others])
        shown = []
        for name, value in cls.defaults.items():
            kind = list[int] if isinstance(value, list) else type(value)
            shown.append(Parameter(name, Parameter.KEYWORD_ONLY, default=value, annotation=kind))
        return Signature([*own, *shown, others])

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return actions [B, A]."""
        observations = world.observe(episode).cpu().numpy()
        with _global_seed(int(torch.randint(2**31, (), generator=generator))) if not greedy else nullcontext():
            action, _ = self.model.predict(observations, deterministic=greedy)
        return torch.from_numpy(action).to(world.device)

    def updates(self, glimpses: int) -> Iterator[dict[str, float]]:
        """Learn until `glimpses` glimpses were taken in all, in whole chunks."""
        while self.model.num_timesteps < glimpses:
            if not self.on_policy and self.spent.glimpses and not self.model.replay_buffer.size():
                raise ValueError(f"{self.name} cannot go on training: its replay buffer was not saved")
            chunk = self.model.num_timesteps // self.chunk
            seed = (self.seed * 1_000_003 + chunk * 4_099) % 2**31
            with _global_seed(seed):
                self.model.env.seed(seed)
                self.model._last_obs = self.model.env.reset()  # `learn` begins where it ended, unless told
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
        return tensors, {"updates": self.model._n_updates}  # that it logs

    def acting_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the policy's weights."""
        return checkpoint.prefixed("policy", self.model.policy.state_dict()), {}

    def restore(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        """Put back what `state` or `acting_state` returned; off-policy algorithms can then act, but not go on."""
        self.model.policy.load_state_dict(checkpoint.below("policy", tensors))
        if self.on_policy:
            checkpoint.restore_optimizer(self.model.policy.optimizer, checkpoint.below("optimizer", tensors))
        self.model.num_timesteps, self.model._n_updates = self.spent.glimpses, header.get("updates", 0)


class Ppo(StableBaselines):
    """PPO of Stable-Baselines3.

    Args:
        world: world that it trains on.
        seed: seed of weights, scenes and samples.
        num_envs: episodes that run at once.
        episodes: episodes of each of them in one rollout.
        learning_rate: learning rate of Adam.
        n_epochs: passes over each rollout.
        batch_size: glimpses of one gradient step, at most those of a rollout.
        gamma: discount of later rewards.
        gae_lambda: lambda of the generalised advantages.
        ent_coef: weight of the entropy.
        log_std_init: logarithm of the policy's standard deviation when training begins.
        net_arch: units of each hidden layer, of policy and value alike.
        shared: share weights over places, as GRPO does in a search, in place of an MLP.
        options: any other keyword of `stable_baselines3.PPO` or of its MLP policy.
    """

    algorithm = stable_baselines3.PPO
    defaults: ClassVar[dict[str, Any]] = {
        "num_envs": 512,
        "learning_rate": 3e-4,
        "n_epochs": 4,
        "batch_size": 1024,
        "gamma": 0.3,
        "gae_lambda": 0.95,
        "ent_coef": 0.0,
        "log_std_init": -1.0,
        "net_arch": [256, 256],
        "shared": False,
    }


class A2c(StableBaselines):
    """A2C of Stable-Baselines3.

    Args:
        world: world that it trains on.
        seed: seed of weights, scenes and samples.
        num_envs: episodes that run at once.
        episodes: episodes of each of them in one rollout.
        learning_rate: learning rate of RMSprop.
        gamma: discount of later rewards.
        gae_lambda: lambda of the generalised advantages.
        ent_coef: weight of the entropy.
        log_std_init: logarithm of the policy's standard deviation when training begins.
        net_arch: units of each hidden layer, of policy and value alike.
        shared: share weights over places, as GRPO does in a search, in place of an MLP.
        options: any other keyword of `stable_baselines3.A2C` or of its MLP policy.
    """

    algorithm = stable_baselines3.A2C
    defaults: ClassVar[dict[str, Any]] = {
        "num_envs": 256,
        "learning_rate": 7e-4,
        "gamma": 0.3,
        "gae_lambda": 0.95,
        "ent_coef": 0.0,
        "log_std_init": -1.0,
        "net_arch": [256, 256],
        "shared": False,
    }


class Sac(StableBaselines):
    """SAC of Stable-Baselines3: off-policy, with a replay buffer.

    Args:
        world: world that it trains on.
        seed: seed of weights, scenes and samples.
        num_envs: episodes that run at once.
        episodes: episodes of each of them between two logs.
        learning_rate: learning rate of Adam.
        buffer_size: glimpses that are kept.
        batch_size: glimpses of one gradient step.
        gradient_steps: gradient steps after each step of all environments.
        gamma: discount of later rewards.
        tau: share of the new weights in the target's average.
        learning_starts: glimpses before the first gradient step, taken at random.
        options: any other keyword of `stable_baselines3.SAC` or of its MLP policy.
    """

    algorithm = stable_baselines3.SAC
    defaults: ClassVar[dict[str, Any]] = {
        "episodes": 4,
        "learning_rate": 3e-4,
        "buffer_size": 100_000,
        "batch_size": 256,
        "gradient_steps": 1,
        "gamma": 0.3,
        "tau": 0.005,
        "learning_starts": 5_000,
    }


class Td3(StableBaselines):
    """TD3 of Stable-Baselines3: off-policy, with a replay buffer; its options have Stable-Baselines3's own defaults.

    Args:
        world: world that it trains on.
        seed: seed of weights, scenes and samples.
        num_envs: episodes that run at once.
        episodes: episodes of each of them between two logs.
        options: any other keyword of `stable_baselines3.TD3` or of its MLP policy.
    """

    algorithm = stable_baselines3.TD3


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed the global generators, from which Stable-Baselines3 draws; they are left as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            set_random_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
