"""Stable-Baselines3: its view of the native batch, its algorithms as agents, its files. Nothing else imports it."""

from foveal_agents.sb3.algorithms import A2c, Ppo, Sac, StableBaselines, Td3
from foveal_agents.sb3.vec_env import Sb3VecEnv
from foveal_agents.sb3.zips import load_zip

__all__ = ["A2c", "Ppo", "Sac", "Sb3VecEnv", "StableBaselines", "Td3", "load_zip"]
