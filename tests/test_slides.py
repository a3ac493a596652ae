"""Tiled files that are looked at without being loaded."""

import os

import numpy as np
import pytest
import tifffile
import torch
from image_files import photo, write_pyramid
from PIL import Image

import foveal_env.images.slides as slides
from foveal_encoders.base import Layout
from foveal_env.images import Images
from foveal_env.images.decode import read_image
from foveal_env.images.slides import Slide
from foveal_env.retina import extract


@pytest.mark.parametrize(
    "options", [{}, {"compression": "jpeg"}, {"compression": "jpeg2000"}, {"compression": "deflate"}]
)
def test_a_slide_looks_like_the_same_picture_in_memory(options, tmp_path):
    smooth = np.asarray(Image.fromarray(photo(30, 40)).resize((400, 304), Image.Resampling.BICUBIC))
    slide = Slide(write_pyramid(tmp_path / "a.ome.tif", smooth, **options))
    assert slide.size == (304, 400)
    assert [slide.level(box) for box in (1, 7.9, 8, 16, 31, 32, 1000)] == [0, 0, 1, 2, 2, 4, 4]  # 4 is the overview
    picture = torch.from_numpy(smooth.copy()).permute(2, 0, 1)
    mixed = Images.prepare([slide, picture, slide, noise := torch.zeros(3, 7, 9, dtype=torch.uint8)])
    generator = torch.Generator().manual_seed(0)
    layout = Layout(patch=8, zooms=6, zoom_range=(-1, 5))
    for _ in range(5):
        gaze = (torch.rand(1, 2, generator=generator) * 2.4 - 1.2).expand(4, 2)
        patches = extract(mixed, gaze, layout).patches
        assert (patches[0] - patches[1]).abs().mean() < (0.012 if "jpeg" in str(options) else 0.004)
        assert torch.equal(patches[0], patches[2])
        assert not patches[3].any()
    turned = mixed.rows(torch.tensor([3, 2]))
    assert turned.slides == (None, slide)
    joined = Images.cat([turned, mixed.rows([1])])
    assert torch.equal(joined.pixels(0), noise)
    assert torch.equal(joined.pixels(2), picture)
    assert joined.pixels(1).shape == (3, 38, 50)
    assert joined.rows([0, 2]).slides == ()


def test_a_glimpse_reads_few_tiles_and_the_cache_is_bounded(tmp_path, monkeypatch):
    slide = Slide(write_pyramid(tmp_path / "a.svs", photo(1024, 1024), factors=(1, 4, 16)))
    read = []
    monkeypatch.setattr(slides._Level, "read", lambda self, n, old=slides._Level.read: read.append(n) or old(self, n))
    layout = Layout(patch=8, zooms=4, zoom_range=(2, 5))
    images, gaze = Images.prepare([slide]), torch.tensor([[0.3, 0.4]])
    extract(images, gaze, layout)
    assert 0 < len(read) < 60
    read.clear()
    extract(images, gaze, layout)
    assert not read  # all in the cache
    monkeypatch.setattr(slides, "CACHE", 20 * 32 * 32 * 3)
    for x in torch.linspace(-1, 1, 12):
        extract(images, torch.tensor([[x, 0.0]]), layout)
        assert sum(tile.nbytes for tile in slides._cache.values()) <= slides.CACHE


