"""Scenes with several pictures: what is searched for, where it lies, and which question is asked."""

import numpy as np
import pytest
import torch
from PIL import Image

from foveal_env.make import make_source, make_world
from foveal_env.sources.arranged import GAP


def test_the_same_scene_has_another_target_under_another_prompt():
    source = make_source("search", "test", canvas=[90, 200], candidates=4, background="photos")
    index = torch.arange(12)
    asked = [source.scenes(index, question=question) for question in range(4)]
    for other in asked[1:]:
        for row in range(12):
            assert torch.equal(asked[0].images.pixels(row), other.images.pixels(row))
        assert (asked[0].label != other.label).all()
    for one in asked:
        assert torch.equal(one.prompt.argmax(dim=1), one.label)
        assert (one.prompt.sum(dim=1) == 1).all()
        assert (one.box[:, :2].abs() + one.box[:, 2:] / 2 <= 1.0001).all()
    side = asked[0].images.size[:, :1].float()
    for number, one in enumerate(asked):
        for other in asked[:number]:
            apart = (one.box[:, :2] - other.box[:, :2]).abs().amax(dim=1) * side[:, 0] / 2
            assert (apart >= 28 + GAP - 1e-3).all()  # no two candidates touch


@pytest.mark.parametrize("canvas", [60, 1000, 1350, 2500])
def test_candidates_lie_everywhere(canvas):
    source = make_source("search", "test", canvas=canvas)
    corner = source.corners(torch.arange(3000), canvas, torch.full((4,), 28))
    assert corner.min() >= 0
    assert corner.max() + 28 <= canvas
    room = canvas - 28
    for axis in range(2):
        assert corner[..., axis].max() > room * 0.9
        assert corner[..., axis].min() < room * 0.1


def test_the_target_is_where_its_box_is():
    source = make_source("search", "test", canvas=100, clutter=0, candidates=2)
    scenes = source.scenes(torch.arange(20))
    for row in range(20):
        shown = _target(scenes, row)
        assert any(torch.equal(shown, picture) for picture in source.pictures[source.labels == scenes.label[row]])


def _target(scenes, row):
    size = scenes.images.size[row, 0]
    left, top = ((scenes.box[row, :2] + 1) * size / 2 - 14).round().long().tolist()
    return scenes.images.pixels(row)[0, top : top + 28, left : left + 28]


@pytest.mark.parametrize(("aim", "share"), [(0.0, 0.25), (0.5, 0.625), (1.0, 1.0)])
def test_stage_one_looks_near_every_candidate_unless_told_to_aim(aim, share):
    source = make_source("search", "train", canvas=[100, 120], aim=aim)
    scenes = source.scenes(torch.arange(600))
    box = source.candidate_boxes(scenes, torch.Generator().manual_seed(0), progress=0.0)
    candidates = torch.stack([source.scenes(torch.arange(600), question=question).box for question in range(4)], dim=1)
    chosen = (candidates == box[:, None]).all(dim=-1)
    assert (chosen.sum(dim=1) == 1).all()
    assert chosen[:, 0].float().mean().item() == pytest.approx(share, abs=0.05)
    with pytest.raises(ValueError, match="aim lies in"):
        make_source("search", "train", aim=2.0)


def test_a_prompt_can_be_an_example_of_the_class():
    source = make_source("search", "test", canvas=100, prompt="example")
    scenes = source.scenes(torch.arange(8))
    assert scenes.prompt.shape == (8, 196)
    assert 0 < scenes.prompt.max() <= 1
    own = source.pictures[(source.labels[:, None] == scenes.label).nonzero()[:, 0]]
    assert len(own) > 8
    shown = torch.stack([_target(scenes, row) for row in range(8)])
    small = torch.nn.functional.adaptive_avg_pool2d(shown[:, None].float() / 255, 14).flatten(1)
    assert ((small - scenes.prompt).abs().amax(dim=1) > 0.05).all()  # another picture of that class
    with pytest.raises(ValueError, match="unknown prompt 'word'; known: class, example"):
        make_source("search", "test", prompt="word")


def test_candidates_can_be_the_classes_of_a_folder(tmp_path):
    random = np.random.default_rng(0)
    for name in ("cat", "dog", "eel"):
        (tmp_path / name).mkdir()
        for number in range(12):
            Image.fromarray(random.integers(256, size=(40, 50, 3), dtype=np.uint8)).save(
                tmp_path / name / f"{number}.png"
            )
    source = make_source("search", "train", of="folder", folder=str(tmp_path), candidates=3, canvas=120, side=32)
    assert source.pictures.shape[1:] == (32, 32)
    assert source.scenes(torch.arange(4)).box[:, 2].tolist() == pytest.approx([64 / 120] * 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"canvas": 20}, "the target of 28 px is larger than the canvas of 20 px"),
        ({"canvas": 60, "candidates": 9}, "9 pictures of 28 px have no place on a canvas of 60 px"),
        ({"candidates": 1}, "candidates must be 2 to 10"),
        ({"of": "cifar10"}, "candidates come from a digit-type source or a folder"),
        ({"background": "nowhere"}, "there are none in 'nowhere'"),
        ({"canvas": []}, "a canvas and clutter of at least 0 are needed"),
    ],
)
def test_scenes_that_cannot_be_made_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_source("search", "test", **options)


def test_each_question_has_its_answer():
    source = make_source("questions", "test", clutter=0)
    index = torch.arange(60)
    for number, name in enumerate(source.questions):
        scenes = make_source("questions", "test", clutter=0, ask=name).scenes(index)
        assert (scenes.prompt[:, :3].argmax(dim=1) == number).all()
        assert (scenes.prompt[:, 3:].sum(dim=1) == (number > 0)).all()
        for row in range(60):
            assert torch.equal(scenes.images.pixels(row), source.scenes(index).images.pixels(row))
    assert set(scenes.label.tolist()) == {0, 1, 2, 3}  # of "count"
    assert source.scenes(index).prompt[:, :3].sum(dim=0).min() > 8


def test_an_episode_ends_as_soon_as_the_target_is_found(searching, monkeypatch):
    world = make_world(perception=searching, glimpses=3, task_options={"tolerance": 0.8}, reward="gain")
    episode = world.start(world.scenes(torch.arange(40)))
    begun, total, seen, see = episode, torch.zeros(40), [], world._see
    monkeypatch.setattr(world, "_see", lambda state, *rest: seen.append(len(state)) or see(state, *rest))
    for _ in range(3):
        before = episode
        episode, reward = world.look(episode, torch.rand(40, 2) * 2 - 1)
        assert torch.equal(episode.state[before.ended], before.state[before.ended])
        assert not reward[before.ended].any()
        assert torch.equal(episode.ended, before.ended | episode.outcome.correct | (episode.glimpses == 3))
        total += reward
        assert seen[-1] == (~before.ended).sum()  # the encoder is not asked about episodes that are over
    assert 0 < (episode.glimpses < 3).sum() < 40
    assert torch.allclose(total, begun.outcome.loss - episode.outcome.loss, atol=1e-5)
    taken = (~episode.gazes[:, 1:, 0].isnan()).sum(dim=1)
    assert torch.equal(taken, episode.glimpses)
