"""Policies in any loop: from an observation to an action, single and batch, whatever agent saved them."""

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch
from quick_agents import quick
from stable_baselines3.common.evaluation import evaluate_policy

from foveal_agents import load_policy
from foveal_agents.base import Agent, make_agent
from foveal_agents.policy_files import load_agent
from foveal_agents.rollout import evaluate
from foveal_agents.sb3 import Sb3VecEnv
from foveal_env import IDS
from foveal_env.make import make_world

LEARNERS = ("a2c", "grpo", "ppo", "sac", "td3")


class Leaning(Agent):
    """An agent of one's own: it learns how far to the right to look."""

    is_trainable = True

    def __init__(self, world, *, seed=0):
        super().__init__(world, seed=seed)
        self.x = torch.zeros(())

    def act(self, world, episode, *, generator, greedy):
        return torch.stack([self.x.expand(len(episode.glimpses)), 0.1 * episode.glimpses], dim=1)

    def updates(self, glimpses):
        self.x = torch.tensor(0.25)
        yield {"glimpses": glimpses}

    def state(self):
        return {"x": self.x}, {}

    def restore(self, tensors, header):
        self.x = tensors["x"]


def episode_of(env, policy, scene):
    """Play an episode as anybody would; return the actions and the last info."""
    observation, _ = env.reset(options={"scene": scene})
    state, terminated, actions = None, False, []
    while not terminated:
        action, state = policy.predict(observation, state)
        observation, _, terminated, _, info = env.step(action)
        actions.append(action)
    return np.stack(actions), info


@pytest.mark.parametrize("name", IDS)
def test_a_shipped_policy_plays_its_environment_and_looks_where_an_evaluation_does(name):
    env = gym.make(name)
    policy = load_policy(name)
    world = env.unwrapped.world
    expected = evaluate(world, load_agent(IDS[name].get("perception", "digits"), world), scenes=3)
    for scene in range(3):
        actions, info = episode_of(env, policy, scene)
        assert env.action_space.contains(actions[0])
        assert np.allclose(actions, expected.gazes[scene, 1 : 1 + len(actions)], atol=1e-3)
        assert info["is_success"] == expected.correct[scene, -1]
        assert len(actions) == expected.glimpses[scene]


@pytest.mark.parametrize("name", LEARNERS)
def test_any_agent_that_was_saved_acts_on_observations_alone(name, small_world, tmp_path):
    agent, path = quick(name, small_world, seed=1), tmp_path / "p.safetensors"
    next(agent.train(1))
    agent.save(path)
    policy = load_policy(path)
    episode = small_world.start(small_world.scenes(torch.arange(5)))
    observation = small_world.observe(episode)
    generator = torch.Generator()
    expected = agent.act(small_world, episode, generator=generator, greedy=True).clamp(-1, 1)
    assert (policy.agent.name, policy.agent.seed, policy.agent.spent) == (name, 1, agent.spent)
    for given in (observation, observation.numpy(), observation.flatten(1)):
        actions, memory = policy.predict(given)
        assert actions.dtype == np.float32
        assert np.allclose(actions, expected, atol=1e-5)
        assert memory.glimpses.tolist() == [1] * 5
    for row in range(5):
        for given in (observation[row], observation[row].numpy().flatten()):
            assert np.allclose(policy.predict(given)[0], expected[row], atol=1e-5)


def test_an_agent_of_ones_own_needs_nothing_more(small_world, tmp_path):
    agent = make_agent(f"{__name__}:Leaning", small_world)
    list(agent.train(5))
    agent.save(tmp_path / "p.safetensors")
    policy = load_policy(tmp_path / "p.safetensors")
    observation = np.zeros(small_world.observation_shape, np.float32)
    first, state = policy.predict(observation)
    second, _ = policy.predict(observation, state)
    assert first.tolist() == [0.25, 0]
    assert second.tolist() == pytest.approx([0.25, 0.1])


def test_a_batch_begins_the_episodes_that_it_is_told(searching, tmp_path):
    world = make_world(perception=searching, glimpses=3, ends_on_success=False)
    quick("grpo", world, grid=4, inhibition_radius=0.6).save(tmp_path / "p.safetensors")
    policy = load_policy(tmp_path / "p.safetensors")
    observation = world.observe(world.start(world.scenes(torch.arange(4))))
    first, state = policy.predict(observation)
    second, later = policy.predict(observation, state)
    assert (np.linalg.norm(first - second, axis=1) > 0.1).all()  # inhibition of return: never there again
    assert state.glimpses.tolist() == [1] * 4  # what was given is not changed
    third, restarted = policy.predict(observation, later, episode_start=np.array([True, False, True, False]))
    assert np.allclose(third[[0, 2]], first[[0, 2]])
    assert not np.allclose(third[[1, 3]], first[[1, 3]])
    assert restarted.glimpses.tolist() == [1, 3, 1, 3]
    for _ in range(5):  # longer than in training
        _, restarted = policy.predict(observation, restarted)
    assert restarted.gazes.shape[1] == 9
    with pytest.raises(ValueError, match="the state is of 4 episodes, the observation of 1"):
        policy.predict(observation[0], state)


def test_a_policy_that_stops_and_zooms_answers_whole_actions(small_perception, tmp_path):
    options = {"perception": small_perception, "glimpses": 2, "stop": True, "zoom": True, "time_left": True}
    quick("grpo", make_world(**options)).save(tmp_path / "p.safetensors")
    env = gym.make("foveal_env/Classify-v0", **options)
    for policy in (load_policy(tmp_path / "p.safetensors"), load_policy("random", env)):
        action, _ = policy.predict(env.reset(seed=0)[0])
        assert env.action_space.contains(action)


