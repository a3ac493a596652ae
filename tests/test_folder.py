"""Folders of classes: which files are shown in which split, and what happens to files that cannot be read."""

import pytest
import torch
from image_files import photo, write_folder, write_pyramid

from foveal_encoders.base import Layout
from foveal_env.images import Images
from foveal_env.images.decode import read_image
from foveal_env.make import make_source
from foveal_env.retina import extract
from foveal_env.sources.base import SPLITS
from foveal_env.sources.folder import Folder
from foveal_env.sources.pictures import Unlabelled


def parts_of(folder):
    return {split: make_source("folder", split, folder=str(folder)) for split in SPLITS}


def test_a_folder_is_split_once_at_random(folder):
    parts = parts_of(folder)
    assert [parts[split].count for split in SPLITS] == [32, 4, 4]
    assert len({path for source in parts.values() for path in source.paths}) == 40
    assert {source.classes for source in parts.values()} == {("cat", "dog")}
    for source in parts.values():
        assert [source.classes[label] for label in source.labels.tolist()] == [
            path.parent.name for path in source.paths
        ]


@pytest.mark.parametrize(
    ("folders", "counts", "where"),
    [
        (("train", "val", "test"), [20, 20, 20], ["train", "val", "test"]),
        (("train", "validation", "test"), [20, 20, 20], ["train", "validation", "test"]),
        (("train", "test"), [18, 2, 20], ["train", "train", "test"]),
        (("train", "val"), [18, 2, 20], ["train", "train", "val"]),
    ],
    ids=["all", "validation", "no val", "ImageNet"],
)
def test_a_folder_can_have_splits_of_its_own(folders, counts, where, tmp_path):
    for name in folders:
        write_folder(tmp_path / name, count=10)
    parts = parts_of(tmp_path)
    assert [parts[split].count for split in SPLITS] == counts
    for split, name in zip(SPLITS, where, strict=True):
        assert {path.relative_to(tmp_path).parts[0] for path in parts[split].paths} == {name}
    assert len({path for source in parts.values() for path in source.paths}) == sum(counts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs the option folder"),
        ({"folder": "/no/such/place"}, "no such folder: /no/such/place"),
        ({"folder": "EMPTY"}, "no images in .*: expected .*/CLASS/image with one of .bmp"),
        ({"folder": "EMPTY", "channels": 2}, r"channels must be 1 \(grey\) or 3 \(colour\), got 2"),
        ({"folder": "EMPTY", "broken": "no"}, "unknown value 'no' of broken; known: refuse, skip, unchecked"),
    ],
    ids=["none", "missing", "empty", "channels", "broken"],
)
def test_impossible_folders_are_refused(options, message, tmp_path):
    (tmp_path / "cat").mkdir()
    if options.get("folder") == "EMPTY":
        options = {**options, "folder": str(tmp_path)}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make_source("folder", "train", **options)


