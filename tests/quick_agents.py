"""Agents that are quick to train, for the tests that train some."""

from foveal_agents.base import make_agent

QUICK = {
    "grpo": {"num_scenes": 8, "group_size": 4, "batch_size": 64, "width": 32, "ema_decay": 0.5},
    "ppo": {"num_envs": 16, "episodes": 2, "batch_size": 32},
    "a2c": {"num_envs": 8},
    "sac": {"num_envs": 4, "episodes": 1, "learning_starts": 10},
    "td3": {"num_envs": 4, "learning_starts": 10},
}


def quick(name, world, seed=0, **options):
    return make_agent(name, world, seed=seed, **{**QUICK.get(name, {}), **options})
