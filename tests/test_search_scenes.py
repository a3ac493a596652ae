"""Scenes with several pictures: what is searched for, where it lies, and which question is asked."""

import itertools

import pytest
import torch
from image_files import write_folder

from foveal_env.make import make_source
from foveal_env.sources.arrangement import GAP_PX
from foveal_env.sources.questions import QUESTIONS

SIDE = 28  # px of a digit


def target_of(scenes, row):
    """Return the pixels where the box of a scene is, [28, 28]."""
    size = scenes.images.size[row, 0]
    left, top = ((scenes.box[row, :2] + 1) * size / 2 - SIDE / 2).round().long().tolist()
    return scenes.images.pixels(row)[0, top : top + SIDE, left : left + SIDE]


@pytest.fixture(scope="module")
def candidates():
    """The same scenes four times, each with another candidate as the target."""
    source = make_source("search", "test", canvas=[90, 200], candidates=4, background="photos")
    return [source.scenes(torch.arange(12), question=question) for question in range(4)]


def test_the_same_scene_has_another_target_under_another_prompt(candidates):
    first, *others = candidates
    for other in others:
        assert (first.label != other.label).all()
        assert all(torch.equal(first.images.pixels(row), other.images.pixels(row)) for row in range(12))


def test_the_prompt_names_the_class_of_the_target(candidates):
    for scenes in candidates:
        assert torch.equal(scenes.prompt.argmax(dim=1), scenes.label)
        assert (scenes.prompt.sum(dim=1) == 1).all()


def test_no_two_candidates_touch_and_all_lie_inside(candidates):
    side = candidates[0].images.size[:, 0].float()
    for scenes in candidates:
        assert (scenes.box[:, :2].abs() + scenes.box[:, 2:] / 2 <= 1.0001).all()
    for one, other in itertools.combinations(candidates, 2):
        apart = (one.box[:, :2] - other.box[:, :2]).abs().amax(dim=1) * side / 2
        assert (apart >= SIDE + GAP_PX - 1e-3).all()


def test_a_question_can_be_asked_of_each_scene():
    source = make_source("search", "test", canvas=[90, 200])
    index, question = torch.arange(12), torch.arange(12) % 4
    together = source.scenes(index, question=question)
    for row in range(12):
        alone = source.scenes(index[row : row + 1], question=int(question[row]))
        assert together.label[row] == alone.label
        assert torch.equal(together.box[row], alone.box[0])


def test_there_is_no_scene_in_an_empty_batch():
    assert len(make_source("search", canvas=[60, 100]).scenes(torch.arange(0))) == 0


@pytest.mark.parametrize("canvas", [60, 1000, 1350, 2500])
def test_candidates_lie_everywhere(canvas):
    source = make_source("search", "test", canvas=canvas)
    corner, room = source.corners(torch.arange(3000), canvas), canvas - SIDE
    assert 0 <= corner.min() <= corner.max() <= room
    for axis in range(2):
        assert corner[..., axis].max() > room * 0.9
        assert corner[..., axis].min() < room * 0.1


def test_the_target_is_where_its_box_is():
    source = make_source("search", "test", canvas=100, clutter=0, candidates=2)
    scenes, pictures = source.scenes(torch.arange(20)), source.pictures
    for row in range(20):
        own = pictures.pixels[pictures.labels == scenes.label[row]]
        assert (own == target_of(scenes, row)).flatten(1).all(dim=1).any()


@pytest.mark.parametrize(("aim", "share"), [(0.0, 0.25), (0.5, 0.625), (1.0, 1.0)])
def test_stage_one_looks_near_every_candidate_unless_told_to_aim(aim, share):
    source, index = make_source("search", "train", canvas=[100, 120], aim=aim), torch.arange(600)
    box = source.candidate_boxes(source.scenes(index), torch.Generator().manual_seed(0), progress=0.0)
    boxes = torch.stack([source.scenes(index, question=question).box for question in range(4)], dim=1)
    is_near = (boxes == box[:, None]).all(dim=-1)
    assert (is_near.sum(dim=1) == 1).all()
    assert is_near[:, 0].float().mean().item() == pytest.approx(share, abs=0.05)


