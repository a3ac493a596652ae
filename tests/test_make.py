"""From names and ready objects to worlds, and the defaults of the ids."""

import gymnasium as gym
import pytest
import torch

import foveal_env
from foveal_env.make import load_frozen, make_source, make_world, with_defaults
from foveal_env.perception import Perception


@pytest.fixture
def whole_images(folder, tiny, tmp_path):
    """The path of a small perception for the images of a folder, which lie on no canvas."""
    options = {"folder": str(folder)}
    perception = Perception.build(make_source("folder", "train", **options), **tiny)
    perception.save(tmp_path / "mine.safetensors", source="folder", source_options=options)
    return str(tmp_path / "mine.safetensors")


def test_an_id_takes_a_perception_of_ones_own(whole_images, small_perception):
    env = gym.make("foveal_env/Locate-v0", perception=whole_images).unwrapped
    assert (env.world.source.canvas, env.world.rules.glimpses) == (None, 8)
    batch = gym.make_vec("foveal_env/Locate-v0", num_envs=2, perception=small_perception).unwrapped
    assert batch.world.source.canvas == 40  # its own, and not the 250 px of the id


def test_the_canvas_of_an_id_holds_for_its_own_perception():
    assert gym.make("foveal_env/Locate-v0").unwrapped.world.source.canvas == 250
    assert gym.make("foveal_env/Locate-v0", canvas=100).unwrapped.world.source.canvas == 100
    assert gym.make("foveal_env/Locate-v0", canvas=None).unwrapped.world.source.canvases == (100, 250)
    own = {"source_options": {"canvas": 100}}
    assert gym.make("foveal_env/Locate-v0", **own).unwrapped.world.source.canvas == 100


@pytest.mark.parametrize(
    ("options", "canvas"),
    [
        ({}, 250),
        ({"perception": "locate"}, 250),
        ({"source": "ladder"}, 250),
        ({"perception": "mine"}, "own"),
        ({"perception": "mine", "canvas": 60}, 60),
        ({"source": "folder"}, "own"),
        ({"source_options": {"canvas": 60}}, "own"),
        ({"canvas": None}, None),
    ],
    ids=str,
)
def test_the_defaults_of_an_id(options, canvas):
    made = with_defaults(foveal_env.IDS["foveal_env/Locate-v0"], options)
    assert made.get("canvas", "own") == canvas
    assert made["glimpses"] == 8


def test_an_id_takes_a_world(small_world):
    assert gym.make("foveal_env/Locate-v0", world=small_world).unwrapped.world.source.canvas == 40


def test_a_perception_that_is_frozen_is_used_as_it_is(small_perception):
    mine = Perception.load(small_perception).frozen()
    assert make_world(perception=mine).perception is mine
    assert load_frozen(mine) is mine


def test_a_perception_under_training_is_copied(small_perception):
    mine = Perception.load(small_perception)
    world = make_world(perception=mine, precision="bfloat16")
    assert mine.training
    assert mine.precision == torch.float32
    assert world.perception.precision == torch.bfloat16
    assert not any(weight.requires_grad for weight in world.perception.parameters())
    before = mine.fingerprint
    assert world.perception.fingerprint == before
    with torch.no_grad():
        next(mine.parameters()).add_(1)
    assert world.perception.fingerprint == before


def test_a_ready_perception_makes_the_world_of_its_file(small_perception):
    env = gym.make("foveal_env/Classify-v0", perception=Perception.load(small_perception), glimpses=2)
    same = gym.make("foveal_env/Classify-v0", perception=small_perception, glimpses=2)
    assert (env.reset(seed=3)[0] == same.reset(seed=3)[0]).all()
    with pytest.raises(TypeError, match="not JSON serializable"):
        env.unwrapped.spec.to_json()


def test_task_options_of_a_ready_perception(searching):
    mine = Perception.load(searching).frozen()
    world = make_world(perception=mine, task_options={"tolerance": 0.25})
    assert (world.perception.task.tolerance, mine.task.tolerance) == (0.25, 0.5)


def test_a_perception_of_no_known_source_needs_one(tiny):
    mine = Perception.build(make_source("digits", "train"), **tiny)
    with pytest.raises(ValueError, match="does not say which source it was trained on: name one"):
        make_world(perception=mine)
    assert make_world(perception=mine, source="digits").source.canvas == 100


def test_a_canvas_for_scenes_without_one_is_refused(whole_images):
    with pytest.raises(ValueError, match="scenes of the source 'folder' have no canvas, got canvas=60"):
        make_world(perception=whole_images, canvas=60)


def test_options_of_an_id_are_changed_one_by_one():
    crowd = foveal_env.IDS["foveal_env/Crowd-v0"]
    made = with_defaults(crowd, {"task_options": {"tolerance": 0.3}, "source_options": {"singles": 2}})
    assert made["task_options"] == {**crowd["task_options"], "tolerance": 0.3}
    assert made["source_options"] == {"candidates": 36, "singles": 2}
    assert not {"task_options", "source_options", "canvas"} & set(with_defaults(crowd, {"perception": "digits"}))
