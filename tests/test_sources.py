"""The contract of a source, run on every one; and scenes of one picture."""

import dataclasses
import os

import pytest
import torch
from image_files import write_folder

from foveal_encoders.base import Layout
from foveal_env.make import make_source
from foveal_env.retina import extract
from foveal_env.sources import SOURCES
from foveal_env.sources.base import SPLITS, split_training
from foveal_env.sources.canvas import SmallPictures
from foveal_env.sources.digits import OnePicture, lay_one

DATA_SETS = ("mnist", "fashion_mnist", "kmnist", "cifar10", "imagenette")


def check_contract(source):
    index = torch.tensor([0, 5, 2**61, 5])
    scenes = source.scenes(index)
    assert len(scenes) == len(scenes.images) == 4
    assert scenes.images.channels == source.channels
    assert scenes.label.dtype == torch.int64
    assert 0 <= scenes.label.min() <= scenes.label.max() < len(source.classes)
    assert scenes.prompt.shape == (4, source.prompt_size)
    assert scenes.box.shape == (4, 4)
    assert torch.isfinite(scenes.box).all() == source.knows_target
    assert torch.equal(scenes.index, index)
    patches = extract(scenes.images, torch.zeros(4, 2), Layout(patch=8, zooms=2)).patches
    assert 0 <= patches.min() < patches.max() <= 1 + 1e-5
    assert not torch.equal(scenes.images.pixels(0), scenes.images.pixels(1))
    alone = source.scenes(index[1:2])
    for row in (1, 3):
        assert torch.equal(alone.images.pixels(0), scenes.images.pixels(row))
        assert alone.label == scenes.label[row]


def check_words(source):
    scenes = source.scenes(torch.arange(6))
    for row in range(6):
        assert bool(source.question_text(scenes, row)) == bool(source.prompt_size)
        assert source.truth_text(scenes, row)


def check_canvases(source):
    sides = {tuple(size) for size in source.scenes(torch.arange(30)).images.size.tolist()}
    if source.canvases:
        assert sides == {(canvas, canvas) for canvas in source.canvases}
    assert source.canvas == (source.canvases[0] if len(source.canvases) == 1 else None)


@pytest.mark.parametrize("check", [check_contract, check_words, check_canvases])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", sorted(SOURCES))
def test_contract_of_a_source(name, split, check, open_source):
    check(open_source(name, split))


@pytest.mark.skipif(not os.environ.get("FOVEAL_DATA"), reason="the variable FOVEAL_DATA is not set")
@pytest.mark.parametrize("name", DATA_SETS)
def test_real_data_sets_keep_the_contract(name):
    for split in SPLITS:
        try:
            check_contract(make_source(name, split))
        except FileNotFoundError:
            pytest.skip(f"{name} is not under FOVEAL_DATA")


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_missing_data_set_says_how_to_get_it(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not complete.*FOVEAL_DATA.*'download': True.*--SOURCE.download"):
        make_source(name, "train", root=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nope", {}, "unknown source 'nope'; known: cifar10, crowd, digits"),
        ("digits", {"split": "tset"}, "unknown split 'tset'; known: train, validation, test"),
        ("digits", {"canvas": 20}, "canvas must be at least the 28 px of a picture, in whole px, got 20"),
        ("digits", {"canvas": 60.5}, "canvas must be at least the 28 px of a picture, in whole px, got 60.5"),
        ("digits", {"clutter": -1}, "clutter must be at least 0, in whole pieces, got -1"),
        ("ladder", {"pictures_from": "cifar10"}, "pictures_from must be a digit-type source .* got 'cifar10'"),
        ("ladder", {"canvas": []}, r"canvas must be a side in whole px, or several, got \[\]"),
        ("ladder", {"canvas": [60, 20]}, "canvas must be at least the 28 px of a picture, in whole px, got 20"),
        ("ladder", {"approach": 2}, r"approach lies in \[0, 1\], got 2"),
    ],
)
def test_impossible_sources_are_refused(name, options, message, open_source):
    options = {"split": "train", **({"pictures_from": "digits"} if name == "ladder" else {}), **options}
    with pytest.raises(ValueError, match=message):
        make_source(name, **options)


def test_no_digit_is_in_two_splits():
    parts = [make_source("digits", split).pictures.pixels for split in SPLITS]
    assert [len(part) for part in parts] == [1257, 180, 360]
    assert len({picture.numpy().tobytes() for part in parts for picture in part}) == sum(len(part) for part in parts)


