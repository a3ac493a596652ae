"""Stable-Baselines3: its view of the native batch, and its algorithms as agents."""

from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch
from quick_agents import quick
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env

from foveal_agents import AGENTS
from foveal_agents.base import make_agent
from foveal_agents.policy_files import load_agent
from foveal_agents.sb3 import Sb3VecEnv, StableBaselines
from foveal_env.registry import options_of


class Patient(StableBaselines):
    """Another algorithm, in two lines."""

    algorithm = stable_baselines3.DDPG
    defaults: ClassVar = {"learning_starts": 10}


def test_stable_baselines_sees_the_right_terminal_observation(small_perception):
    options = {"perception": small_perception, "glimpses": 2}
    vector = Sb3VecEnv(gym.make_vec("foveal_env/Classify-v0", num_envs=3, **options))
    vector.seed(4)
    vector.reset()
    singles = [gym.make("foveal_env/Classify-v0", **options) for _ in range(3)]
    for row, single in enumerate(singles):
        single.reset(seed=4 + row)
    actions = np.random.default_rng(0).uniform(-1, 1, (2, 3, 2))
    for action in actions:
        observations, rewards, ended, infos = vector.step(action)
        expected = [single.step(action[row]) for row, single in enumerate(singles)]
    assert ended.all()
    for row, (observation, reward, _, _, info) in enumerate(expected):
        assert np.allclose(infos[row]["terminal_observation"], observation, atol=1e-5)
        assert np.allclose(observations[row], singles[row].reset()[0], atol=1e-5)
        assert rewards[row] == pytest.approx(reward, abs=1e-5)
        assert infos[row]["is_success"] == info["is_success"]
        assert infos[row]["TimeLimit.truncated"] is False
    with pytest.raises(ValueError, match="SameStep"):
        Sb3VecEnv(gym.make_vec("foveal_env/Classify-v0", num_envs=1, autoreset_mode="NextStep", **options))
    with pytest.raises(TypeError, match="share all attributes"):
        vector.set_attr("world", None)


def in_same_step(name, **options):
    return gym.make_vec(
        name,
        num_envs=3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP},
        **options,
    )


def until_an_end(vector):
    """Step at random until an episode ends; return the number of its row, and its info."""
    vector.seed(0)
    vector.reset()
    for _ in range(100):
        actions = np.stack([vector.action_space.sample() for _ in range(vector.num_envs)])
        observations, _, ended, infos = vector.step(actions)
        assert len(infos) == vector.num_envs
        if ended.any():
            row = int(ended.argmax())
            assert infos[row]["terminal_observation"].shape == observations[row].shape
            return row, infos[row]
    raise AssertionError("no episode ended")


@pytest.mark.parametrize("name", ["ClipReward", "NormalizeReward", "RescaleAction", "RecordEpisodeStatistics"])
def test_stable_baselines_takes_a_wrapped_batch(name, small_perception):
    batch = gym.make_vec("foveal_env/Classify-v0", num_envs=3, perception=small_perception, glimpses=2)
    more = {"ClipReward": (-1, 1), "RescaleAction": (np.float32(-2), np.float32(2))}.get(name, ())
    vector = Sb3VecEnv(getattr(gym.wrappers.vector, name)(batch, *more))
    _, info = until_an_end(vector)
    assert {"prediction", "score", "scene", "is_success"} <= info.keys()
    assert info["TimeLimit.truncated"] is False
    assert vector.get_attr("world")[0] is batch.world
    if name == "RecordEpisodeStatistics":
        assert info["episode"]["l"] == 2
    model = PPO("MlpPolicy", vector, n_steps=4, batch_size=4, device="cpu").learn(12)
    assert len(model.ep_info_buffer) == (6 if name == "RecordEpisodeStatistics" else 0)


def test_a_truncated_episode_is_told_from_one_that_ended():
    _, info = until_an_end(Sb3VecEnv(in_same_step("Pendulum-v1", max_episode_steps=5)))
    assert info.keys() == {"terminal_observation", "TimeLimit.truncated"}
    assert info["TimeLimit.truncated"] is True
    _, info = until_an_end(Sb3VecEnv(in_same_step("CartPole-v1")))
    assert info["TimeLimit.truncated"] is False


@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1"])
def test_stable_baselines_trains_on_other_peoples_batches(name):
    vector = Sb3VecEnv(in_same_step(name, max_episode_steps=5))
    model = PPO("MlpPolicy", vector, n_steps=8, batch_size=8, device="cpu").learn(48)
    assert model.num_timesteps == 48
    assert np.isfinite(model.rollout_buffer.rewards).all()


