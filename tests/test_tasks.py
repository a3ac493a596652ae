"""The contract of a task, run on every task and source; and how each scores its answers."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from image_files import write_folder

from foveal_env.env import FovealEnv, FovealVectorEnv
from foveal_env.make import make_source, make_world
from foveal_env.perception import Perception
from foveal_env.sources import SOURCES
from foveal_env.tasks import TASKS
from foveal_env.tasks.classify import Classify
from foveal_env.tasks.locate import Locate, distance, iou
from foveal_env.tasks.point import Point
from foveal_env.tasks.reconstruct import Reconstruct
from foveal_env.tasks.search import CELLS, Search
from foveal_env.tasks.several import Several
from foveal_env.world import Rules, World

LARGE, WHERE, COUNT = range(3)  # the questions of the source of that name


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("name", sorted(SOURCES))
def test_contract_of_a_task(name, task, tiny, open_source):
    source = open_source(name)
    if task == "several" and not source.questions:
        with pytest.raises(ValueError, match="needs a source that asks several questions"):
            Perception.build(source, task=task)
        return
    perception = Perception.build(source, task=task, **tiny)
    if perception.task.needs_target and not source.knows_target:
        with pytest.raises(ValueError, match="needs to know where the target is"):
            perception.check_fits(source)
        return
    for split in ("test", "train"):
        perception.check_fits(open_source(name, split))
    scenes = source.scenes(torch.arange(6))
    answer = perception.task(torch.randn(6, *perception.encoder.state_shape))
    assert isinstance(answer, torch.Tensor)
    outcome = perception.task.score(answer, scenes)
    assert outcome.prediction.reshape(6, -1).shape[1] == perception.task.answer_size
    assert outcome.loss.shape == outcome.score.shape == outcome.correct.shape == (6,)
    assert (outcome.loss >= 0).all()
    assert ((outcome.score >= 0) & (outcome.score <= 1)).all()
    assert isinstance(perception.task.answer_text(outcome.prediction[0], scenes.prompt[0]), str)
    assert perception.task.boxes(outcome.prediction[0], scenes.prompt[0]).shape[1:] == (4,)


def test_the_score_of_a_class_is_the_probability_of_the_truth():
    source = make_source("digits", "test", canvas=40)
    scenes, task = source.scenes(torch.arange(10)), Classify((2, 8), **Classify.config_for(source))
    right = torch.nn.functional.one_hot(scenes.label, 10) * 30.0
    perfect, wrong = task.score(right, scenes), task.score(right.roll(1, dims=1), scenes)
    assert perfect.loss.max() < 1e-6
    assert perfect.correct.all()
    assert perfect.score.min() > 0.999
    assert wrong.loss.min() > 10
    assert not wrong.correct.any()
    assert task.score(torch.zeros(10, 10), scenes).score.tolist() == pytest.approx([0.1] * 10)


def test_the_score_of_a_box_is_the_overlap():
    scenes, task = make_source("search", "test").scenes(torch.arange(5)), Locate((8, 12))
    perfect = task.score(scenes.box.clone(), scenes)
    assert perfect.loss.max() < 1e-4
    assert perfect.score.tolist() == pytest.approx([1] * 5, abs=1e-4)
    assert perfect.correct.all()
    beside = task.score(scenes.box + torch.tensor([1.0, 0, 0, 0]) * scenes.box[:, 2:3], scenes)  # by its own width
    assert beside.loss.tolist() == pytest.approx([np.log(2)] * 5, abs=1e-4)
    assert not beside.score.any()
    assert not beside.correct.any()


def test_the_score_of_a_point_falls_with_its_distance():
    scenes, task = make_source("search", "test").scenes(torch.arange(5)), Point((8, 12))
    away = torch.tensor([0.0, 0.4, 0.6, 1.0, 3.0])
    outcome = task.score(scenes.box[:, :2] + away[:, None] * scenes.box[:, 2:] * torch.tensor([1.0, 0.0]), scenes)
    assert outcome.score.tolist() == pytest.approx((1 / (1 + away)).tolist(), abs=1e-4)
    assert outcome.loss.tolist() == pytest.approx(away.log1p().tolist(), abs=1e-4)
    assert outcome.correct.tolist() == [True, True, False, False, False]


def test_distances_and_overlaps_are_those_of_geometry():
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert iou(unit, unit + torch.tensor([0.5, 0, 0, 0])).item() == pytest.approx(1 / 3)
    assert distance(torch.tensor([[0.3, 0.4]]), unit).item() == pytest.approx(0.5)


@pytest.fixture
def pointed(searching):
    """A world of searches, three scenes, and points that lie just inside, just outside and on the target."""
    world = make_world(perception=searching, split="test", glimpses=3, task_options={"tolerance": 0.5})
    scenes = world.scenes(torch.arange(3))
    points = scenes.box[:, :2] + torch.tensor([[0.49, 0], [0.51, 0], [0, 0]]) * scenes.box[:, 2:]
    return world, scenes, points


def test_the_score_of_a_search_is_the_probability_of_the_targets_cell(pointed):
    world, scenes, points = pointed
    cells = torch.zeros(3, CELLS, CELLS)
    column, row = ((scenes.box[0, :2] + 1) / 2 * CELLS).long().tolist()
    cells[0, row, column] = 5.0
    outcome = world.perception.task.score(torch.cat([points, cells.flatten(1)], dim=1), scenes)
    assert outcome.correct.tolist() == [True, False, True]
    assert outcome.score.tolist() == pytest.approx([np.exp(5) / (np.exp(5) + 255), 1 / 256, 1 / 256], rel=1e-4)
    assert outcome.loss[1].item() == pytest.approx(np.log(1.51) + np.log(256), rel=1e-4)


def test_spl_is_success_weighted_by_the_length_of_the_path(pointed):
    world, scenes, points = pointed
    episode = world.start(scenes)
    for gaze in (scenes.box[:, :2], scenes.box[:, :2], -scenes.box[:, :2]):
        episode, _ = world.look(episode, gaze)
    success = torch.tensor([True, False, True])
    info = world.info(replace(episode, outcome=replace(episode.outcome, correct=success, prediction=points)))
    for row in range(3):
        gazes = [gaze for gaze in episode.gazes[row].numpy() * 35 if not np.isnan(gaze).any()]  # px of 70
        path = sum(np.linalg.norm(after - before) for before, after in itertools.pairwise(gazes))
        straight = max(0, np.linalg.norm(scenes.box[row, :2].numpy() * 35) - 14)
        assert info["path_length"][row].item() == pytest.approx(path, rel=1e-4)
        spl = straight / max(path, straight) if straight else 1.0
        assert info["spl"][row].item() == pytest.approx(success[row].item() * spl, rel=1e-4)
    assert info["distance"].tolist() == pytest.approx([0.49, 0.51, 0], abs=1e-3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tolerance": 0}, ValueError, "tolerance must be above 0 sides of the target, got 0"),
        ({"toleranze": 1}, TypeError, "toleranze"),
    ],
    ids=["zero", "misspelt"],
)
def test_impossible_options_of_a_task_are_refused(options, error, message, searching):
    with pytest.raises(error, match=message):
        make_world(perception=searching, task_options=options)


def test_a_reconstruction_of_the_mean_explains_nothing_and_the_image_everything():
    source = make_source("digits", "test", canvas=40, clutter=0)
    scenes = source.scenes(torch.arange(200))
    task = Reconstruct((8, 12), **{**Reconstruct.config_for(source), **Reconstruct.statistics_of(source)})
    grey = task.score(torch.full((200, 1, 16, 16), task.mean), scenes)
    assert grey.loss.mean().item() == pytest.approx(1, abs=0.1)
    perfect = task.score(scenes.images.thumbnails(16), scenes)
    assert not perfect.loss.any()
    assert (perfect.score == 1).all()


def test_scenes_that_all_look_the_same_cannot_be_reconstructed(monkeypatch):
    source = make_source("digits", "test", canvas=40)
    first = source.scenes(torch.tensor([0])).rows([0] * 64)
    flat = replace(first, images=replace(first.images, texels=first.images.texels * 0))
    monkeypatch.setattr(source, "scenes", lambda index: flat)
    with pytest.raises(ValueError, match="all look the same in low resolution"):
        Reconstruct.statistics_of(source)


@pytest.fixture
def asked():
    """A task of several questions, 30 scenes that ask them in turn, and states."""
    source = make_source("questions", "test")
    task, scenes = Several((8, 12), **Several.config_for(source)), source.scenes(torch.arange(30))
    return task, scenes, torch.randn(30, 8, 12)


@pytest.mark.parametrize("number", [LARGE, WHERE, COUNT])
def test_each_question_is_scored_by_its_own_head(number, asked):
    task, scenes, state = asked
    outcome = task.score(task(state), scenes)
    rows = (task.question_of(scenes.prompt) == number).nonzero().flatten()
    head = list(task.heads.values())[number]
    own = head.score(head(state[rows]), scenes.rows(rows))
    for name in ("loss", "score", "correct"):
        assert torch.equal(getattr(outcome, name)[rows], getattr(own, name))
    size = head.answer_size
    assert outcome.prediction.shape == (30, 2)
    assert torch.equal(outcome.prediction[rows, :size], own.prediction.reshape(len(rows), size).float())
    assert not outcome.prediction[rows, size:].any()


@pytest.mark.parametrize("number", [LARGE, WHERE, COUNT])
def test_an_answer_is_drawn_or_said_as_its_question_asks(number, asked):
    task, scenes, state = asked
    row = int((task.question_of(scenes.prompt) == number).nonzero()[0])
    prediction = task.score(task(state), scenes).prediction[row]
    boxes, text = task.boxes(prediction, scenes.prompt[row]), task.answer_text(prediction, scenes.prompt[row])
    if number == WHERE:
        assert text == ""
        assert torch.equal(boxes[0, :2], prediction)
    else:
        assert text == str(int(prediction[0]))
        assert not len(boxes)


@pytest.fixture(scope="module")
def questions_world():
    perception = Perception.build(make_source("questions", canvas=180), task="several", patch=8, zooms=2, width=24)
    return World(make_source("questions", "test", canvas=180), perception.frozen(), Rules(glimpses=2))


def test_info_of_a_question_is_of_the_scenes_that_ask_it(questions_world):
    scenes = questions_world.scenes(torch.arange(20))
    is_where = scenes.prompt[:, WHERE] == 1
    info = questions_world.info(questions_world.start(scenes))
    assert set(info) == {"distance", "path_length", "spl"}
    assert torch.equal(~info["distance"].isnan(), is_where)
    _, infos = FovealVectorEnv(20, world=questions_world).reset(options={"scene": np.arange(20)})
    assert infos["_distance"].tolist() == is_where.tolist()
    assert not np.isnan(infos["distance"]).any()
    for scene in range(6):
        _, single = FovealEnv(world=questions_world).reset(options={"scene": scene})
        assert ("distance" in single) == is_where[scene]


def test_options_go_to_the_question_that_is_named():
    world = make_world(perception="questions", task_options={"where": {"tolerance": 0.01}})
    assert world.perception.task.heads["where"].tolerance == 0.01
    assert make_world(perception="questions").perception.task.heads["where"].tolerance == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": {"tolerance": 0}}, "tolerance must be above 0"),
        ({"tolerance": 0.25}, "unknown question tolerance; known: large, where, count"),
    ],
    ids=["impossible", "without a question"],
)
def test_options_that_fit_no_question_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_world(perception="questions", task_options=options)


@pytest.mark.parametrize(("task", "asks"), [("several", [True] * 3), ("count", [False, False, True])])
def test_a_world_asks_one_question_or_all(task, asks):
    prompt = make_world(perception="questions", task=task).scenes(torch.arange(40)).prompt
    assert prompt[:, :3].any(dim=0).tolist() == asks


def test_a_question_that_a_perception_does_not_know_is_refused():
    with pytest.raises(ValueError, match="unknown task 'all' of this perception; known: several, large, where, count"):
        make_world(perception="questions", task="all")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pictures_from": "folder", "folder": "CLASSES"}, r"its prompts is .'0', '1'.*the source's is .'class 0'"),
        ({"prompt": "example"}, r"its prompts is .'0', '1'.*an example of 14 x 14 px"),
    ],
    ids=["other classes", "another kind"],
)
def test_a_perception_is_asked_what_it_has_learned_to_be_asked(options, message, tmp_path):
    if "folder" in options:
        write_folder(tmp_path, classes=[f"class {number}" for number in range(10)], count=12)
        options = {**options, "folder": str(tmp_path)}
    with pytest.raises(ValueError, match=message):
        make_world(perception="search", source_options=options)


def test_a_prompt_that_is_not_finite_is_refused():
    world = make_world(perception="search", canvas=100)
    scenes = world.scenes(torch.arange(2))
    with pytest.raises(ValueError, match="a prompt must be finite"):
        world.start(replace(scenes, prompt=scenes.prompt * torch.nan))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perception": "locate"}, r"the task 'locate'.* needs to know where the target is.*no boxes"),
        ({"perception": "digits", "canvas": 100}, r"scenes of the source 'folder' have no canvas, got canvas=100"),
    ],
    ids=["no boxes", "no canvas"],
)
def test_a_source_without_boxes_or_canvas_is_refused_if_they_are_needed(options, message, folder):
    with pytest.raises(ValueError, match=message):
        make_world(source="folder", source_options={"folder": str(folder), "channels": 1}, **options)


class Bold(Locate):
    """Where is it? Rewarded for being right at once."""

    rewards = {"soon": lambda before, after, last: (after.correct & ~before.correct).float()}  # noqa: RUF012


def test_a_task_can_have_rewards_of_its_own(tiny):
    perception = Perception.build(make_source("digits"), task=f"{__name__}:Bold", **tiny).frozen()
    world = World(make_source("digits"), perception, Rules(reward="soon"))
    _, reward = world.look(world.start(world.scenes(torch.arange(5))), torch.zeros(5, 2))
    assert set(reward.tolist()) <= {0.0, 1.0}
    with pytest.raises(ValueError, match="unknown reward 'late'; known: gain, probability, correct, soon"):
        World(make_source("digits"), perception, Rules(reward="late"))


@pytest.mark.parametrize(("grid", "token"), [(None, 0), ((1, 2), 2)], ids=["tokens", "cells"])
def test_a_class_is_read_off_the_first_token_that_does_not_lie_on_the_image(grid, token):
    head, state = Classify((4, 5), classes=("a", "b"), state_grid=grid), torch.zeros(1, 4, 5)
    state[0, token] = 1
    others = torch.randn(1, 4, 5)
    others[0, token] = 1
    assert torch.equal(head(state), head(others))
    assert not torch.equal(head(state), head(torch.zeros(1, 4, 5)))


def test_overlap_of_boxes_that_are_shifted_along_both_axes():
    one, other = torch.tensor([[0.0, 0.0, 1.0, 0.5]]), torch.tensor([[0.5, 0.25, 1.0, 0.5]])
    assert iou(one, other).item() == pytest.approx(0.125 / 0.875)
    assert iou(other, one).item() == pytest.approx(0.125 / 0.875)


def test_what_is_shown_of_a_search_at_its_end_alone(searching):
    metrics = make_world(perception=searching).metrics
    assert {name: metric.by_look for name, metric in metrics.items()} == {
        "success": True,
        "spl": False,
        "glimpses": False,
    }


def searching_cells(tiny_state=(4 + 1, 6), **options):
    """Return the head of a search on 2 x 2 cells, with weights that make each cell's first number its logit."""
    head = Search(tiny_state, state_grid=(2, 2), **options)
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    head.read.cell.weight.data[0, 0] = head.read.out.weight.data[0, 0] = 1.0
    return head


