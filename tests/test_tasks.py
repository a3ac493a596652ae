"""What the tasks ask, and how they score the answers."""

import itertools
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import SMALL
from PIL import Image

from foveal_env.env import FovealEnv, FovealVectorEnv
from foveal_env.make import make_source, make_world
from foveal_env.perception import Perception
from foveal_env.tasks.locate import Locate, distance, iou
from foveal_env.tasks.reconstruct import Reconstruct
from foveal_env.tasks.search import CELLS
from foveal_env.tasks.several import Several
from foveal_env.world import World


def test_a_box_is_judged_by_distance_and_overlap():
    source = make_source("search", "test")
    scenes = source.scenes(torch.arange(5))
    task = Locate((8, 12))
    perfect = task.score(scenes.box.clone(), scenes)
    assert perfect.loss.max() < 1e-4
    assert perfect.probability.tolist() == pytest.approx([1] * 5, abs=1e-4)
    assert perfect.correct.all()
    moved = scenes.box + torch.tensor([1.0, 0, 0, 0]) * scenes.box[:, 2:3]  # by its own width
    judged = task.score(moved, scenes)
    assert judged.loss.tolist() == pytest.approx([np.log(2)] * 5, abs=1e-4)
    assert not judged.score.any()
    assert not judged.correct.any()
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert iou(unit, unit + torch.tensor([0.5, 0, 0, 0])).item() == pytest.approx(1 / 3)
    assert distance(torch.tensor([[0.3, 0.4]]), unit).item() == pytest.approx(0.5)


def test_success_and_spl_of_a_search(searching):
    world = make_world(perception=searching, split="test", glimpses=3, task_options={"tolerance": 0.5})
    task, scenes = world.perception.task, world.scenes(torch.arange(3))
    pointed = scenes.box[:, :2] + torch.tensor([[0.49, 0], [0.51, 0], [0, 0]]) * scenes.box[:, 2:]
    cells = torch.zeros(3, CELLS, CELLS)
    column, row = ((scenes.box[0, :2] + 1) / 2 * CELLS).long().tolist()
    cells[0, row, column] = 5.0
    judged = task.score(torch.cat([pointed, cells.flatten(1)], dim=1), scenes)
    assert judged.correct.tolist() == [True, False, True]
    assert judged.score.tolist() == pytest.approx([np.exp(5) / (np.exp(5) + 255), 1 / 256, 1 / 256], rel=1e-4)
    assert judged.loss[1].item() == pytest.approx(np.log(1.51) + np.log(256), rel=1e-4)
    episode = world.start(scenes)
    for number, gaze in enumerate((scenes.box[:, :2], scenes.box[:, :2], -scenes.box[:, :2])):
        episode, _ = world.look(episode, gaze)
        assert episode.glimpses.max() == number + 1
    found = torch.tensor([True, False, True])
    told = type(episode.outcome)(*[episode.outcome.loss, episode.outcome.score, found, pointed])
    info = task.info(type(episode)(scenes, episode.state, told, episode.gazes, episode.glimpses, episode.ended))
    gazes = episode.gazes.nan_to_num(9.0)
    for row in range(3):
        taken = [gaze for gaze in gazes[row].numpy() * 35 if abs(gaze[0]) < 100]
        path = sum(np.linalg.norm(b - a) for a, b in itertools.pairwise(taken))
        straight = max(0, np.linalg.norm(scenes.box[row, :2].numpy() * 35) - 14)
        assert info["path_length"][row].item() == pytest.approx(path, rel=1e-4)
        question = straight / max(path, straight) if straight else 1.0
        assert info["spl"][row].item() == pytest.approx(found[row].item() * question, rel=1e-4)


def test_a_tolerance_of_zero_is_refused(searching):
    with pytest.raises(ValueError, match="tolerance must be above 0"):
        make_world(perception=searching, task_options={"tolerance": 0})
    with pytest.raises(TypeError, match="toleranze"):
        make_world(perception=searching, task_options={"toleranze": 1})


def test_several_questions_are_judged_by_their_own_heads():
    source = make_source("questions", "test")
    scenes = source.scenes(torch.arange(30))
    task = Several((8, 12), **Several.config_for(source))
    state = torch.randn(30, 8, 12)
    judged, asked = task.score(task(state), scenes), scenes.prompt[:, :3].argmax(dim=1)
    assert judged.prediction.shape == (30, 2)
    for number, head in enumerate(task.heads.values()):
        rows = (asked == number).nonzero().flatten()
        own = head.score(head(state[rows]), scenes.rows(rows))
        assert torch.equal(judged.loss[rows], own.loss)
        assert torch.equal(judged.correct[rows], own.correct)
    where = int((asked == 1).nonzero()[0])
    assert torch.equal(task.boxes(judged.prediction[where], scenes.prompt[where])[0, :2], judged.prediction[where])
    large = int((asked == 0).nonzero()[0])
    assert not len(task.boxes(judged.prediction[large], scenes.prompt[large]))
    assert task.answer_text(judged.prediction[large], scenes.prompt[large]) == str(int(judged.prediction[large, 0]))


