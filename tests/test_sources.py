"""The contract of a source and of a task, run on every one that can be opened; and the generator of clutter."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from foveal_encoders.base import Layout
from foveal_env.kernels.hashing import mix_compiled, mix_in_tensors, scramble
from foveal_env.make import make_source
from foveal_env.perception import Perception
from foveal_env.retina import extract
from foveal_env.sources import SOURCES
from foveal_env.sources.base import SPLITS
from foveal_env.sources.composed import split_training
from foveal_env.tasks import TASKS

ELSEWHERE = ("mnist", "fashion_mnist", "kmnist", "ladder", "cifar10", "imagenette")  # need data under FOVEAL_DATA


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A user's folder of classes: pictures of several sizes and modes."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for number in range(15):
            pixels = random.integers(256, size=(20 + number, 40 - number, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).convert(["RGB", "L", "RGBA", "P", "CMYK"][number % 5])
            picture.save(root / name / f"{number}.{'tiff' if picture.mode == 'CMYK' else 'png'}")
    return root


def open_source(name, split, folder):
    if name in ELSEWHERE:
        if not os.environ.get("FOVEAL_DATA"):
            pytest.skip(f"did not run on {name}: the variable FOVEAL_DATA is not set")
        try:
            return make_source(name, split)
        except FileNotFoundError:
            pytest.skip(f"did not run on {name}: it is not under FOVEAL_DATA")
    return make_source(name, split, **({"folder": str(folder)} if name == "folder" else {}))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", sorted(SOURCES))
def test_contract_of_a_source(name, split, folder):
    source = open_source(name, split, folder)
    index = torch.tensor([0, 4, 2**61, 4])
    scenes = source.scenes(index)
    assert len(scenes) == len(scenes.images) == 4
    assert scenes.images.channels == source.channels
    assert scenes.label.dtype == torch.int64
    assert scenes.label.min() >= 0
    assert scenes.label.max() < len(source.classes)
    assert scenes.prompt.shape == (4, source.prompt_size)
    assert scenes.box.shape == (4, 4)
    assert torch.isfinite(scenes.box).all() == source.knows_target
    assert torch.equal(scenes.index, index)
    patches = extract(scenes.images, torch.zeros(4, 2), Layout(patch=8, zooms=2)).patches
    assert 0 <= patches.min() < patches.max() <= 1 + 1e-5
    assert torch.equal(scenes.images.pixels(1), scenes.images.pixels(3))
    assert not torch.equal(scenes.images.pixels(0), scenes.images.pixels(1))
    alone = source.scenes(index[1:2])
    assert torch.equal(alone.images.pixels(0), scenes.images.pixels(1))
    assert alone.label == scenes.label[1]


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("name", sorted(SOURCES))
def test_contract_of_a_task(name, task, folder):
    source = open_source(name, "test", folder)
    scenes = source.scenes(torch.arange(6))
    if task == "several" and not hasattr(source, "questions"):
        with pytest.raises(ValueError, match="needs a source that asks several questions"):
            Perception.build(source, task=task)
        return
    perception = Perception.build(source, task=task, patch=4, zooms=1, width=12, depth=1)
    if perception.task.needs_target and not source.knows_target:
        with pytest.raises(ValueError, match="needs to know where the target is"):
            perception.check_fits(source)
        return
    perception.check_fits(source)
    perception.check_fits(open_source(name, "train", folder))
    outcome = perception.score(torch.randn(6, *perception.encoder.state_shape), scenes)
    assert outcome.prediction.reshape(6, -1).shape[1] == perception.task.answer_size
    assert outcome.loss.shape == outcome.score.shape == outcome.correct.shape == (6,)
    assert (outcome.loss >= 0).all()
    assert ((outcome.score >= 0) & (outcome.score <= 1)).all()


def test_a_perfect_answer_has_no_loss_and_a_wrong_one_has():
    source = make_source("digits", "test", canvas=40)
    scenes = source.scenes(torch.arange(10))
    task = TASKS.resolve("classify")((2, 8), **TASKS.resolve("classify").config_for(source))
    right = torch.nn.functional.one_hot(scenes.label, 10) * 30.0
    perfect, wrong = task.score(right, scenes), task.score(right.roll(1, dims=1), scenes)
    assert perfect.loss.max() < 1e-6
    assert perfect.correct.all()
    assert perfect.probability.min() > 0.999
    assert wrong.loss.min() > 10
    assert not wrong.correct.any()


def test_no_digit_is_in_two_splits():
    seen = [{p.numpy().tobytes() for p in make_source("digits", split).pictures} for split in SPLITS]
    assert [len(make_source("digits", split).pictures) for split in SPLITS] == [1257, 180, 360]
    assert len(seen[0] | seen[1] | seen[2]) == sum(len(part) for part in seen)


def test_no_picture_of_a_folder_is_in_two_splits(folder):
    paths = [set(make_source("folder", split, folder=str(folder)).paths) for split in SPLITS]
    assert sum(len(part) for part in paths) == len(set.union(*paths)) == 30


def test_evaluation_scenes_show_every_picture_once():
    source = make_source("digits", "test", canvas=28, clutter=0)
    scenes = source.scenes(torch.arange(360))
    shown = {scenes.images.pixels(row).numpy().tobytes() for row in range(360)}
    assert shown == {picture.numpy().tobytes() for picture in source.pictures}


def test_the_target_is_where_the_box_says():
    source = make_source("digits", "test", canvas=90, clutter=0)
    scenes = source.scenes(torch.arange(50))
    for row in range(50):
        pixels = scenes.images.pixels(row)[0]
        left, top = ((scenes.box[row, :2] - scenes.box[row, 2:] / 2 + 1) / 2 * 90).round().int().tolist()
        assert torch.equal(pixels[top : top + 28, left : left + 28], source.pictures[row])
        assert pixels.int().sum() == source.pictures[row].int().sum()
    assert scenes.box[:, :2].std() > 0.2


def test_clutter_adds_pieces_of_eight_pixels_and_keeps_the_target():
    plain, cluttered = (make_source("digits", "test", canvas=90, clutter=n) for n in (0, 6))
    index = torch.arange(200)
    before, after = plain.scenes(index), cluttered.scenes(index)
    added = torch.stack([after.images.pixels(i)[0].int() - before.images.pixels(i)[0].int() for i in range(200)])
    assert added.min() == 0
    covered = (added > 0).float().mean().item() * 90 * 90
    assert 6 * 64 * 0.2 < covered < 6 * 64  # a crop of a digit is partly black, and pieces overlap
    empty = make_source("digits", "test", canvas=90, clutter=1).scenes(index)
    for row in range(200):
        only = empty.images.pixels(row)[0].int() - before.images.pixels(row)[0].int()
        if only.any():
            y, x = only.nonzero(as_tuple=True)
            assert y.max() - y.min() < 8
            assert x.max() - x.min() < 8


def test_training_scenes_vary_and_augmentation_leaves_evaluation_alone():
    plain, varied = (make_source("digits", "train", canvas=40, clutter=0, augment=flag) for flag in (False, True))
    index = torch.arange(20)
    assert torch.equal(plain.scenes(index).label, varied.scenes(index).label)
    assert not torch.equal(plain.scenes(index).images.texels, varied.scenes(index).images.texels)
    tests = [make_source("digits", "test", canvas=40, augment=flag).scenes(index).images.texels for flag in (0, 1)]
    assert torch.equal(*tests)


def test_scrambled_numbers_are_uniform_and_depend_on_every_argument():
    draws = scramble(torch.arange(20000), 1).double() / 2**53
    assert abs(draws.mean() - 0.5) < 0.01
    assert abs(draws.std() - 12**-0.5) < 0.01
    assert draws.min() >= 0
    assert draws.max() < 1
    assert not torch.equal(scramble(torch.arange(5), 1), scramble(torch.arange(5), 2))
    assert not torch.equal(scramble(torch.arange(5), 1, 2), scramble(torch.arange(5), 2, 1))
    numbers = torch.randint(-(2**63), 2**63 - 1, (3, 1000), generator=torch.Generator().manual_seed(0))
    assert torch.equal(mix_in_tensors(numbers), mix_compiled(numbers))
    both = scramble(torch.arange(5)[:, None], 1, torch.tensor([2, 3]))
    assert torch.equal(both[:, 1], scramble(torch.arange(5), 1, 3))
    # fixed for ever: the test scenes of everybody depend on it
    assert scramble(torch.tensor([0, 1]), 0, 7).tolist() == FIXED


FIXED = [5562381054876761, 1590316259159470]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nope", {}, "unknown source 'nope'; known: cifar10, digits"),
        ("digits", {"canvas": 20}, "canvas must be at least the 28 px"),
        ("digits", {"clutter": -1}, "clutter must be at least 0"),
        ("folder", {}, "needs the option folder"),
        ("folder", {"folder": "/no/such/place"}, "no such folder"),
    ],
)
def test_impossible_sources_are_refused(name, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make_source(name, "train", **options)
    with pytest.raises(ValueError, match="unknown split"):
        make_source("digits", "tset")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_missing_data_set_says_how_to_get_it(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not complete.*FOVEAL_DATA.*'download': True.*--SOURCE.download"):
        make_source(name, "train", root=str(tmp_path))


def test_no_picture_of_a_training_part_is_in_two_splits():
    train, validation = (set(split_training(1000, split).tolist()) for split in ("train", "validation"))
    assert not train & validation
    assert train | validation == set(range(1000))
    assert len(validation) == 100


def test_a_folder_with_train_and_val_alone_is_read_as_imagenet(tmp_path):
    for part, count in (("train", 20), ("val", 10)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                Image.new("L", (8, 8), number).save(tmp_path / part / name / f"{number}.png")
    parts = {split: make_source("folder", split, folder=str(tmp_path)) for split in SPLITS}
    assert {source.classes for source in parts.values()} == {("cat", "dog")}
    assert [parts[split].count for split in SPLITS] == [36, 4, 20]
    assert not set(parts["train"].paths) & set(parts["validation"].paths)
    assert all("val" in path.parts for path in parts["test"].paths)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="no pictures in"):
        make_source("folder", "train", folder=str(tmp_path))


def test_a_broken_picture_is_named_counted_and_skipped_on_request(folder, tmp_path):
    for number, path in enumerate(sorted(folder.rglob("*.png"))[:12]):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / f"{number}.png").write_bytes(path.read_bytes())
    whole = (tmp_path / "a" / "0.png").read_bytes()
    (tmp_path / "a" / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a" / "empty.jpg").write_bytes(b"")
    options = {"folder": str(tmp_path)}
    for split in SPLITS:
        broken = 0
        unchecked = make_source("folder", split, broken="unchecked", **options)
        for number, path in enumerate(unchecked.paths):
            if path.stem in ("truncated", "empty"):
                broken += 1
                with pytest.raises(ValueError, match=path.name):
                    unchecked.pictures(torch.tensor([number]), torch.tensor([number]))
        if broken:
            with pytest.raises(ValueError, match=rf"{broken} of \d+ pictures cannot be read: .*(truncated|empty)"):
                make_source("folder", split, **options)
            with pytest.warns(UserWarning, match=rf"left out {broken} of"):
                assert make_source("folder", split, broken="skip", **options).count == unchecked.count - broken
    with pytest.raises(ValueError, match="unknown value 'no' of broken"):
        make_source("folder", "train", broken="no", **options)


def test_a_folder_with_splits_of_its_own(folder, tmp_path):
    for part, classes in (("train", ("cat", "dog")), ("test", ("cat", "dog"))):
        for name in classes:
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(10):
                Image.new("L", (8, 8), number).save(tmp_path / part / name / f"{number}.png")
    parts = {split: make_source("folder", split, folder=str(tmp_path)).paths for split in SPLITS}
    assert [len(parts[split]) for split in SPLITS] == [18, 2, 20]
    assert all("train" in path.parts for path in parts["validation"])
    assert not set(parts["train"]) & set(parts["validation"])


def test_a_ladder_has_the_same_digits_on_every_canvas_and_clutter_in_proportion_to_the_area():
    ladder = make_source("ladder", "test", of="digits", canvases=[60, 100, 250])
    scenes = ladder.scenes(torch.arange(30))
    assert {tuple(size) for size in scenes.images.size.tolist()} == {(60, 60), (100, 100), (250, 250)}
    assert torch.equal(scenes.index, torch.arange(30))
    for step, clutter in zip(ladder.steps, (3, 8, 50), strict=True):
        same = make_source("digits", "test", canvas=step.canvas, clutter=clutter).scenes(torch.arange(30))
        alone = make_source("ladder", "test", of="digits", canvases=[step.canvas]).scenes(torch.arange(30))
        assert torch.equal(same.label, scenes.label)
        for row in range(30):
            assert torch.equal(alone.images.pixels(row), same.images.pixels(row))
            if scenes.images.size[row, 0] == step.canvas:
                assert torch.equal(scenes.images.pixels(row), same.images.pixels(row))
                assert torch.equal(scenes.box[row], same.box[row])


def test_stage_1_approaches_the_target_of_a_ladder_from_any_distance():
    ladder = make_source("ladder", "train", of="digits", canvases=[100, 1000], approach=0.5)
    scenes = ladder.scenes(torch.arange(200))
    box = ladder.candidate_boxes(scenes, torch.Generator().manual_seed(0))
    assert torch.equal(box[:, :2], scenes.box[:, :2])
    factor = box[:, 2] / scenes.box[:, 2]
    exact = factor == 1
    assert 0.4 < exact.float().mean() < 0.6
    assert (factor >= 1).all()
    assert (box[:, 2] <= 2.0001).all()
    share = factor[~exact].log() / (2 / scenes.box[~exact, 2]).log()
    assert 0.4 < share.mean() < 0.6
    assert share.min() < 0.1
    assert share.max() > 0.9
    plain = make_source("ladder", "train", of="digits", canvases=[100, 1000])
    assert torch.equal(plain.candidate_boxes(scenes, torch.Generator()), scenes.box)
    with pytest.raises(ValueError, match="approach lies in"):
        make_source("ladder", of="digits", approach=2)


def test_a_ladder_refuses_what_has_no_canvas():
    with pytest.raises(ValueError, match="a ladder is of digit-type sources"):
        make_source("ladder", of="cifar10")
    with pytest.raises(ValueError, match="needs canvases"):
        make_source("ladder", of="digits", canvases=[])


def test_augmented_pictures_are_parts_of_the_pictures_and_only_in_training(folder):
    plain, varied, test = (
        make_source("folder", split, folder=str(folder), augment=augment)
        for split, augment in (("train", False), ("train", True), ("test", True))
    )
    index = torch.arange(40)
    whole, parts = plain.scenes(index).images, varied.scenes(index).images
    assert torch.equal(varied.scenes(index).images.size, parts.size)
    assert not torch.equal(whole.size, parts.size)
    mirrored = 0
    for row in range(40):
        picture, part = whole.pixels(row), parts.pixels(row)
        assert 0.3 < part.numel() / picture.numel() <= 1
        height, width = part.shape[1:]
        windows = picture.unfold(1, height, 1).unfold(2, width, 1).permute(1, 2, 0, 3, 4)
        straight = (windows == part).flatten(2).all(dim=2).any()
        turned = (windows == part.flip(2)).flatten(2).all(dim=2).any()
        assert straight or turned
        mirrored += bool(turned)
    assert 8 < mirrored < 32
    assert torch.equal(
        test.scenes(index).images.size, make_source("folder", "test", folder=str(folder)).scenes(index).images.size
    )