def test_what_is_drawn_depends_on_the_seed(small_world, tmp_path):
    quick("grpo", small_world).save(tmp_path / "p.safetensors")
    observation = np.zeros((3, *small_world.observation_shape), np.float32)
    draws = [
        load_policy(tmp_path / "p.safetensors", seed=seed).predict(observation, deterministic=False)[0]
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


@pytest.mark.parametrize("name", ["random", "centre", "raster", "spiral", "most_likely"])
def test_a_rule_acts_where_the_observation_suffices(name, searching):
    world = make_world(perception=searching, glimpses=3, ends_on_success=False)
    policy = load_policy(name, world, seed=0)
    expected = evaluate(world, make_agent(name, world), scenes=4).gazes[:, 1:]
    episode, state = world.start(world.scenes(torch.arange(4))), None
    for step in range(3):
        action, state = policy.predict(world.observe(episode), state)
        assert np.allclose(action, expected[:, step], atol=1e-5)
        episode, _ = world.look(episode, torch.from_numpy(action))


@pytest.mark.parametrize("name", ["saliency", "oracle", "greedy_oracle"])
def test_a_rule_that_sees_more_than_the_observation_is_refused_at_once(name, small_world):
    with pytest.raises(ValueError, match=f"agent '{name}' needs the scene itself"):
        load_policy(name, small_world)


def test_a_small_file_is_enough_to_act(small_world, tmp_path):
    agent = quick("grpo", small_world)
    list(agent.train(200))
    agent.save(tmp_path / "whole.safetensors")
    whole = load_policy(tmp_path / "whole.safetensors")
    whole.save(tmp_path / "small.safetensors")
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "small")]
    assert sizes[1] < sizes[0] / 5
    small, observation = load_policy(tmp_path / "small.safetensors"), torch.randn(6, *small_world.observation_shape)
    assert np.allclose(whole.predict(observation)[0], small.predict(observation)[0], atol=0.02)
    again = load_agent(tmp_path / "small.safetensors", small_world)
    with pytest.raises(ValueError, match="saved for acting alone: it cannot go on training"):
        next(again.train(1_000))
    assert list(again.train(again.spent.glimpses)) == []


@pytest.mark.parametrize("name", ["PPO", "A2C", "SAC", "TD3"])
def test_a_zip_of_stable_baselines_acts_if_it_is_trusted(name, small_perception, tmp_path):
    env = gym.make("foveal_env/Classify-v0", perception=small_perception, glimpses=2)
    model = getattr(stable_baselines3, name)("MlpPolicy", env, device="cpu")
    model.save(tmp_path / "model.zip")
    with pytest.raises(ValueError, match=r"model\.zip: .* pickled objects.* give trust=True"):
        load_policy(tmp_path / "model.zip")
    policy = load_policy(tmp_path / "model.zip", trust=True)
    assert type(policy.model) is type(model)
    observation, _ = env.reset(seed=0)
    expected, _ = model.predict(observation, deterministic=True)
    for given in (observation, observation.flatten()):
        action, state = policy.predict(given)
        assert np.allclose(action, expected)
        assert state is None
    assert np.allclose(policy.predict(np.stack([observation] * 3))[0], np.stack([expected] * 3), atol=1e-6)
    with pytest.raises(ValueError, match="takes observations of shape"):
        policy.predict(observation[:1, :3])


def test_a_zip_of_another_origin_is_named(tmp_path):
    (tmp_path / "model.zip").write_bytes(b"PK no zip")
    with pytest.raises(ValueError, match=r"model\.zip is not a \.zip of Stable-Baselines3"):
        load_policy(tmp_path / "model.zip", trust=True)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_policy(tmp_path / "none.zip", trust=True)


def test_stable_baselines_evaluates_a_policy_as_one_of_its_own(small_perception, small_world, tmp_path):
    quick("grpo", small_world).save(tmp_path / "p.safetensors")
    batch = gym.make_vec("foveal_env/Classify-v0", num_envs=2, perception=small_perception, glimpses=3)
    reward, _ = evaluate_policy(load_policy(tmp_path / "p.safetensors"), Sb3VecEnv(batch), 6, warn=False)
    assert np.isfinite(reward)


def test_what_cannot_be_loaded_is_named(small_world, small_perception, tmp_path):
    quick("grpo", small_world).save(tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match="unknown policy 'nope'; known: cluttered100, "):
        load_policy("nope")
    with pytest.raises(ValueError, match="'grpo' is an agent that learns: name the file"):
        load_policy("grpo")
    with pytest.raises(ValueError, match=r"the rule 'spiral' depends on the episode: load_policy\('spiral', env\)"):
        load_policy("spiral")
    with pytest.raises(TypeError, match=r"one of foveal_env's environments or a World, got TimeLimit"):
        load_policy("digits", gym.make("Pendulum-v1"))
    with pytest.raises(ValueError, match="was trained on time_left=False; this world has time_left=True"):
        load_policy(tmp_path / "p.safetensors", make_world(perception=small_perception, time_left=True))
    with pytest.raises(ValueError, match=r"takes observations of shape \(8, 24\) or \(B, 8, 24\), got \(7, 3\)"):
        load_policy(tmp_path / "p.safetensors").predict(np.zeros((7, 3)))