def test_a_batch_in_another_mode_or_none_is_refused(small_perception):
    other = gym.make_vec("Pendulum-v1", num_envs=2, vectorization_mode="sync")
    with pytest.raises(ValueError, match=r"needs autoreset_mode 'SameStep', got 'NextStep'; make the batch in that"):
        Sb3VecEnv(other)
    with pytest.raises(ValueError, match="SameStep"):
        Sb3VecEnv(gym.wrappers.vector.ClipReward(other, -1, 1))
    other.metadata = {}
    with pytest.raises(ValueError, match="its metadata tells none"):
        Sb3VecEnv(other)
    with pytest.raises(TypeError, match=r"takes a vector environment, as of gym\.make_vec, got OrderEnforcing"):
        Sb3VecEnv(gym.make("foveal_env/Classify-v0", perception=small_perception, disable_env_checker=True))


@pytest.mark.parametrize("name", ["foveal_env/Classify-v0", "Pendulum-v1"])
def test_an_agent_for_an_environment_says_that_it_wants_a_world(name):
    with pytest.raises(TypeError, match=r"made for a world, got \w+: pass env.unwrapped.world"):
        make_agent("grpo", gym.make(name))


def test_stable_baselines_takes_the_single_environment_as_it_is(small_perception):
    env = gym.make("foveal_env/Classify-v0", perception=small_perception, glimpses=2)
    with pytest.warns(UserWarning, match="unconventional shape"):  # (N, D); MlpPolicy flattens it
        check_env(env.unwrapped)
    PPO("MlpPolicy", env, n_steps=8, batch_size=8, device="cpu").learn(16)
    many = Sb3VecEnv(gym.make_vec("foveal_env/Classify-v0", num_envs=4, perception=small_perception))
    PPO("MlpPolicy", many, n_steps=8, batch_size=8, device="cpu").learn(32)


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ppo", {"num_envs": 512, "gamma": 0.3, "n_epochs": 4, "log_std_init": -1.0, "net_arch": [256, 256]}),
        ("a2c", {"num_envs": 256, "gamma": 0.3, "learning_rate": 7e-4}),
        ("sac", {"num_envs": 64, "episodes": 4, "learning_starts": 5000, "buffer_size": 100_000}),
        ("td3", {"num_envs": 64, "episodes": 1}),
    ],
)
def test_the_defaults_are_flat_options(name, expected):
    options = options_of(AGENTS.resolve(name))
    assert {key: options[key].default for key in expected} == expected
    for key, value in expected.items():
        assert options[key].annotation in (type(value), list[int])
        assert f"{key}: " in options[key].owner.__doc__  # what the command line's help says


def test_an_option_reaches_the_algorithm_or_its_policy(small_world):
    model = quick("ppo", small_world, vf_coef=0.25, log_std_init=-2.0, net_arch=[8], gamma=0.5).model
    assert (model.vf_coef, model.gamma, model.n_steps, model.n_envs) == (0.25, 0.5, 6, 16)
    assert model.policy.log_std.tolist() == [-2.0, -2.0]
    assert model.policy.action_net.in_features == 8


def test_a_batch_is_no_larger_than_a_rollout(small_world):
    assert make_agent("ppo", small_world, num_envs=8).model.batch_size == 24


@pytest.mark.parametrize(
    ("name", "option"),
    [("ppo", "learning_rat"), ("ppo", "buffer_size"), ("ppo", "n_steps"), ("sac", "policy_kwargs"), ("sac", "seeds")],
)
def test_an_option_that_the_algorithm_does_not_have_is_named(small_world, name, option):
    with pytest.raises(TypeError, match=f"agent '{name}': no option '{option}'; known: num_envs, episodes, learning_r"):
        make_agent(name, small_world, **{option: 1})


def test_any_algorithm_is_an_agent(small_world, tmp_path):
    agent = make_agent(f"{__name__}:Patient", small_world, num_envs=4)
    list(agent.train(24))
    agent.save(tmp_path / "p.safetensors")
    again = load_agent(tmp_path / "p.safetensors", small_world)
    assert again.options == {"num_envs": 4, "episodes": 1, "learning_starts": 10}


def test_an_off_policy_training_cannot_go_on_unless_it_is_finished(small_world, tmp_path):
    agent = quick("sac", small_world)
    list(agent.train(60))
    assert next(agent.train(100))["glimpses"] == 72  # as long as its replay buffer is there
    agent.save(tmp_path / "p.safetensors")
    again = load_agent(tmp_path / "p.safetensors", small_world)
    assert not again.can_resume
    assert list(again.train(72)) == []
    with pytest.raises(ValueError, match="sac cannot go on training: its replay buffer was not saved"):
        next(again.train(1000))


def test_the_draws_of_sb3_depend_on_the_generator_alone(small_world):
    agent = quick("ppo", small_world)
    episode = small_world.start(small_world.scenes(torch.arange(5)))
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(draws))
        generator = torch.Generator().manual_seed(seed)
        draws.append(agent.act(small_world, episode, generator=generator, greedy=False))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
