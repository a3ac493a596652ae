"""Agents that stop, groups of one scene, and what the adaptor of Stable-Baselines3 tells."""

import gymnasium as gym
import numpy as np
import pytest

from foveal_agents.base import evaluate, make_agent
from foveal_agents.sb3 import Sb3VecEnv
from foveal_env.make import make_world
from foveal_env.world import World


def test_a_policy_learns_to_stop_when_looking_no_longer_pays(toy_world):
    """In the toy world one look at the target tells everything: any further one only costs."""
    world = World(toy_world.source, toy_world.perception, glimpses=4, reward="gain", stop=True, price=0.02)
    options = {"scenes": 32, "group": 8, "minibatch": 512, "width": 64, "learning_rate": 3e-3, "discount": 1.0}
    agent = make_agent("grpo", world, seed=0, averaging=0.9, last_deviation=0.05, **options)
    before = evaluate(world, agent, scenes=200)
    list(agent.train(200_000))
    after = evaluate(world, agent, scenes=200)
    assert before.glimpses.float().mean() == 4
    assert 0.5 <= after.glimpses.float().mean() < 1.5  # none where the target is in the centre
    assert after.mean_loss[-1] < 0.05


def test_a_group_shares_scene_and_prompt(monkeypatch):
    world = make_world(perception="search", canvas=100, glimpses=2)
    agent = make_agent("grpo", world, scenes=3, group=4, width=8)
    seen, look = [], World.look
    monkeypatch.setattr(
        World, "look", lambda self, episode, action: seen.append(episode) or look(self, episode, action)
    )
    next(agent.train(1))
    for values in (seen[0].scenes.prompt, seen[0].scenes.index[:, None]):
        groups = values.unflatten(0, (3, 4))
        assert (groups == groups[:, :1]).all()
    assert len(set(seen[0].scenes.index.tolist())) == 3


@pytest.mark.parametrize(
    "options", [{}, {"id": "Search-v0", "canvas": 60}, {"id": "Questions-v0"}, {"stop": True}, {"zoom": True}]
)
def test_the_native_batch_and_stable_baselines_tell_what_singles_tell(options):
    id = f"foveal_env/{options.pop('id', 'Classify-v0')}"
    options = {"glimpses": 2, **options}
    native = gym.make_vec(id, num_envs=4, **options)
    same = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    sync = gym.make_vec(id, num_envs=4, vectorization_mode="sync", vector_kwargs=same, **options)
    adapted = Sb3VecEnv(gym.make_vec(id, num_envs=4, **options))
    adapted.seed(0)
    observations, told = native.reset(seed=0)
    expected, single = sync.reset(seed=0)
    assert np.array_equal(adapted.reset(), observations)
    assert np.allclose(observations, expected, atol=1e-5)
    for step in range(3):
        assert set(told) == set(single)
        for key in told:
            if key.startswith("_") and not key.startswith("_final"):
                assert told[key].tolist() == single[key].tolist(), key
        action = np.random.default_rng(step).uniform(-1, 1, native.action_space.shape).astype(np.float32)
        observations, _, ended, _, told = native.step(action)
        *_, single = sync.step(action)
        rows = adapted.step(action)[3]
        final = told.get("final_info", {})
        for row in range(4):
            source = final if ended[row] else told
            keys = {key for key in source if not key.startswith(("_", "final")) and source[f"_{key}"][row]}
            assert keys == set(rows[row]) - {"terminal_observation", "TimeLimit.truncated"}