def cells_of(logits):
    state = torch.zeros(1, 5, 6)
    state[0, :4, 0] = torch.tensor(logits)
    return state


def scene_at(x, y):
    box = torch.tensor([[x, y, 0.4, 0.4]])
    return replace(make_source("search", "test", canvas=70).scenes(torch.arange(1)), box=box)


def test_a_search_on_cells_points_where_the_likeliest_does():
    head = searching_cells()
    answer = head(cells_of([0.0, 9.0, 1.0, 0.0]))
    assert answer[0, :2].tolist() == [0.5, -0.5]  # the cell at the top right
    assert head.target_map(answer)[0].tolist() == [[0.0, 9.0], [1.0, 0.0]]
    assert head.cell_points(answer)[0].tolist() == [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]
    found, missed = (head.score(answer, scene_at(*place)) for place in ((0.5, -0.5), (-0.5, 0.5)))
    assert found.correct.all()
    assert not missed.correct.any()
    assert found.score.item() == pytest.approx(np.exp(9) / (np.exp(9) + np.exp(1) + 2), rel=1e-4)
    assert missed.loss > 9 > found.loss


@pytest.mark.parametrize(
    ("logits", "place", "ends", "right"),
    [
        ([0.0, 9.0, 0.0, 0.0], (0.5, -0.5), True, True),
        ([0.0, 9.0, 0.0, 0.0], (-0.5, 0.5), True, False),
        ([0.0, 1.0, 0.0, 0.0], (0.5, -0.5), False, True),
    ],
    ids=["sure and right", "a false alarm", "not sure"],
)
def test_a_searcher_that_declares_pays_for_false_alarms(logits, place, ends, right):
    head = searching_cells(declare=0.9)
    outcome = head.score(head(cells_of(logits)), scene_at(*place))
    assert head.ends(outcome).tolist() == [ends]
    assert outcome.correct.tolist() == [right]
    assert outcome.prediction.shape == (1, 3)
    assert head.boxes(outcome.prediction[0], torch.empty(0))[0].tolist() == pytest.approx([0.5, -0.5, 0.06, 0.06])
    assert searching_cells().ends(outcome).tolist() == [right]  # at the first hit


def test_an_episode_of_a_declared_search_ends_when_it_is_sure(searching):
    world = make_world(perception=searching, glimpses=4, task_options={"declare": 0.01}, split="test")
    episode = world.start(world.scenes(torch.arange(20)))
    episode, _ = world.look(episode, torch.zeros(20, 2))
    assert torch.equal(episode.ended, episode.outcome.prediction[:, 2] >= 0.01)
    with pytest.raises(ValueError, match="declare is a probability"):
        make_world(perception=searching, task_options={"declare": 1.5})
