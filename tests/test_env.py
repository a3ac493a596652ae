import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO

import foveal_env
from foveal_agents.sb3 import Sb3VecEnv
from foveal_env import render
from foveal_env.env import FovealVectorEnv

ID = "foveal_env/Classify-v0"


@pytest.fixture
def options(small_perception):
    return {"perception": small_perception, "glimpses": 3}


def random_actions(count, steps, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, count, 2)).astype(np.float32)


@pytest.mark.parametrize("id", sorted(foveal_env.IDS))
@pytest.mark.parametrize("extra", [{}, {"first_look": None, "reward": "correct", "time_left": True}])
def test_gymnasiums_own_check(id, extra):
    with warnings.catch_warnings():
        # once, where there is no screen: the check tries every render mode
        warnings.filterwarnings("ignore", message="render_mode='human' has no screen")
        check_env(gym.make(id, **extra).unwrapped)


def test_spaces_and_infos(options):
    env = gym.make(ID, **options)
    observation, info = env.reset(seed=0)
    assert env.observation_space.shape == (8, 24)
    assert env.action_space == gym.spaces.Box(-1, 1, (2,), np.float32)
    assert observation in env.observation_space
    assert set(info) == {"prediction", "score", "scene", "is_success"}
    assert info["is_success"] is False
    for step in range(3):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert observation in env.observation_space
        assert isinstance(reward, float)
        assert (terminated, truncated) == (step == 2, False)
        assert isinstance(info["is_success"], bool)
        assert terminated or not info["is_success"]
    with pytest.raises(ResetNeeded):
        env.unwrapped.step(np.zeros(2))


def test_the_module_prefix_and_the_spec(options):
    env = gym.make(f"foveal_env:{ID}", **options)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert np.array_equal(env.reset(seed=5)[0], again.reset(seed=5)[0])
    assert env.spec.max_episode_steps is None
    vector = gym.make_vec(ID, num_envs=2, **options)
    assert json.loads(vector.spec.to_json())["kwargs"]["glimpses"] == 3
    again = gym.make_vec(EnvSpec.from_json(vector.spec.to_json()), num_envs=2)
    assert np.array_equal(vector.reset(seed=5)[0], again.reset(seed=5)[0])


def test_the_same_seed_is_the_same_run(options):
    runs = []
    for _ in range(2):
        env = gym.make(ID, **options)
        seen = [env.reset(seed=7)[0]]
        for _ in range(2):
            seen += [env.step(action[0])[0] for action in random_actions(1, 3)]
            seen.append(env.reset()[0])
        runs.append(np.stack(seen))
    assert np.array_equal(*runs)
    assert not np.array_equal(env.reset(seed=7)[0], env.reset(seed=8)[0])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_native_batch_is_a_vector_of_singles(options, mode):
    """Observations, rewards, ends and infos, over several episodes, in every autoreset mode."""
    native = gym.make_vec(ID, num_envs=3, autoreset_mode=mode.value, **options)
    slow = SyncVectorEnv([lambda: gym.make(ID, **options)] * 3, autoreset_mode=mode)
    assert native.metadata["autoreset_mode"] == mode
    assert native.observation_space == slow.observation_space
    assert native.action_space == slow.action_space
    compare(native.reset(seed=3), slow.reset(seed=3))
    for step, actions in enumerate(random_actions(3, 9)):
        results = native.step(actions), slow.step(actions)
        compare(*results)
        if mode == AutoresetMode.DISABLED and results[0][2].any():
            mask = results[0][2]
            compare(*[env.reset(options={"reset_mask": mask.copy()}) for env in (native, slow)])
        if step == 4 and mode == AutoresetMode.DISABLED:  # get the rows out of step
            mask = np.array([True, False, False])
            compare(*[env.reset(options={"reset_mask": mask.copy()}) for env in (native, slow)])


def compare(mine, theirs):
    for left, right in zip(mine, theirs, strict=True):
        if isinstance(left, dict):
            assert set(left) == set(right)
            for key in left:
                same(left[key], right[key])
        else:
            assert left.dtype == right.dtype
            same(left, right)


def same(left, right):
    if isinstance(left, dict):
        compare([left], [right])
    elif left.dtype == object:
        for a, b in zip(left, right, strict=True):
            assert (a is None) == (b is None)
            assert a is None or np.allclose(a, b, atol=1e-5)
    else:
        assert np.allclose(left, right, atol=1e-5)


