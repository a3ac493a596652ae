"""The rules of an episode: it ends early, is stopped, or lets the agent choose the zoom."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from foveal_encoders.base import Layout
from foveal_env.make import make_world
from foveal_env.retina import extract
from foveal_env.world import Rules


def test_an_episode_ends_as_soon_as_the_target_is_found(searching, monkeypatch):
    world = make_world(perception=searching, glimpses=3, task_options={"tolerance": 0.8}, reward="gain")
    episode = start = world.start(world.scenes(torch.arange(40)))
    total, rows, step = torch.zeros(40), [], world.perception.step
    monkeypatch.setattr(
        world.perception, "step", lambda state, glimpse: rows.append(len(state)) or step(state, glimpse)
    )
    for _ in range(3):
        before = episode
        episode, reward = world.look(episode, torch.rand(40, 2) * 2 - 1)
        assert torch.equal(episode.state[before.ended], before.state[before.ended])
        assert not reward[before.ended].any()
        assert torch.equal(episode.ended, before.ended | episode.outcome.correct | (episode.glimpses == 3))
        total += reward
        assert rows[-1] == (~before.ended).sum()  # the encoder has no work with episodes that are over
    assert 0 < (episode.glimpses < 3).sum() < 40
    assert torch.allclose(total, start.outcome.loss - episode.outcome.loss, atol=1e-5)
    assert torch.equal((~episode.gazes[:, 1:, 0].isnan()).sum(dim=1), episode.glimpses)


def test_a_stop_ends_the_episode_and_takes_no_glimpse(small_perception):
    world = make_world(perception=small_perception, glimpses=3, stop=True, glimpse_cost=0.1)
    start = world.start(world.scenes(torch.arange(2)))
    after, reward = world.look(start, torch.tensor([[0.2, 0.3, 0.7], [0.2, 0.3, -0.7]]))
    assert after.ended.tolist() == [True, False]
    assert after.glimpses.tolist() == [0, 1]
    assert torch.equal(after.state[0], start.state[0])
    assert reward[0] == 0
    assert reward[1] == pytest.approx((start.outcome.loss - after.outcome.loss)[1].item() - 0.1, abs=1e-5)


def test_a_gaze_alone_never_stops(small_perception):
    world = make_world(perception=small_perception, glimpses=3, stop=True)
    after, _ = world.look(world.start(world.scenes(torch.arange(2))), torch.ones(2, 2))
    assert not after.ended.any()


def test_the_reward_of_a_correct_answer_is_paid_when_the_agent_stops(small_perception):
    world = make_world(perception=small_perception, glimpses=3, stop=True, reward="correct")
    episode = world.start(world.scenes(torch.arange(60)))
    _, reward = world.look(episode, torch.ones(60, 3))
    assert torch.equal(reward, episode.outcome.correct.float())
    assert reward.any()


def test_the_zoom_of_the_action_moves_every_patch(small_perception):
    world = make_world(perception=small_perception, zoom=True, zoom_reach=2.0)
    scenes, layout = world.scenes(torch.arange(3)), world.layout
    start = world.start(scenes)
    closer, _ = world.look(start, torch.tensor([[0.1, -0.2, 0.5]] * 3))
    there = torch.tensor([[0.1, -0.2]] * 3)
    expected = world.perception.step(start.state, extract(scenes.images, there, layout, torch.ones(3)))
    assert torch.equal(closer.state, expected)
    assert closer.gazes[:, 1].tolist()[0] == pytest.approx([0.1, -0.2, 0.5])
    sharper = Layout(patch=layout.patch, zooms=layout.zooms, zoom_range=tuple(z + 1 for z in layout.zoom_range))
    assert torch.allclose(
        extract(scenes.images, there, layout, torch.ones(3)).patches, extract(scenes.images, there, sharper).patches
    )


@pytest.mark.parametrize(
    "options", [{}, {"stop": True}, {"zoom": True}, {"stop": True, "zoom": True, "time_left": True}]
)
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_environments_with_every_kind_of_action(searching, options, mode):
    options = {"perception": searching, "glimpses": 3, "task_options": {"tolerance": 1.0}, **options}
    single = gym.make("foveal_env/Classify-v0", **options)
    check_env(single.unwrapped, skip_render_check=True)
    _, info = single.reset(seed=3)
    assert {"distance", "path_length", "spl"} <= set(info)
    assert np.shape(info["prediction"]) == (2,)
    native = gym.make_vec("foveal_env/Classify-v0", num_envs=4, autoreset_mode=mode, **options)
    alone = gym.make_vec("foveal_env/Classify-v0", num_envs=1, autoreset_mode=mode, **options)
    together, apart = native.reset(seed=3)[0], alone.reset(seed=3)[0]
    ends = 0
    for step in range(8):
        assert np.allclose(together[0], apart[0], atol=1e-5)
        actions = np.random.default_rng(step).uniform(-1, 1, native.action_space.shape).astype(np.float32)
        together, reward, ended, _, infos = native.step(actions)
        apart, one, over, _, _ = alone.step(actions[:1])
        assert (reward[0], ended[0]) == (pytest.approx(one[0], abs=1e-5), over[0])
        ends += ended.sum()
    assert ends > 2
    assert infos["prediction"].shape == (4, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"glimpses": 0}, "glimpses must be at least 1, and whole, got 0"),
        ({"glimpses": 1.5}, "glimpses must be at least 1, and whole, got 1.5"),
        ({"first_look": "left"}, "unknown first_look 'left'; known: 'centre', None"),
        ({"glimpse_cost": -1}, "glimpse_cost must be at least 0, got -1"),
        ({"glimpse_cost": float("nan")}, "glimpse_cost must be at least 0, got nan"),
        ({"zoom_reach": float("nan")}, "zoom_reach must be above 0, got nan"),
        ({"zoom_reach": 0}, "zoom_reach must be above 0, got 0"),
    ],
)
def test_impossible_rules_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Rules(**options)
