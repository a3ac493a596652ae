"""Gymnasium's wrappers: around the single environment, and around the native batch in the mode that they need."""

import gymnasium as gym
import numpy as np
from gymnasium import wrappers

import foveal_env

gym.register_envs(foveal_env)
env = gym.make("foveal_env/Classify-v0", glimpses=3)
env = wrappers.RecordEpisodeStatistics(wrappers.NormalizeObservation(wrappers.FlattenObservation(env)))
observation, info = env.reset(seed=0)
over = False
while not over:
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    over = terminated or truncated
print("single:", observation.shape, info["episode"])
assert info["episode"]["l"] == 3

# The vector wrappers of observations do not take the default mode, "SameStep".
envs = gym.make_vec("foveal_env/Classify-v0", num_envs=4, glimpses=3, autoreset_mode="NextStep")
envs = wrappers.vector.NormalizeObservation(wrappers.vector.FlattenObservation(envs))
envs = wrappers.vector.RecordEpisodeStatistics(wrappers.vector.ClipReward(envs, -1, 1))
observations, infos = envs.reset(seed=0)
for _ in range(3):
    observations, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
print("batch:", observations.shape, infos["episode"]["r"])
assert terminated.all()
assert np.abs(rewards).max() <= 1