def test_damaged_slides_are_named(tmp_path):
    with tifffile.TiffWriter(tmp_path / "gap.svs") as file:
        for side, tile in ((512, (64, 64)), (40, None), (32, (16, 16))):  # finest level, thumbnail, coarse level
            file.write(
                photo(side, side), tile=tile, photometric="rgb", description="Aperio Image Library", metadata=None
            )
    with pytest.raises(ValueError, match=r"gap.svs lacks a level between 512 x 512 and 32 x 32 px"):
        Slide(tmp_path / "gap.svs")
    tifffile.imwrite(tmp_path / "flat.svs", photo(), photometric="rgb")
    with pytest.raises(ValueError, match=r"flat.svs is not a slide that can be read: its levels must be tiled"):
        Slide(tmp_path / "flat.svs")
    kinds = {
        "palette": {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)},
        "white": {"photometric": "miniswhite"},
        "bits": {"photometric": "minisblack", "bitspersample": 12, "compression": "packints"},
    }
    for name, options in kinds.items():
        grey = photo(40, 60)[..., 0].astype(np.uint16 if name == "bits" else np.uint8)
        try:
            tifffile.imwrite(tmp_path / f"{name}.svs", grey, tile=(16, 16), **options)
        except (ValueError, KeyError, NotImplementedError):
            continue  # this tifffile cannot write it
        with pytest.raises(ValueError, match=f"{name}.svs is not a slide that can be read: it"):
            Slide(tmp_path / f"{name}.svs")
    tifffile.imwrite(tmp_path / "bomb.svs", photo(), tile=(4096, 4096), photometric="rgb", compression="deflate")
    with pytest.raises(ValueError, match=r"bomb.svs .*its tiles have 4096 x 4096 px"):
        Slide(tmp_path / "bomb.svs")
    path = write_pyramid(tmp_path / "cut.tif", photo(512, 512), factors=(1, 2, 4))
    slide = Slide(path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"cut.tif is not a"):
        Slide(path)
    with pytest.raises(ValueError, match=r"cut.tif has a tile that cannot be read: it ends \d+ bytes early"):
        slide.box_averages(torch.full((1, 2), 400.0), torch.full((1,), 8.0), 4)
    os.remove(path)
    with pytest.raises(FileNotFoundError, match=r"no such picture: .*cut.tif"):
        slide.box_averages(torch.full((1, 2), 480.0), torch.full((1,), 8.0), 4)


@pytest.mark.parametrize("factors", [(1,), (1, 2)])
def test_a_large_smallest_level_is_reduced_to_an_overview_band_by_band(factors, tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "OVERVIEW", 4000)
    monkeypatch.setattr(slides, "BAND", 64)
    smooth = np.asarray(Image.fromarray(photo(30, 40)).resize((404, 306), Image.Resampling.BICUBIC))
    slide = Slide(write_pyramid(tmp_path / "a.ome.tif", smooth, factors=factors))
    asked, window = [], slides._Level.window
    monkeypatch.setattr(
        slides._Level, "window", lambda self, *box, **keep: asked.append(box[3]) or window(self, *box, **keep)
    )
    assert slide.overview.size.prod() <= 4000
    assert len(asked) > 1
    assert max(asked) <= 64
    picture = torch.from_numpy(smooth.copy()).permute(2, 0, 1)
    mixed = Images.prepare([slide, picture])
    generator = torch.Generator().manual_seed(0)
    layout = Layout(patch=8, zooms=6, zoom_range=(-1, 5))
    for _ in range(10):
        gaze = (torch.rand(1, 2, generator=generator) * 2.4 - 1.2).expand(2, 2)
        patches = extract(mixed, gaze, layout).patches
        assert (patches[0] - patches[1]).abs().mean() < 0.004


def test_a_slide_without_an_overview_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "OVERVIEW", 30)
    tifffile.imwrite(tmp_path / "a.tif", photo(), tile=(16, 16), photometric="rgb")
    with pytest.raises(ValueError, match=r"60 x 40 px and no level of at most 1,920 px.*vips tiffsave"):
        Slide(tmp_path / "a.tif")


def test_a_slide_is_opened_once_and_known_by_its_file_and_channels(tmp_path):
    path = write_pyramid(tmp_path / "a.svs", photo(256, 256), factors=(1, 4))
    grey, colour = read_image(path, 1), read_image(path, 3)
    assert read_image(path, 3) is colour
    square = torch.full((1, 2), 100.0), torch.full((1,), 8.0), 4
    for slide in (grey, colour, grey):
        found = slide.box_averages(*square)
        expected = Images.prepare([torch.from_numpy(photo(256, 256)).permute(2, 0, 1)]).box_averages(
            square[0][None], square[1][None], 4
        )[0]
        assert torch.allclose(found.mean(dim=1), expected.mean(dim=1), atol=0.3)
        assert found.shape == (1, slide.channels, 4, 4)
    write_pyramid(path, photo(512, 256), factors=(1, 4))
    assert read_image(path, 3).size == (512, 256)


def test_a_damaged_header_never_gets_past_one_error(tmp_path):
    whole = write_pyramid(tmp_path / "a.svs", photo(64, 64), factors=(1, 2)).read_bytes()
    random = np.random.default_rng(0)
    for number in range(150):
        data = bytearray(whole)
        for place in random.integers(0, len(data) if number % 3 else 400, 6):
            data[place] = random.integers(256)
        path = tmp_path / f"{number}.svs"
        path.write_bytes(data)
        try:
            slide = Slide(path)
            slide.box_averages(torch.tensor([[20.0, 20.0], [32.0, 32.0]]), torch.tensor([8.0, 64.0]), 4)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