def test_a_tenth_of_a_training_part_validates():
    train, validation = (set(split_training(1000, split).tolist()) for split in ("train", "validation"))
    assert not train & validation
    assert train | validation == set(range(1000))
    assert len(validation) == 100


@pytest.mark.parametrize(
    ("name", "counts"), [("mnist", [900, 100, 100]), ("cifar10", [90, 10, 100]), ("imagenette", [36, 4, 48])]
)
def test_data_sets_are_split_into_training_validation_and_test(name, counts, open_source):
    sources = [open_source(name, split) for split in SPLITS]
    assert [source.count for source in sources] == counts
    assert len({source.classes for source in sources}) == 1


def check_fair(source, counts):
    """The classes among the first n scenes are as frequent as among all, within four standard deviations."""
    total = len(source.sample(source.count))
    label = torch.cat([source.scenes(part).label for part in source.sample(total).split(100)])
    share = label.bincount(minlength=len(source.classes)) / total
    for count in counts:
        found = label[:count].bincount(minlength=len(source.classes)) / count
        deviation = (share * (1 - share) / count * (total - count) / (total - 1)).sqrt()
        assert (found - share).abs().max() <= (4 * deviation).max() + 1e-6, (count, found)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", sorted(SOURCES))
def test_the_first_scenes_are_a_fair_sample(name, split, open_source):
    source = open_source(name, split, **({"canvas": [60, 90]} if name == "ladder" else {}))
    check_fair(source, {max(1, source.count * part // 8) for part in (1, 2, 4, 6)})


@pytest.mark.parametrize("own", [("train", "val"), ("train", "test"), ("train", "val", "test")], ids=" ".join)
@pytest.mark.parametrize("split", SPLITS)
def test_the_first_scenes_of_a_folder_with_splits_of_its_own_are_a_fair_sample(own, split, tmp_path):
    for part in own:
        write_folder(tmp_path / part, classes=("cat", "dog", "fox"), count=30)
    source = make_source("folder", split, folder=str(tmp_path))
    check_fair(source, {max(1, source.count * part // 8) for part in (1, 2, 4, 6)})


def test_scenes_of_a_whole_test_part_are_the_same_whatever_its_order(open_source):
    source = open_source("mnist", canvas=60)
    index = torch.arange(200)
    places = source.pictures.places(index)
    assert not torch.equal(places[:100], index[:100])
    assert torch.equal(places[:100].sort().values, index[:100])
    assert torch.equal(places[100:], places[:100] + 100)
    scenes = source.scenes(index)
    assert torch.equal(scenes.label, source.pictures.labels[places % 100])
    in_file_order = dataclasses.replace(source.pictures, order=None)
    assert torch.equal(lay_one(in_file_order, places, split="test", canvas=60, pieces=8).box, scenes.box)


def test_evaluation_scenes_show_every_picture_once():
    source = make_source("digits", "test", canvas=28, clutter=0)
    scenes = source.scenes(torch.arange(360))
    images = {scenes.images.pixels(row).numpy().tobytes() for row in range(360)}
    assert images == {picture.numpy().tobytes() for picture in source.pictures.pixels}


def test_the_target_is_where_the_box_says():
    source = make_source("digits", "test", canvas=90, clutter=0)
    scenes = source.scenes(torch.arange(50))
    for row, picture in enumerate(source.pictures.pixels[:50]):
        pixels = scenes.images.pixels(row)[0]
        left, top = ((scenes.box[row, :2] - scenes.box[row, 2:] / 2 + 1) / 2 * 90).round().int().tolist()
        assert torch.equal(pixels[top : top + 28, left : left + 28], picture)
        assert pixels.int().sum() == picture.int().sum()
    assert scenes.box[:, :2].std() > 0.2


def test_clutter_adds_pieces_of_eight_pixels_and_keeps_the_target():
    index = torch.arange(200)
    none, one, six = (make_source("digits", "test", canvas=90, clutter=n).scenes(index).images for n in (0, 1, 6))
    added = torch.stack([six.pixels(row)[0].int() - none.pixels(row)[0].int() for row in range(200)])
    assert added.min() == 0
    area = (added > 0).float().mean().item() * 90 * 90
    assert 6 * 64 * 0.2 < area < 6 * 64  # a crop of a digit is partly black, and pieces overlap
    for row in range(200):
        piece = one.pixels(row)[0].int() - none.pixels(row)[0].int()
        if piece.any():
            y, x = piece.nonzero(as_tuple=True)
            assert y.max() - y.min() < 8
            assert x.max() - x.min() < 8


@pytest.mark.parametrize("name", ["digits", "ladder", "search", "questions"])
@pytest.mark.parametrize(("split", "differs"), [("train", True), ("validation", False), ("test", False)])
def test_only_training_scenes_are_augmented(name, split, differs, open_source):
    options = {"canvas": 180, "clutter": 0}
    plain, warped = (open_source(name, split, augment=flag, **options).scenes(torch.arange(9)) for flag in (0, 1))
    assert torch.equal(plain.label, warped.label)
    assert torch.equal(plain.box, warped.box)
    assert torch.equal(plain.images.texels, warped.images.texels) != differs


FIXED = {  # of test scenes 0 to 7: labels, and x of the targets in % of the canvas
    "digits": ([1, 9, 5, 3, 5, 6, 6, 6], [16, 76, 33, 45, 61, 73, 84, 58]),
    "search": ([2, 3, 3, 1, 0, 9, 7, 7], [83, 48, 48, 47, 47, 16, 14, 48]),
    "questions": ([2, 1, 2, 2, 7, 4, 1, 7], [56, 50, 50, 50, 49, 16, 50, 88]),
}


@pytest.mark.parametrize("name", sorted(FIXED))
def test_scenes_are_fixed_for_ever(name):
    """Everybody's results depend on them."""
    scenes = make_source(name, "test").scenes(torch.arange(8))
    assert (scenes.label.tolist(), ((scenes.box[:, 0] + 1) * 50).round().int().tolist()) == FIXED[name]


class Bars(OnePicture):
    """Small pictures of one's own: a bar, upright or lying."""

    @classmethod
    def small_pictures(cls, split, pictures):
        bar = torch.zeros(2, 20, 20, dtype=torch.uint8)
        bar[0, :, 8:12] = bar[1, 8:12] = 200
        return SmallPictures(bar, torch.arange(2), ("upright", "lying"))


@pytest.mark.parametrize(
    ("name", "options"),
    [(f"{__name__}:Bars", {}), ("ladder", {"canvas": [60, 90]}), ("search", {"candidates": 2})],
)
def test_small_pictures_of_ones_own_can_be_laid_on_any_canvas(name, options):
    own = {} if ":" in name else {"pictures_from": f"{__name__}:Bars"}
    source = make_source(name, "test", **own, **options)
    assert source.classes == ("upright", "lying")
    check_contract(source)


def test_a_ladder_has_the_same_digits_on_every_canvas_and_clutter_in_proportion_to_the_area():
    index = torch.arange(30)
    scenes = make_source("ladder", "test", pictures_from="digits", canvas=[60, 100, 250]).scenes(index)
    assert torch.equal(scenes.index, index)
    for canvas, clutter in ((60, 3), (100, 8), (250, 50)):
        same = make_source("digits", "test", canvas=canvas, clutter=clutter).scenes(index)
        alone = make_source("ladder", "test", pictures_from="digits", canvas=canvas).scenes(index)
        rows = (scenes.images.size[:, 0] == canvas).nonzero().flatten()
        assert 0 < len(rows) < 30
        assert torch.equal(same.label, scenes.label)
        assert torch.equal(same.box[rows], scenes.box[rows])
        assert all(torch.equal(alone.images.pixels(row), same.images.pixels(row)) for row in range(30))
        assert all(torch.equal(scenes.images.pixels(row), same.images.pixels(row)) for row in rows.tolist())


def test_a_ladder_can_have_photographs_behind_its_digits():
    options = {"pictures_from": "digits", "canvas": 100, "clutter": 0}
    dark, bright = (make_source("ladder", background=background, **options) for background in (None, "photos"))
    one, other = (source.scenes(torch.arange(5)).images.pixels(3).int() for source in (dark, bright))
    assert (other >= one).all()
    assert other.float().mean() > one.float().mean() + 20


def test_stage_1_approaches_the_target_of_a_ladder_from_any_distance():
    options = {"pictures_from": "digits", "canvas": [100, 1000]}
    ladder = make_source("ladder", "train", approach=0.5, **options)
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
    plain = make_source("ladder", "train", **options)
    assert torch.equal(plain.candidate_boxes(scenes, torch.Generator()), scenes.box)


def test_no_image_is_counted_twice_in_an_evaluation(open_source):
    source = open_source("folder", "test")
    assert source.at_most(3) == 3
    assert source.at_most(10_000) == source.distinct_scenes < 10_000
    assert make_source("digits", "test").at_most(10_000) == 10_000
