"""Minari: a data set of the oracle's episodes, recorded and read back."""

import gymnasium as gym
import minari
import numpy as np
import torch

import foveal_env
from foveal_agents.base import make_agent

gym.register_envs(foveal_env)
NAME, EPISODES = "foveal/classify-oracle-v0", 3
collector = minari.DataCollector(gym.make("foveal_env/Classify-v0"), record_infos=True)
world = collector.unwrapped.world
oracle, generator = make_agent("oracle", world), torch.Generator().manual_seed(0)
for seed in range(EPISODES):
    _, info = collector.reset(seed=seed)
    episode, over = world.start(world.scenes(torch.tensor([info["scene"]]))), False
    while not over:
        action = oracle.act(world, episode, generator=generator, greedy=True).clamp(-1, 1)
        *_, terminated, truncated, info = collector.step(action[0].numpy())
        over, (episode, _) = terminated or truncated, world.look(episode, action)
if NAME in minari.list_local_datasets():
    minari.delete_dataset(NAME)
collector.create_dataset(NAME, algorithm_name="oracle", author="you", description="Gazes near the target.")

dataset = minari.load_dataset(NAME)
episodes = list(dataset.iterate_episodes())
print(dataset.total_steps, "steps; success by episode:", [episode.infos["is_success"][-1] for episode in episodes])
assert len(episodes) == EPISODES
assert episodes[0].observations.shape[0] == 5
assert np.isfinite(episodes[0].rewards).all()
assert dataset.recover_environment().spec.id == "foveal_env/Classify-v0"
minari.delete_dataset(NAME)