def test_what_a_question_tells_is_of_the_scenes_that_ask_it():
    perception = Perception.build(make_source("questions", canvas=180), task="several", patch=8, zooms=2, width=24)
    world = World(make_source("questions", "test", canvas=180), perception.frozen(), glimpses=2)
    scenes = world.scenes(torch.arange(20))
    info = perception.task.info(world.start(scenes))
    asked = perception.task.asked(scenes.prompt)
    assert set(info) == {"distance", "path_length", "spl"}
    assert torch.equal(~info["distance"].isnan(), asked == 1)
    env = FovealVectorEnv(20, world=world)
    _, infos = env.reset(options={"scene": np.arange(20)})
    assert infos["_distance"].tolist() == (asked == 1).tolist()
    assert not np.isnan(infos["distance"]).any()
    for scene in range(6):
        _, told = FovealEnv(world=world).reset(options={"scene": scene})
        assert ("distance" in told) == (asked[scene] == 1)
    assert len(make_source("search", canvas=[60, 100]).scenes(torch.arange(0))) == 0


def test_a_reconstruction_of_the_mean_explains_nothing_and_the_picture_everything():
    source = make_source("digits", "test", canvas=40, clutter=0)
    scenes = source.scenes(torch.arange(200))
    task = Reconstruct((8, 12), **{**Reconstruct.config_for(source), **Reconstruct.statistics_of(source)})
    grey = task.score(torch.full((200, 1, 16, 16), task.mean), scenes)
    assert grey.loss.mean().item() == pytest.approx(1, abs=0.1)
    perfect = task.score(scenes.images.thumbnails(16), scenes)
    assert not perfect.loss.any()
    assert (perfect.probability == 1).all()
    assert scenes.images.thumbnails(40)[0].mul(255).round().to(torch.uint8).equal(scenes.images.pixels(0))


def test_a_perception_is_asked_what_it_has_learned_to_be_asked(tmp_path):
    for name in range(10):
        (tmp_path / f"class {name}").mkdir()
        for number in range(12):
            noise = np.random.default_rng(number).integers(256, size=(30, 30), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / f"class {name}" / f"{number}.png")
    other = {"of": "folder", "folder": str(tmp_path)}
    with pytest.raises(ValueError, match=r"its prompts is .'0', '1'.*the source's is .'class 0'"):
        gym.make("foveal_env/Search-v0", source_options=other)
    with pytest.raises(ValueError, match=r"its prompts is .'0', '1'.*an example of 14 x 14 px"):
        gym.make("foveal_env/Search-v0", source_options={"prompt": "example"})
    world = make_world(perception="search", canvas=100)
    with pytest.raises(ValueError, match=r"a scene has candidates 0 to 3, question .7"):
        world.source.scenes(torch.arange(2), question=7)
    scenes = world.source.scenes(torch.arange(2))
    with pytest.raises(ValueError, match="a prompt must be finite"):
        world.start(replace(scenes, prompt=scenes.prompt * torch.nan))


def test_options_of_several_questions_go_to_the_question(tmp_path):
    strict = make_world(perception="questions", task_options={"where": {"tolerance": 0.01}})
    assert strict.perception.task.heads["where"].tolerance == 0.01
    assert make_world(perception="questions").perception.task.heads["where"].tolerance == 0.5
    for options, message in (
        ({"where": {"tolerance": 0}}, "tolerance must be above 0"),
        ({"tolerance": 0.25}, "unknown question tolerance; known: large, where, count"),
    ):
        with pytest.raises(ValueError, match=message):
            make_world(perception="questions", task_options=options)
    mixture = make_world(perception="questions", task="several").scenes(torch.arange(40)).prompt[:, :3]
    assert (mixture.sum(dim=0) > 0).all()
    asked = make_world(perception="questions", task="count").scenes(torch.arange(40)).prompt[:, :3]
    assert asked.sum(dim=0).tolist() == [0, 0, 40]
    with pytest.raises(ValueError, match="unknown task 'all' of this perception; known: several, large, where, count"):
        make_world(perception="questions", task="all")


def test_boxes_that_are_needed_and_canvases_that_are_none(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(12):
            Image.new("L", (30, 30), number).save(tmp_path / name / f"{number}.png")
    pictures = {"source": "folder", "source_options": {"folder": str(tmp_path), "channels": 1}}
    with pytest.raises(ValueError, match=r"the task 'locate' needs to know where the target is.*no boxes"):
        gym.make("foveal_env/Locate-v0", **pictures)
    with pytest.raises(ValueError, match=r"the source 'folder' have no canvas.*canvas=None"):
        gym.make("foveal_env/Classify-v0", canvas=100, **pictures)
    with pytest.raises(ValueError, match=r"a canvas has whole px, got 250.5"):
        gym.make("foveal_env/Search-v0", canvas=250.5)


class Bold(Locate):
    """Where is it? Rewarded for being right at once."""

    rewards = {"soon": lambda before, after, last: (after.correct & ~before.correct).float()}  # noqa: RUF012


def test_a_task_can_have_rewards_of_its_own():
    perception = Perception.build(make_source("digits"), task=f"{__name__}:Bold", **SMALL).frozen()
    world = World(make_source("digits"), perception, reward="soon")
    _, reward = world.look(world.start(world.scenes(torch.arange(5))), torch.zeros(5, 2))
    assert set(reward.tolist()) <= {0.0, 1.0}
    with pytest.raises(ValueError, match="unknown reward 'late'; known: gain, probability, correct, soon"):
        World(make_source("digits"), perception, reward="late")