def test_a_prompt_can_be_another_example_of_the_class():
    source = make_source("search", "test", canvas=100, clutter=0, prompt="example")
    scenes = source.scenes(torch.arange(8))
    assert scenes.prompt.shape == (8, 196)
    for row in range(8):
        number = (source.pictures.pixels == target_of(scenes, row)).flatten(1).all(dim=1).nonzero()[0]
        others = source.pictures.labels == scenes.label[row]
        others[number] = False
        small = torch.nn.functional.adaptive_avg_pool2d(source.pictures.pixels[others][:, None].float() / 255, 14)
        assert torch.isclose(small.flatten(1), scenes.prompt[row]).all(dim=1).any()


def test_candidates_can_be_the_classes_of_a_folder(tmp_path):
    write_folder(tmp_path, classes=("cat", "dog", "eel"), count=12)
    options = {"pictures_from": "folder", "folder": str(tmp_path), "candidates": 3, "canvas": 120, "side": 32}
    source = make_source("search", "train", **options)
    assert source.classes == ("cat", "dog", "eel")
    assert source.scenes(torch.arange(4)).box[:, 2].tolist() == pytest.approx([64 / 120] * 4)


def test_the_background_can_be_a_folder_of_images(folder):
    options = {"canvas": 100, "clutter": 0}
    plain, photos = (make_source("search", background=background, **options) for background in (None, str(folder)))
    black, behind = (source.scenes(torch.arange(3)).images.pixels(1).int() for source in (plain, photos))
    assert ((behind - black)[black == 0] <= 127).all()  # dimmed to half
    assert behind[black == 0].float().mean() > 30


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("search", {"canvas": 20}, "the target of 28 px is larger than the canvas of 20 px"),
        ("search", {"canvas": 60, "candidates": 9}, "9 pictures of 28 px have no place on a canvas of 60 px"),
        ("search", {"canvas": []}, r"canvas must be a side in whole px, or several, got \[\]"),
        ("search", {"canvas": 250.5}, "canvas must be a side in whole px, or several, got 250.5"),
        ("search", {"clutter": -1}, "clutter must be at least 0, got -1"),
        ("search", {"candidates": 1}, "candidates must be 2 to 10, the number of classes, got 1"),
        ("search", {"aim": 2.0}, r"aim lies in \[0, 1\], got 2.0"),
        ("search", {"prompt": "word"}, "unknown prompt 'word'; known: class, example"),
        ("search", {"pictures_from": "cifar10"}, "pictures_from must be a digit-type source .*got 'cifar10'"),
        ("search", {"background": "nowhere"}, "background must be 'photos' or .*there are none in 'nowhere'"),
        ("questions", {"ask": "when"}, "unknown question 'when'; known: large, where, count, or None for all"),
        ("questions", {"canvas": 50}, "the target of 56 px is larger than the canvas of 50 px"),
    ],
)
def test_scenes_that_cannot_be_made_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_source(name, "test", **options)


def test_a_side_below_that_of_clutter_is_refused(folder):
    options = {"pictures_from": "folder", "folder": str(folder), "candidates": 2, "side": 7}
    with pytest.raises(ValueError, match="side must be at least the 8 px of a piece of clutter, got 7"):
        make_source("search", "test", **options)


def test_questions_need_classes_to_name(folder):
    with pytest.raises(ValueError, match="the questions need at least 6 classes, got 2"):
        make_source("questions", "test", pictures_from="folder", folder=str(folder))


def test_a_candidate_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"a scene has candidates 0 to 3, question .7"):
        make_source("search").scenes(torch.arange(2), question=7)


@pytest.mark.parametrize(("number", "name"), list(enumerate(QUESTIONS)))
def test_a_source_can_ask_one_question(number, name):
    index = torch.arange(60)
    scenes, mixture = (make_source("questions", "test", clutter=0, ask=ask).scenes(index) for ask in (name, None))
    assert (scenes.prompt[:, :3].argmax(dim=1) == number).all()
    assert (scenes.prompt[:, 3:].sum(dim=1) == (number > 0)).all()
    assert all(torch.equal(scenes.images.pixels(row), mixture.images.pixels(row)) for row in range(60))
    rows = mixture.prompt[:, :3].argmax(dim=1) == number
    assert rows.sum() > 8
    assert torch.equal(scenes.label[rows], mixture.label[rows])


