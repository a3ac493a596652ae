"""Environments as RLlib makes them. It takes any batch for one of the mode "NextStep", and does not look."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv


def rllib_env(config: Mapping[str, Any]) -> gym.Env | VectorEnv:
    """Make an environment for RLlib, by its `env_config`.

        ray.tune.registry.register_env("foveal", foveal_env.rllib_env)
        PPOConfig().environment("foveal", env_config={"id": "foveal_env/Search-v0", "glimpses": 6})

    With ``env_runners(gym_env_vectorize_mode="vector_entry_point")`` RLlib asks for a native batch, and gets one of the
    mode "NextStep". The observation is flat, as RLlib's own nets need it.

    Args:
        config: "id" of the environment, by default "foveal_env/Classify-v0"; and options of `gym.make`.

    Raises ValueError if another autoreset mode is asked for.
    """
    options = {"id": "foveal_env/Classify-v0", "flat": True, "autoreset_mode": "NextStep", **config}
    name, mode = options.pop("id"), options.pop("autoreset_mode")
    if AutoresetMode(mode) != AutoresetMode.NEXT_STEP:
        raise ValueError(f"RLlib takes any batch for one of autoreset_mode 'NextStep', got {mode!r}")
    if "num_envs" not in options:
        return gym.make(name, **options)
    return gym.make_vec(name, vectorization_mode="vector_entry_point", autoreset_mode=mode, **options)