def test_rows_do_not_depend_on_their_number(options):
    many, few = (gym.make_vec(ID, num_envs=count, **options) for count in (5, 2))
    actions = random_actions(5, 7)
    assert np.allclose(many.reset(seed=1)[0][:2], few.reset(seed=1)[0], atol=1e-5)
    for action in actions:
        left, right = many.step(action), few.step(action[:2])
        assert np.allclose(left[0][:2], right[0], atol=1e-5)
        assert np.allclose(left[1][:2], right[1], atol=1e-5)


def test_observations_are_fresh_arrays(options):
    env = gym.make_vec(ID, num_envs=2, **options)
    first, _ = env.reset(seed=0)
    kept = first.copy()
    second = env.step(np.zeros((2, 2)))[0]
    assert not np.shares_memory(first, second)
    second[:] = 0
    assert np.array_equal(first, kept)
    assert env.step(np.zeros((2, 2)))[0].any()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_what_is_returned_belongs_to_the_caller(options, mode):
    """Writing into the arrays of one environment does not change its course."""
    mine, other = (gym.make_vec(ID, num_envs=2, autoreset_mode=mode.value, **options) for _ in range(2))
    mine.reset(seed=np.int64(0))
    other.reset(seed=0)
    for action in random_actions(2, 5):
        results = mine.step(action), other.step(action)
        compare(*results)
        ended = results[0][2].copy()
        for array in results[0][:4]:
            array[:] = 0
        if mode == AutoresetMode.DISABLED and ended.any():
            compare(*[env.reset(options={"reset_mask": ended.copy()}) for env in (mine, other)])


def test_a_scene_can_be_asked_for_by_its_index(options):
    env = gym.make(ID, split="test", **options)
    shown = [env.reset(seed=seed, options={"scene": 12}) for seed in (1, 2)]
    assert np.array_equal(shown[0][0], shown[1][0])
    assert shown[0][1]["scene"] == 12
    vector = gym.make_vec(ID, num_envs=2, split="test", **options)
    observations, infos = vector.reset(options={"scene": np.array([12, 13])})
    assert infos["scene"].tolist() == [12, 13]
    assert np.allclose(observations[0], shown[0][0], atol=1e-5)
    with pytest.raises(ValueError, match="index of at least 0"):
        env.reset(options={"scene": -1})


@pytest.mark.parametrize("bad", [[np.nan, 0], [0, np.inf], [0, 0, 0], 0.5, [[0, 0]], [1j, 0], ["left", "up"]])
def test_bad_actions_are_named(options, bad):
    env = gym.make(ID, disable_env_checker=True, **options).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"an action (has shape|must be finite|is an array of real)"):
        env.step(np.asarray(bad))
    vector = gym.make_vec(ID, num_envs=2, **options)
    vector.reset(seed=0)
    with pytest.raises(ValueError, match="an action"):
        vector.step(np.asarray([bad, bad]))
    assert env.step(np.zeros(2))[1] is not None  # nothing was lost


def test_bad_arguments_are_named(options):
    with pytest.raises(gym.error.NameNotFound, match="Did you mean: `Classify`"):
        gym.make("foveal_env/Clasify-v0")
    with pytest.raises(TypeError, match="glimpsess"):
        gym.make(ID, glimpsess=3)
    with pytest.raises(ValueError, match="unknown reward"):
        gym.make(ID, **{**options, "reward": "nope"})
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        gym.make_vec(ID, num_envs=0, **options)
    with pytest.raises(ValueError, match="unknown render_mode 'ansi'"):
        foveal_env.FovealEnv(render_mode="ansi", **options)
    with pytest.raises(ValueError, match=r"autoreset_mode is for gym.make_vec"):
        foveal_env.FovealEnv(autoreset_mode="NextStep", **options)
    for wrong in ("3", 2.5, 0):
        with pytest.raises(ValueError, match="glimpses must be at least 1, and whole"):
            gym.make(ID, **{**options, "glimpses": wrong})
    with pytest.raises(ValueError, match="in whole px, got 'big'"):
        gym.make(ID, **options, canvas="big")
    with pytest.raises(ValueError, match="unknown autoreset_mode 'never'; known: NextStep, SameStep, Disabled"):
        gym.make_vec(ID, autoreset_mode="never", **options)
    vector = gym.make_vec(ID, num_envs=2, **options)
    with pytest.raises(ResetNeeded):
        vector.step(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="reset_mask must be 2 booleans"):
        vector.reset(options={"reset_mask": np.array([False, False])})
    with pytest.raises(ResetNeeded, match="every row"):
        vector.reset(options={"reset_mask": np.array([True, False])})
    assert vector.reset(options={"reset_mask": np.array([True, True])})[0].shape[0] == 2
    with pytest.raises(ValueError, match="index of at least 0"):
        vector.reset(options={"scene": np.array([3, -1])})
    with pytest.raises(ValueError, match="3 seeds for 2"):
        vector.reset(seed=[1, 2, 3])


