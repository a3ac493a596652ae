"""Scenes read from files: what vanishes, and kinds that are mixed."""

import os

import pytest
import torch
from image_files import photo, write_folder, write_pyramid

from foveal_encoders.base import Layout
from foveal_env.retina import extract
from foveal_env.sources.pictures import Folder, Unlabelled


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path)


def test_a_file_that_vanishes_is_named_or_skipped_and_counted(folder):
    strict, lenient = (Folder(folder=folder, broken=broken) for broken in ("unchecked", "skip"))
    os.remove(strict.paths[3])
    with pytest.raises(FileNotFoundError, match=f"no such image: .*{strict.paths[3].name}"):
        strict.pictures(torch.tensor([2, 3]), torch.tensor([2, 3]))
    with pytest.warns(UserWarning, match=r"left out 1 of 32 pictures by now; the last one: no such image"):
        images, shown = lenient.pictures(torch.tensor([2, 3, 4]), torch.tensor([2, 3, 4]))
    assert shown.tolist() == [2, 4, 4]
    assert torch.equal(images.pixels(1), images.pixels(2))
    for path in lenient.paths:
        path.unlink(missing_ok=True)
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match="none of the 32 pictures"),
    ):
        lenient.pictures(torch.tensor([0]), torch.tensor([0]))


def test_mixed_kinds_are_one_batch(folder, tmp_path):
    write_pyramid(tmp_path / "big.ome.tif", photo(256, 300))
    paths = [tmp_path / "cat" / "0.png", tmp_path / "big.ome.tif", tmp_path / "dog" / "7.png"]
    source = Unlabelled(paths, channels=3, classes=["a"])
    scenes = source.scenes(torch.arange(3))
    assert scenes.images.size.tolist() == [[10, 40], [256, 300], [17, 33]]
    assert extract(scenes.images, torch.zeros(3, 2), Layout(patch=8)).patches.shape == (3, 3, 3, 8, 8)
