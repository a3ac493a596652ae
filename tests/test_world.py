import numpy as np
import pytest
import torch

from foveal_env.make import make_source, make_world
from foveal_env.world import World


def play(world, index, gazes):
    episode = world.start(world.scenes(index))
    rewards = []
    for gaze in gazes:
        episode, reward = world.look(episode, gaze)
        rewards.append(reward)
    return episode, torch.stack(rewards, dim=1)


def gazes(batch, steps=3):
    return torch.rand(steps, batch, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_look_changes_nothing_that_it_was_given(small_world):
    episode = small_world.start(small_world.scenes(torch.arange(4)))
    kept = [episode.state.clone(), episode.gazes.clone(), episode.glimpses.clone(), episode.outcome.loss.clone()]
    gaze = torch.full((4, 2), 3.0)
    first, reward = small_world.look(episode, gaze)
    again, same = small_world.look(episode, gaze)
    assert torch.equal(first.state, again.state)
    assert torch.equal(reward, same)
    assert torch.equal(gaze, torch.full((4, 2), 3.0))
    now = [episode.state, episode.gazes, episode.glimpses, episode.outcome.loss]
    assert all(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in zip(kept, now, strict=True))
    assert first.gazes[0, 1].tolist() == [1, 1]  # clipped
    assert first.glimpses.tolist() == [1] * 4


def test_a_target_is_marked_if_it_is_known_and_no_image_is_the_answer(small_world, monkeypatch):
    def marks(world):
        episode = world.start(world.scenes(torch.arange(2)))
        return episode.scenes.box[1:].numpy(), world.marks(episode.scenes, 1, episode.outcome.prediction[1])

    box, known = marks(small_world)
    assert np.array_equal(known["truth"], box)
    assert known["answer_image"] is None
    monkeypatch.setattr(type(small_world.source), "knows_target", False)
    assert marks(small_world)[1]["truth"] is None
    monkeypatch.undo()
    _, answer = marks(make_world(perception="reconstruct"))
    assert answer["truth"] is None
    assert answer["answer_image"] is not None


@pytest.mark.parametrize("first_look", ["centre", None])
def test_the_rewards_of_gain_telescope(small_perception, first_look):
    world = make_world(perception=small_perception, glimpses=3, first_look=first_look)
    start = world.start(world.scenes(torch.arange(5)))
    end, rewards = play(world, torch.arange(5), gazes(5))
    assert torch.allclose(rewards.sum(dim=1), start.outcome.loss - end.outcome.loss, atol=1e-5)
    assert rewards.abs().max() > 1e-6
    assert torch.isnan(start.gazes[:, 0]).all() == (first_look is None)


def test_other_rewards(small_perception):
    rewards = {}
    for name in ("probability", "correct"):
        world = make_world(perception=small_perception, glimpses=3, reward=name)
        end, rewards[name] = play(world, torch.arange(50), gazes(50))
    assert torch.equal(rewards["probability"][:, -1], end.outcome.score)
    assert not rewards["correct"][:, :-1].any()
    assert torch.equal(rewards["correct"][:, -1], end.outcome.correct.float())
    assert 0 < rewards["correct"].sum() < 50


def test_a_batch_of_five_is_five_batches_of_one(small_world):
    steps = gazes(5)
    together, rewards = play(small_world, torch.arange(5), steps)
    for row in range(5):
        alone, reward = play(small_world, torch.tensor([row]), steps[:, row : row + 1])
        assert torch.allclose(alone.state[0], together.state[row], atol=1e-5)
        assert torch.allclose(reward[0], rewards[row], atol=1e-5)


def test_a_group_is_the_same_scene_repeated(small_world):
    scenes = small_world.scenes(torch.arange(2))
    group = scenes.rows(torch.tensor([0, 0, 0, 1, 1, 1]))
    assert group.images.texels is scenes.images.texels
    episode = small_world.start(group)
    assert torch.equal(episode.state[0], episode.state[2])
    assert not torch.equal(episode.state[0], episode.state[3])


def test_replacing_rows_keeps_the_others(small_world):
    episode = small_world.start(small_world.scenes(torch.arange(4)))
    after, _ = small_world.look(episode, torch.rand(4, 2))
    fresh = small_world.start(small_world.scenes(torch.tensor([10, 11])))
    mixed = after.replaced(torch.tensor([False, True, False, True]), fresh)
    assert mixed.scenes.index.tolist() == [0, 10, 2, 11]
    assert mixed.glimpses.tolist() == [1, 0, 1, 0]
    assert torch.equal(mixed.state[2], after.state[2])
    for row, source in enumerate((0, 10, 2, 11)):
        expected = small_world.scenes(torch.tensor([source])).images.pixels(0)
        assert torch.equal(mixed.scenes.images.pixels(row), expected)


def test_an_observation_can_show_the_time_left(small_perception):
    world = make_world(perception=small_perception, glimpses=2, time_left=True)
    episode = world.start(world.scenes(torch.arange(3)))
    assert world.observe(episode).shape == (3, *world.observation_shape)
    seen = [world.observe(episode)[0, -1].unique().tolist()]
    for _ in range(2):
        episode, _ = world.look(episode, torch.zeros(3, 2))
        seen.append(world.observe(episode)[0, -1].unique().tolist())
    assert seen == [[1.0], [0.5], [0.0]]
    assert episode.ended.all()


def test_a_gradient_reaches_the_gaze(small_world):
    gaze = torch.full((2, 2), 0.1, requires_grad=True)
    episode, _ = small_world.look(small_world.start(small_world.scenes(torch.arange(2))), gaze)
    episode.outcome.loss.sum().backward()
    assert gaze.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perception": "nope"}, "unknown perception 'nope'; known: .*digits"),
        ({"source": "nope"}, "unknown source"),
        ({"glimpses": 0}, "glimpses must be at least 1"),
        ({"glimpses": 2.5}, "glimpses must be at least 1, and whole, got 2.5"),
        ({"reward": "nope"}, "unknown reward 'nope'; known: gain, probability, correct"),
        ({"first_look": "left"}, "unknown first_look"),
        ({"glimpse_cost": -1}, "glimpse_cost must be at least 0, got -1"),
        ({"zoom_reach": 0}, "zoom_reach must be above 0, got 0"),
        ({"precision": "int8"}, "unknown precision 'int8'; known: float32, bfloat16, auto"),
        ({"split": "nope"}, "unknown split"),
        ({"canvas": 5}, "canvas"),
        ({"task": "search"}, "unknown task 'search' of this perception"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_impossible_worlds_are_refused(small_perception, options, message):
    with pytest.raises(ValueError, match=message):
        make_world(**{"perception": small_perception, **options})


@pytest.mark.parametrize("options", [{"source_options": {"clutterr": 1}}, {"glimpsess": 3}])
def test_unknown_options_are_named(small_perception, options):
    with pytest.raises(TypeError, match=r"no option '(clutterr|glimpsess)'; known: "):
        make_world(perception=small_perception, **options)


def test_a_perception_must_fit_the_source(small_world):
    source = make_source("digits", "train", canvas=40)
    strange = type("Strange", (type(source),), {})("train", canvas=40)
    strange.channels = 3
    with pytest.raises(ValueError, match="does not fit the source: its channels is 1, the source's is 3"):
        World(strange, small_world.perception)
    strange.channels, strange.classes = 1, ("a", "b")
    with pytest.raises(ValueError, match="does not fit the source: its task_config"):
        World(strange, small_world.perception)


def test_perceptions_and_sources_are_shared(small_perception):
    first, second = make_world(perception=small_perception), make_world(perception=small_perception, glimpses=2)
    assert first.perception is second.perception
    assert first.source is second.source
    assert not any(parameter.requires_grad for parameter in first.perception.parameters())


def test_another_canvas_keeps_the_other_options(small_perception):
    world = make_world(perception=small_perception, canvas=60)
    assert (world.source.canvas, world.source.clutter) == (60, 2)