@pytest.fixture
def damaged(tmp_path):
    """A folder all of whose splits have a file that cannot be read."""
    for split in SPLITS:
        write_folder(tmp_path / split, classes=("cat",), count=6)
        whole = (tmp_path / split / "cat" / "0.png").read_bytes()
        (tmp_path / split / "cat" / "truncated.png").write_bytes(whole[: len(whole) // 2])
        (tmp_path / split / "cat" / "empty.jpg").write_bytes(b"")
    return str(tmp_path)


@pytest.mark.parametrize("split", SPLITS)
def test_broken_files_are_named_and_counted(split, damaged):
    with pytest.raises(ValueError, match=r"2 of 8 images cannot be read: .*empty.jpg.*truncated.png"):
        make_source("folder", split, folder=damaged)


@pytest.mark.parametrize("split", SPLITS)
def test_broken_files_are_left_out_on_request(split, damaged):
    with pytest.warns(UserWarning, match=r"left out 2 of 8 images that cannot be read: .*empty.jpg.*truncated.png"):
        source = make_source("folder", split, folder=damaged, broken="skip")
    assert source.count == 6


def test_unchecked_files_are_named_when_a_scene_shows_them(damaged):
    source = make_source("folder", "test", folder=damaged, broken="unchecked")
    assert source.count == 8
    for number, path in enumerate(source.paths):
        if path.stem in ("truncated", "empty"):
            with pytest.raises(ValueError, match=path.name):
                source.scenes(torch.tensor([number]))
        else:
            source.scenes(torch.tensor([number]))


def test_a_file_that_vanishes_is_named(tmp_path):
    source = Folder("validation", folder=write_folder(tmp_path))
    source.paths[3].unlink()
    with pytest.raises(FileNotFoundError, match=f"no such image: .*{source.paths[3].name}"):
        source.scenes(torch.tensor([2, 3]))


def test_a_file_that_vanishes_is_left_out_on_request(tmp_path):
    source = Folder("validation", folder=write_folder(tmp_path), broken="skip")
    source.paths[1].unlink()
    with pytest.warns(UserWarning, match=r"left out 1 of 4 images by now; the last one: no such image"):
        scenes = source.scenes(torch.tensor([0, 1, 2]))
    assert torch.equal(scenes.images.pixels(1), scenes.images.pixels(2))
    assert scenes.label.tolist() == source.labels[[0, 2, 2]].tolist()
    for path in source.paths:
        path.unlink(missing_ok=True)
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match="none of the 4 images of this source can be read"),
    ):
        source.scenes(torch.tensor([0]))


def test_augmented_images_are_parts_of_the_images(folder):
    plain, cropped = (make_source("folder", "train", folder=str(folder), augment=augment) for augment in (False, True))
    index = torch.arange(40)
    whole, parts = plain.scenes(index).images, cropped.scenes(index).images
    assert torch.equal(cropped.scenes(index).images.size, parts.size)
    assert not torch.equal(whole.size, parts.size)
    mirrored = 0
    for row in range(40):
        image, part = whole.pixels(row), parts.pixels(row)
        assert 0.3 < part.numel() / image.numel() <= 1
        height, width = part.shape[1:]
        windows = image.unfold(1, height, 1).unfold(2, width, 1).permute(1, 2, 0, 3, 4)
        straight = (windows == part).flatten(2).all(dim=2).any()
        turned = (windows == part.flip(2)).flatten(2).all(dim=2).any()
        assert straight or turned
        mirrored += bool(turned)
    assert 8 < mirrored < 32


def test_only_training_images_are_augmented(folder):
    plain, same = (make_source("folder", "test", folder=str(folder), augment=augment) for augment in (False, True))
    index = torch.arange(4)
    assert torch.equal(plain.scenes(index).images.texels, same.scenes(index).images.texels)


def test_small_pictures_of_a_folder_are_grey_squares(folder):
    source = make_source("ladder", "test", pictures_from="folder", folder=str(folder), side=16, canvas=[40, 60])
    files = make_source("folder", "test", folder=str(folder)).paths
    assert source.pictures.pixels.shape == (4, 16, 16)
    expected = Images.prepare([read_image(path, 1) for path in files]).thumbnails(16)[:, 0]
    assert torch.equal(source.pictures.pixels, (expected * 255).round().to(torch.uint8))
    assert source.scenes(torch.arange(4)).images.size.unique().tolist() == [40, 60]


def test_images_of_mixed_kinds_are_one_batch(folder, tmp_path):
    write_pyramid(tmp_path / "big.ome.tif", photo(256, 300))
    paths = [folder / "cat" / "0.png", tmp_path / "big.ome.tif", folder / "dog" / "7.png"]
    source = Unlabelled(paths, channels=3, classes=["a"])
    scenes = source.scenes(torch.arange(3))
    assert scenes.images.size.tolist() == [[10, 40], [256, 300], [17, 33]]
    assert extract(scenes.images, torch.zeros(3, 2), Layout(patch=8)).patches.shape == (3, 3, 3, 8, 8)
