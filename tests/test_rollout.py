"""Rollouts, evaluations, the gazes of a policy in stage 1, and how a policy is diagnosed."""

import pytest
import torch
from quick_agents import quick

from foveal_agents.base import make_agent
from foveal_agents.policy_files import read_policy
from foveal_agents.rollout import collapse, evaluate, gaze_statistics, policy_gazes, rollout
from foveal_env.make import make_source, make_world
from foveal_env.perception import Perception
from foveal_env.world import Rules, World


def test_a_rollout_has_a_step_for_each_glimpse(small_world):
    start = small_world.start(small_world.scenes(torch.arange(5)))
    steps = list(
        rollout(small_world, make_agent("raster", small_world), start, generator=torch.Generator(), greedy=True)
    )
    assert steps[0].before is start
    for number, step in enumerate(steps):
        after, reward = small_world.look(step.before, step.action)
        assert torch.equal(step.after.state, after.state)
        assert torch.equal(step.reward, reward)
        assert (step.after.glimpses == number + 1).all()
    assert len(steps) == 3


@pytest.mark.parametrize("batch", [7, 20, 512])
def test_an_evaluation_does_not_depend_on_its_batches(small_world, batch):
    agent = make_agent("raster", small_world)
    whole, parts = (evaluate(small_world, agent, scenes=20, batch=size) for size in (20, batch))
    assert torch.equal(whole.gazes, parts.gazes)
    assert torch.equal(whole.index, parts.index)
    assert torch.allclose(whole.loss, parts.loss, atol=1e-5)


def test_an_evaluation_tells_what_happened_after_each_look(small_world):
    evaluation = evaluate(small_world, make_agent("centre", small_world), scenes=8)
    episode = small_world.start(small_world.scenes(torch.arange(8)))
    for column in range(4):
        assert torch.allclose(evaluation.loss[:, column], episode.outcome.loss, atol=1e-5)
        assert evaluation.accuracy[column] == pytest.approx(episode.outcome.correct.float().mean().item())
        assert evaluation.mean_loss[column] == pytest.approx(episode.outcome.loss.mean().item(), abs=1e-5)
        if column < 3:
            episode, _ = small_world.look(episode, torch.zeros(8, 2))
    assert torch.equal(evaluation.prediction, episode.outcome.prediction)


def test_an_evaluation_has_what_the_task_tells(searching):
    world = make_world(perception=searching, glimpses=2)
    evaluation = evaluate(world, make_agent("raster", world), scenes=6)
    assert set(evaluation.info.columns) == {"distance", "path_length", "spl"}
    assert evaluation.info.columns["spl"].shape == (6,)


@pytest.fixture
def images_world(folder, tiny):
    """A world of 40 whole images, of which 4 are for testing."""

    def make(split):
        source = make_source("folder", split, folder=str(folder))
        return World(source, Perception.build(source, **tiny).frozen(), Rules(glimpses=1))

    return make


@pytest.mark.parametrize(("split", "count"), [("train", 32), ("validation", 4), ("test", 4)])
def test_no_whole_image_counts_twice(split, count, images_world):
    world = images_world(split)
    agent = make_agent("raster", world)
    with pytest.warns(UserWarning, match=f"asked for 100 scenes, evaluated all {count} {split} images, each once"):
        evaluation = evaluate(world, agent, scenes=100)
    scenes = world.scenes(evaluation.index)
    shown = {(int(scenes.label[row]), scenes.images.pixels(row).numpy().tobytes()) for row in range(len(scenes))}
    assert len(shown) == len(scenes) == count  # both classes have the same files
    assert torch.equal(evaluation.index[:3], evaluate(world, agent, scenes=3).index)
    assert len(evaluate(world, agent, scenes=100, repeat=True).index) == 100


@pytest.mark.parametrize(
    ("split", "options", "scenes", "said"),
    [
        ("test", {}, 1800, "1,800 test scenes of 360 images"),
        ("validation", {"canvas": 28}, 900, "900 validation scenes of 180 images"),
        ("test", {"canvas": 28, "clutter": 0}, 1800, "all 360 test images"),
        ("test", {"canvas": 28, "clutter": 0}, 100, "100 of 360 test images"),
        ("train", {"canvas": 28, "clutter": 0}, 1800, "1,800 train scenes of 1,257 images"),
    ],
)
def test_a_source_says_how_many_images_its_scenes_show(split, options, scenes, said):
    assert make_source("digits", split, **options).sample_text(scenes) == said


def test_stage_1_follows_a_policy_as_it_was_trained(small_perception, tmp_path):
    world = make_world(perception=small_perception, glimpses=2, stop=True, zoom=True, time_left=True)
    agent = quick("grpo", world)
    agent.save(tmp_path / "p.safetensors")
    policy = read_policy(tmp_path / "p.safetensors")
    follow = policy_gazes(policy, world.source, world.perception, glimpses=2)
    scenes = world.scenes(torch.arange(200))
    followed = follow(scenes, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    *_, last = rollout(world, agent, world.start(scenes), generator=generator, greedy=False)
    assert followed.shape == (200, 3, 2)
    assert torch.equal(followed.nan_to_num(9), last.after.gazes[..., :2].nan_to_num(9))
    assert not followed[:, 0].any()
    assert followed.isnan().any()  # some have stopped
    assert policy_gazes(policy, world.source, world.perception, glimpses=4)(scenes, generator).shape == (200, 5, 2)


def test_stage_1_follows_no_policy_of_another_perception(small_world, small_perception, tmp_path):
    quick("grpo", small_world).save(tmp_path / "p.safetensors")
    other = Perception.load(small_perception).frozen()
    next(other.parameters()).data += 1
    with pytest.raises(ValueError, match="was trained on perception"):
        policy_gazes(read_policy(tmp_path / "p.safetensors"), small_world.source, other, glimpses=2)


@pytest.mark.parametrize(
    ("gazes", "fault"),
    [
        (torch.rand(1, 4, 2, generator=torch.Generator().manual_seed(0)).expand(100, 4, 2), "same spots whatever"),
        (torch.full((100, 4, 2), 5.0), "100% of its gazes are stuck in a corner"),
        (torch.full((5, 4, 2), torch.nan), "it never takes a glimpse"),
    ],
    ids=["same spots", "corner", "no glimpse"],
)
def test_a_collapsed_policy_is_called_so(gazes, fault):
    assert fault in collapse(gazes)


def test_a_policy_that_looks_around_has_not_collapsed():
    gazes = torch.rand(100, 4, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert collapse(gazes) is None


def test_gazes_outside_are_clipped_before_they_are_judged():
    assert gaze_statistics(torch.full((3, 2, 2), -2.0)) == {"gaze_spread": 0.0, "corner_rate": 1.0}


def test_the_spread_is_a_standard_deviation():
    gazes = torch.tensor([-0.5, 0.5]).view(2, 1, 1).expand(2, 3, 2)
    assert gaze_statistics(gazes)["gaze_spread"] == pytest.approx(0.5)


def test_gazes_that_were_not_taken_do_not_count():
    gazes = torch.rand(500, 4, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gazes[1:, 2:] = torch.nan  # one scene alone goes on
    assert gaze_statistics(gazes)["gaze_spread"] == pytest.approx(0.577, abs=0.03)
    assert collapse(gazes) is None


def test_statistics_of_a_single_gaze():
    assert gaze_statistics(torch.full((1, 1, 2), 0.95)) == {"gaze_spread": 0.0, "corner_rate": 1.0}
