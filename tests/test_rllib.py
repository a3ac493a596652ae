"""RLlib takes any batch for one of the mode "NextStep": what it does, done without it, and by itself if it is there."""

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import foveal_env
from foveal_env.env import FovealEnv, FovealVectorEnv

ID = "foveal_env/Classify-v0"


def lengths_as_rllib_counts(batch, steps=20):
    """Return the numbers of steps of the episodes that a caller collects who assumes "NextStep"."""
    batch.reset(seed=0)
    lengths, is_reset, finished = [0] * batch.num_envs, [True] * batch.num_envs, Counter()
    for step in range(steps):
        actions = np.random.default_rng(step).uniform(-1, 1, batch.action_space.shape).astype(np.float32)
        *_, terminated, truncated, _ = batch.step(actions)
        for row in range(batch.num_envs):
            if not is_reset[row]:
                is_reset[row] = True  # what came is the first observation of a new episode
                continue
            lengths[row] += 1
            if terminated[row] or truncated[row]:
                finished[lengths[row]] += 1
                lengths[row], is_reset[row] = 0, False
    return finished


def test_a_batch_made_for_rllib_gives_whole_episodes(small_perception):
    config = {"id": ID, "perception": small_perception, "glimpses": 3}
    batch = foveal_env.rllib_env({**config, "num_envs": 4})
    assert isinstance(batch, FovealVectorEnv)
    assert batch.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    assert set(lengths_as_rllib_counts(batch)) == {3}
    singles = SyncVectorEnv([lambda: foveal_env.rllib_env(config)] * 4)
    assert set(lengths_as_rllib_counts(singles)) == {3}
    assert batch.observation_space == singles.observation_space
    wrong = gym.make_vec(ID, num_envs=4, autoreset_mode="SameStep", perception=small_perception, glimpses=3)
    assert set(lengths_as_rllib_counts(wrong)) != {3}  # why it matters


def test_an_environment_made_for_rllib_is_flat_and_takes_options():
    assert foveal_env.rllib_env({}).observation_space.shape == (768,)
    env = foveal_env.rllib_env({"id": "foveal_env/Search-v0", "glimpses": 3, "flat": False})
    assert isinstance(env.unwrapped, FovealEnv)
    assert (env.unwrapped.world.rules.glimpses, len(env.observation_space.shape)) == (3, 2)
    with pytest.raises(ValueError, match="one of autoreset_mode 'NextStep', got 'SameStep'"):
        foveal_env.rllib_env({"autoreset_mode": "SameStep", "num_envs": 2})


def test_beside_rllib_a_batch_must_say_its_mode(small_perception, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.rllib", ModuleType("ray.rllib"))
    with pytest.raises(ValueError, match=r"say which mode is meant, or let foveal_env\.rllib_env"):
        gym.make_vec(ID, num_envs=2, perception=small_perception)
    for mode in AutoresetMode:
        batch = gym.make_vec(ID, num_envs=2, perception=small_perception, autoreset_mode=mode.value)
        assert batch.metadata["autoreset_mode"] == mode
    gym.make(ID, perception=small_perception).reset(seed=0)
    gym.make_vec(ID, num_envs=2, perception=small_perception, vectorization_mode="sync").reset(seed=0)
    monkeypatch.undo()
    batch = gym.make_vec(ID, num_envs=2, perception=small_perception)
    assert batch.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP


REAL = """
import sys
import foveal_env
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.tune.registry import register_env

register_env("foveal", foveal_env.rllib_env)
config = PPOConfig().environment("foveal", env_config={"glimpses": 3})
config = config.env_runners(gym_env_vectorize_mode=sys.argv[1], num_envs_per_env_runner=4, num_env_runners=0)
episodes = SingleAgentEnvRunner(config=config).sample(num_episodes=20, random_actions=True)
assert {len(episode) for episode in episodes} == {3}, [len(episode) for episode in episodes]
"""


@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="needs ray: pip install 'foveal-env[rllib]'")
@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_rllib_itself_samples_whole_episodes(mode):
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    call = [sys.executable, "-W", "ignore", "-c", REAL, mode]
    run = subprocess.run(call, capture_output=True, text=True, timeout=300, env=environ)
    assert run.returncode == 0, run.stderr[-2000:]