def test_the_number_of_a_question_is_added_to_the_scenes_own():
    source, index = make_source("questions", "test", ask="where"), torch.arange(5)
    for shift in range(3):
        prompt = source.scenes(index, question=shift).prompt
        assert (prompt[:, :3].argmax(dim=1) == (1 + shift) % 3).all()


@pytest.mark.parametrize(
    ("ask", "text"), [("large", "what is the large one?"), ("where", "where is the {}?"), ("count", "how many {}s?")]
)
def test_questions_and_truths_are_said_in_words(ask, text):
    source = make_source("questions", "test", ask=ask)
    scenes = source.scenes(torch.arange(4))
    for row in range(4):
        name = int(scenes.prompt[row, 3:].argmax())
        assert source.question_text(scenes, row) == text.format(name)
        assert source.truth_text(scenes, row) == str(int(scenes.label[row]))


def test_as_many_as_the_label_says_are_there():
    source = make_source("questions", "test", clutter=0, ask="count")
    assert set(source.scenes(torch.arange(60)).label.tolist()) == {0, 1, 2, 3}
    scenes = source.scenes(torch.arange(12))
    for row in range(12):
        own = source.pictures.pixels[source.pictures.labels == int(scenes.prompt[row, 3:].argmax())]
        windows = scenes.images.pixels(row)[0].unfold(0, SIDE, 1).unfold(1, SIDE, 1)[..., 13, :].flatten(0, 1)
        middles = own[:, 13][:, None]  # a line tells digits apart
        assert (windows == middles).all(dim=2).sum() == scenes.label[row]


CROWDS = {"canvas": [130, 200], "candidates": [9, 25]}


def test_in_a_crowd_what_can_be_asked_for_is_there_once():
    source = make_source("crowd", "test", singles=3, **CROWDS)
    scenes = source.scenes(torch.arange(40))
    for row in range(40):
        side = int(scenes.images.size[row, 0])
        labels = source.labels(scenes.index[row : row + 1], side)[0].tolist()
        assert len(labels) == dict(zip(*CROWDS.values(), strict=True))[side]
        assert labels[0] == int(scenes.label[row])
        assert all(labels.count(label) == 1 for label in labels[:3])
        assert len(labels) < 20 or len(set(labels[3:])) < len(labels[3:])


def test_a_crowd_is_the_same_under_every_prompt():
    source = make_source("crowd", "test")
    crowds = [source.scenes(torch.arange(3), question=question) for question in range(4)]
    assert all(torch.equal(crowds[0].images.texels, crowd.images.texels) for crowd in crowds)
    assert len({tuple(crowd.prompt[0].tolist()) for crowd in crowds}) == 4
    for crowd in crowds:
        digit = target_of(crowd, 0)
        assert digit.float().mean() > 20  # it is there
    with pytest.raises(ValueError, match="a crowd has questions 0 to 3"):
        source.scenes(torch.arange(3), question=4)


def test_the_others_of_a_crowd_can_be_those_most_like_the_target():
    source = make_source("crowd", "test", singles=1, similar=2)
    labels = source.labels(torch.arange(200), 400)
    others = {target: set(labels[labels[:, 0] == target][:, 1:].flatten().tolist()) for target in range(10)}
    assert all(len(found) == 2 and target not in found for target, found in others.items())
    assert {3, 8} & others[9]


def test_a_gaze_near_any_of_a_crowd_gives_nothing_away():
    source = make_source("crowd", "test", singles=1, **CROWDS)
    index = torch.arange(4000)
    scenes, generator = source.scenes(index), torch.Generator().manual_seed(0)
    is_target = (source.candidate_boxes(scenes, generator) == scenes.box).all(dim=1)
    for side, count in zip(*CROWDS.values(), strict=True):
        share = is_target[scenes.images.size[:, 0] == side].float().mean().item()
        assert share == pytest.approx(1 / count, abs=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": [9, 25]}, "candidates is one number, or one for each"),
        ({"candidates": 1}, "candidates must be at least 2"),
        ({"candidates": 400}, "400 pictures of 28 px have no place on a canvas of 400 px"),
        ({"singles": 10}, "singles must be 1 to 9"),
        ({"candidates": 4, "singles": 5}, "singles must be 1 to 4"),
        ({"similar": 7}, "similar must be 0 to the 6 classes"),
    ],
)
def test_impossible_crowds_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_source("crowd", "test", **options)