def test_the_scenes_that_a_seed_draws_are_fixed_for_ever(options):
    vector = gym.make_vec(ID, num_envs=2, **options)
    drawn = [vector.reset(seed=7)[1]["scene"].tolist(), vector.reset()[1]["scene"].tolist()]
    assert drawn == [[8817791911461774, 225919519446958], [1540924782370360, 7573102500579864]]


def test_one_row_that_waits_for_its_reset_is_enough_to_refuse_a_step(options):
    vector = gym.make_vec(ID, num_envs=2, stop=True, autoreset_mode="Disabled", **options)
    vector.reset(seed=0)
    _, _, ended, _, _ = vector.step(np.array([[0, 0, 1], [0, 0, -1]]))
    assert ended.tolist() == [True, False]
    with pytest.raises(ResetNeeded, match=r"rows \[0\] have ended"):
        vector.step(np.zeros((2, 3)))


def test_a_row_has_the_figures_of_its_own_question_only():
    id, rows = "foveal_env/Questions-v0", 8
    _, infos = gym.make_vec(id, num_envs=rows).reset(seed=0)
    single = gym.make(id)
    alone = ["distance" in single.reset(seed=row)[1] for row in range(rows)]
    assert infos["_distance"].tolist() == alone
    assert 0 < sum(alone) < rows


@pytest.mark.parametrize("id", sorted(foveal_env.IDS))
def test_infos_have_the_same_keys_all_through_an_episode(id):
    env = gym.make(id, glimpses=4)
    for seed in range(4):
        env.reset(seed=seed)
        _, info = env.reset()
        keys, ended = set(info), False
        while not ended:
            assert info["is_success"] is False
            *_, ended, _, info = env.step(env.action_space.sample())
            assert set(info) == keys
        assert isinstance(info["is_success"], bool)


def test_success_is_told_at_the_end_only(options):
    batch = gym.make_vec(ID, num_envs=40, split="test", **options)
    _, infos = batch.reset(seed=0)
    for step in range(3):
        assert infos["_is_success"].all()
        assert not infos["is_success"].any()
        *_, infos = batch.step(np.zeros((40, 2)))
        assert ("final_info" in infos) == (step == 2)
    assert not infos["is_success"].any()  # of the new episodes
    assert 0 < infos["final_info"]["is_success"].sum() < 40


@pytest.mark.parametrize("id", sorted(foveal_env.IDS))
def test_infos_have_one_type_in_single_and_batch(id):
    native = gym.make_vec(id, num_envs=6, glimpses=2, autoreset_mode="SameStep")
    slow = SyncVectorEnv([lambda: gym.make(id, glimpses=2)] * 6, autoreset_mode=AutoresetMode.SAME_STEP)
    seen = [env.reset(seed=1)[1] for env in (native, slow)]
    for step in range(3):
        for key, values in seen[0].items():
            for mine, theirs in zip(*map(leaves, (values, seen[1][key])), strict=True):
                assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), key
        action = np.random.default_rng(step).uniform(-1, 1, (6, 2)).astype(np.float32)
        seen = [env.step(action)[-1] for env in (native, slow)]


def leaves(values):
    return [values[key] for key in sorted(values)] if isinstance(values, dict) else [values]


@pytest.mark.parametrize("reset_options", [{"scenes": 7}, {"scene": 7, "mask": [True]}])
def test_unknown_options_of_a_reset_are_named(options, reset_options):
    unknown = sorted(reset_options)[-1] if "scenes" in reset_options else "mask"
    with pytest.raises(ValueError, match=f"unknown reset option '{unknown}'; known: scene, reset_mask"):
        gym.make_vec(ID, num_envs=1, **options).reset(options=reset_options)
    single = gym.make(ID, **options)
    with pytest.raises(ValueError, match=f"unknown reset option '{unknown}'; known: scene$"):
        single.reset(options=reset_options)
    with pytest.raises(ValueError, match="unknown reset option 'reset_mask'"):
        single.reset(options={"reset_mask": np.array([True])})
    assert single.reset(seed=0, options={})[0].shape == (8, 24)


