"""The rules of an episode: it ends early, is stopped, or lets the agent choose the zoom."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from foveal_encoders.base import Layout
from foveal_env.make import make_world
from foveal_env.retina import extract


def test_a_stop_ends_the_episode_and_takes_no_glimpse(small_perception):
    world = make_world(perception=small_perception, glimpses=3, stop=True, price=0.1)
    assert world.action_size == 3
    start = world.start(world.scenes(torch.arange(2)))
    action = torch.tensor([[0.2, 0.3, 0.7], [0.2, 0.3, -0.7]])
    after, reward = world.look(start, action)
    assert after.ended.tolist() == [True, False]
    assert after.glimpses.tolist() == [0, 1]
    assert torch.equal(after.state[0], start.state[0])
    assert reward[0] == 0
    assert reward[1] == pytest.approx((start.outcome.loss - after.outcome.loss)[1].item() - 0.1, abs=1e-5)
    plain, _ = world.look(start, action[:, :2])  # a gaze alone never stops
    assert not plain.ended.any()
    sparse = make_world(perception=small_perception, glimpses=3, stop=True, reward="correct")
    episode = sparse.start(sparse.scenes(torch.arange(60)))
    _, paid = sparse.look(episode, torch.ones(60, 3))
    assert torch.equal(paid, episode.outcome.correct.float())
    assert paid.any()


def test_the_zoom_of_the_action_moves_every_patch(small_perception):
    world = make_world(perception=small_perception, zoom=True, zoom_reach=2.0)
    scenes, layout = world.scenes(torch.arange(3)), world.layout
    start = world.start(scenes)
    closer, _ = world.look(start, torch.tensor([[0.1, -0.2, 0.5]] * 3))
    there = torch.tensor([[0.1, -0.2]] * 3)
    seen = world.perception.step(start.state, extract(scenes.images, there, layout, torch.ones(3)))
    assert torch.equal(closer.state, seen)
    assert closer.gazes[:, 1].tolist()[0] == pytest.approx([0.1, -0.2, 0.5])
    sharper = Layout(patch=layout.patch, zooms=layout.zooms, zoom_range=tuple(z + 1 for z in layout.zoom_range))
    assert torch.allclose(
        extract(scenes.images, there, layout, torch.ones(3)).patches, extract(scenes.images, there, sharper).patches
    )


@pytest.mark.parametrize("options", [{}, {"stop": True}, {"zoom": True}, {"stop": True, "zoom": True, "clock": True}])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_environments_with_every_kind_of_action(searching, options, mode):
    chosen = {"perception": searching, "glimpses": 3, "task_options": {"tolerance": 1.0}, **options}
    single = gym.make("foveal_env/Classify-v0", **chosen)
    check_env(single.unwrapped, skip_render_check=True)
    _, info = single.reset(seed=3)
    assert {"distance", "path_length", "spl"} <= set(info)
    assert np.shape(info["prediction"]) == (2,)
    native = gym.make_vec("foveal_env/Classify-v0", num_envs=4, autoreset_mode=mode, **chosen)
    alone = gym.make_vec("foveal_env/Classify-v0", num_envs=1, autoreset_mode=mode, **chosen)
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


@pytest.mark.parametrize("options", [{"price": float("nan")}, {"zoom_reach": float("nan")}, {"zoom_reach": 0}])
def test_prices_and_reaches_that_are_no_numbers_are_refused(options):
    with pytest.raises(ValueError, match="zoom_reach must be above 0 and price at least 0"):
        make_world(**options)