@pytest.mark.parametrize("time_left", [False, True])
def test_flat_observations_are_the_others_row_after_row(options, time_left):
    make = {"time_left": time_left, **options}
    flat, other = (gym.make(ID, flat=flat, **make) for flat in (True, False))
    size = (8 + time_left) * 24
    assert flat.observation_space.shape == (size,)
    check_env(flat.unwrapped, skip_render_check=True)
    assert np.array_equal(flat.reset(seed=1)[0], other.reset(seed=1)[0].flatten())
    together, rows = (gym.make_vec(ID, num_envs=3, flat=flat, **make) for flat in (True, False))
    assert together.observation_space.shape == (3, size)
    assert together.single_observation_space.shape == (size,)
    assert np.array_equal(together.reset(seed=1)[0], rows.reset(seed=1)[0].reshape(3, -1))
    for actions in random_actions(3, 3):
        results = together.step(actions), rows.step(actions)
        assert np.array_equal(results[0][0], results[1][0].reshape(3, -1))
    for mine, theirs in zip(*[result[-1]["final_obs"] for result in results], strict=True):
        assert np.array_equal(mine, theirs.flatten())


def test_flat_observations_in_stable_baselines3(options):
    batch = Sb3VecEnv(gym.make_vec(ID, num_envs=4, flat=True, **options))
    assert batch.reset().shape == (4, 8 * 24)
    model = PPO("MlpPolicy", batch, n_steps=4, batch_size=8, n_epochs=1, device="cpu")
    model.learn(16)
    batch.step(np.zeros((4, 2)))
    for _ in range(3):
        _, _, ended, infos = batch.step(np.zeros((4, 2)))
        for row in np.flatnonzero(ended):
            assert infos[row]["terminal_observation"].shape == (8 * 24,)


def test_a_search_tells_what_to_find():
    env = gym.make("foveal_env/Search-v0", render_mode="rgb_array", split="test")
    asked = set()
    for seed in range(6):
        _, info = env.reset(seed=seed)
        wanted = int(info["prompt"].argmax())
        assert env.get_wrapper_attr("question") == f"where is the {wanted}?"
        assert np.array_equal(info["prompt"], np.eye(10, dtype=np.float32)[wanted])
        asked.add(wanted)
    assert len(asked) > 2
    plain = gym.make(ID, render_mode="rgb_array", split="test")
    assert "prompt" not in plain.reset(seed=0)[1]
    assert plain.get_wrapper_attr("question") == ""
    assert plain.render().shape == (480, 480, 3)
    assert env.render().shape == (516, 480, 3)  # with a caption


def test_prompts_of_a_batch_are_those_of_its_rows():
    batch = gym.make_vec("foveal_env/Questions-v0", num_envs=16, glimpses=1, render_mode="rgb_array")
    _, infos = batch.reset(seed=0)
    first = batch.unwrapped.questions
    assert len(set(first)) > 3
    prompts = infos["prompt"]
    *_, infos = batch.step(np.zeros((16, 2)))
    assert np.array_equal(infos["final_info"]["prompt"], prompts)
    assert batch.unwrapped.questions != first
    assert len({picture.shape for picture in batch.render()}) == 1  # whatever is asked
    single = gym.make("foveal_env/Questions-v0", glimpses=1)
    for row in range(8):
        _, info = single.reset(seed=row)
        assert np.array_equal(info["prompt"], prompts[row])
        assert single.unwrapped.question == first[row]


def test_rendering(options):
    env = gym.make(ID, render_mode="rgb_array", **options)
    env.reset(seed=0)
    first = env.render()
    env.step(np.array([0.8, 0.8]))
    second = env.render()
    assert first.shape == second.shape == (480, 480, 3)
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    assert tuple(second[int(1.8 / 2 * 480), int(1.8 / 2 * 480)]) == render.LAST
    vector = gym.make_vec(ID, num_envs=2, render_mode="rgb_array", **options)
    vector.reset(seed=0)
    assert [picture.shape for picture in vector.render()] == [(480, 480, 3)] * 2


def test_human_mode_shows_every_step(options, monkeypatch):
    with pytest.warns(UserWarning, match="has no screen"):
        env = gym.make(ID, render_mode="human", **options).unwrapped
    env.reset(seed=0)  # says nothing more
    shown = []
    monkeypatch.setattr("matplotlib.get_backend", lambda: "a screen")
    monkeypatch.setattr("matplotlib.pyplot.pause", shown.append)
    env = gym.make(ID, render_mode="human", **options).unwrapped
    env.reset(seed=0)
    env.step(np.zeros(2))
    assert shown == [0.25, 0.25]
    env.close()


def test_what_an_encoder_makes_while_the_environment_steps_can_be_trained_with(small_world):
    encoder, made = small_world.perception.encoder, []
    step = encoder.step
    encoder.step = lambda state, glimpse: made.append(torch.ones(())) or step(state, glimpse)
    try:
        env = FovealVectorEnv(2, world=small_world)
        env.reset(seed=0)
    finally:
        del encoder.step
    weight = torch.ones((), requires_grad=True)
    (weight * made[0]).backward()  # a tensor of inference mode could not be saved for this
    assert weight.grad == 1
