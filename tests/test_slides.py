"""Tiled files that are looked at without being loaded."""

import io
import os

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from image_files import photo, write_pyramid
from PIL import Image

from foveal_encoders.base import Layout
from foveal_env.images import Images, slides, tiff
from foveal_env.images.decode import read_image
from foveal_env.images.slides import Slide
from foveal_env.retina import extract


def smooth_photo(width, height):
    return np.asarray(Image.fromarray(photo(30, 40)).resize((width, height), Image.Resampling.BICUBIC))


def to_image(pixels):
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def some_gazes(count):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 2, generator=generator) * 2.4 - 1.2 for _ in range(count)]


LAYOUT = Layout(patch=8, zooms=6, zoom_range=(-1, 5))


@pytest.mark.parametrize(
    "options", [{}, {"compression": "jpeg"}, {"compression": "jpeg2000"}, {"compression": "deflate"}], ids=str
)
def test_a_slide_looks_like_the_same_image_in_memory(options, tmp_path):
    pixels = smooth_photo(400, 304)
    slide = Slide(write_pyramid(tmp_path / "a.ome.tif", pixels, **options))
    mixed = Images.prepare([slide, to_image(pixels), slide, torch.zeros(3, 7, 9, dtype=torch.uint8)])
    for gaze in some_gazes(5):
        patches = extract(mixed, gaze.expand(4, 2), LAYOUT).patches
        assert (patches[0] - patches[1]).abs().mean() < (0.012 if "jpeg" in str(options) else 0.004)
        assert torch.equal(patches[0], patches[2])
        assert not patches[3].any()


def test_the_level_of_a_box_has_four_texels_across_it(tmp_path):
    slide = Slide(write_pyramid(tmp_path / "a.ome.tif", smooth_photo(400, 304)))
    assert slide.size == (304, 400)
    assert [slide.level(box) for box in (1, 7.9, 8, 16, 31, 32, 1000)] == [0, 0, 1, 2, 2, 4, 4]  # 4 is the overview


def test_slides_keep_their_rows(tmp_path):
    image, black = to_image(smooth_photo(400, 304)), torch.zeros(3, 7, 9, dtype=torch.uint8)
    slide = Slide(write_pyramid(tmp_path / "a.ome.tif", smooth_photo(400, 304)))
    mixed = Images.prepare([slide, image, slide, black])
    turned = mixed.rows(torch.tensor([3, 2]))
    assert turned.slides == (None, slide)
    joined = Images.cat([turned, mixed.rows([1])])
    assert torch.equal(joined.pixels(0), black)
    assert torch.equal(joined.pixels(2), image)
    assert joined.pixels(1).shape == (3, 38, 50)
    assert joined.rows([0, 2]).slides == ()


def test_a_glimpse_reads_few_tiles_and_again_none(tmp_path, monkeypatch):
    slide = Slide(write_pyramid(tmp_path / "a.svs", photo(1024, 1024), factors=(1, 4, 16)))
    reads, read = [], tiff.Level.read
    monkeypatch.setattr(tiff.Level, "read", lambda self, number: reads.append(number) or read(self, number))
    layout = Layout(patch=8, zooms=4, zoom_range=(2, 5))
    images, gaze = Images.prepare([slide]), torch.tensor([[0.3, 0.4]])
    extract(images, gaze, layout)
    assert 0 < len(reads) < 60
    reads.clear()
    extract(images, gaze, layout)
    assert not reads


def test_the_cache_of_tiles_is_bounded_and_keeps_the_latest():
    cache, reads = tiff.TileCache(limit=300), []

    def read(key):
        reads.append(key)
        return np.full(100, key, np.uint8)

    for keys in ([1, 2], [3, 4], [4, 3], [1]):
        assert [tile[0] for tile in cache.get(keys, read, keep=True)] == keys
        assert cache.size <= cache.limit
    assert sorted(reads) == [1, 1, 2, 3, 4]
    cache.get([5], read, keep=False)
    assert cache.size == 300
    cache.get([1, 3, 4], read, keep=True)
    assert len(reads) == 6  # the one that was not kept has pushed out none


def write_gap(path):
    with tifffile.TiffWriter(path) as file:
        for side, tile in ((512, (64, 64)), (40, None), (32, (16, 16))):  # finest level, thumbnail, coarse level
            file.write(
                photo(side, side), tile=tile, photometric="rgb", description="Aperio Image Library", metadata=None
            )


def write_palette(path):
    tifffile.imwrite(
        path, photo()[..., 0], tile=(16, 16), photometric="palette", colormap=np.zeros((3, 256), np.uint16)
    )


def write_bits(path):
    grey = photo()[..., 0].astype(np.uint16)
    options = {"photometric": "minisblack", "bitspersample": 12, "compression": "packints"}
    try:
        tifffile.imwrite(path, grey, tile=(16, 16), **options)
    except (ValueError, KeyError, NotImplementedError):
        pytest.skip("did not run: this tifffile cannot write 12 bits")


def write_cut(path):
    write_pyramid(path, photo(512, 512), factors=(1, 2, 4))
    path.write_bytes(path.read_bytes()[:100_000])


UNFIT = {
    "gap": (write_gap, "lacks a level between 512 x 512 and 32 x 32 px"),
    "flat": (
        lambda path: tifffile.imwrite(path, photo(), photometric="rgb"),
        "is not a slide that can be read: its levels must be tiled",
    ),
    "palette": (write_palette, "is not a slide that can be read: it must be grey"),
    "white": (
        lambda path: tifffile.imwrite(path, photo()[..., 0], tile=(16, 16), photometric="miniswhite"),
        "is not a slide that can be read: it must be grey, with black as 0",
    ),
    "bits": (write_bits, "is not a slide that can be read: its channels must have 8 or 16 bits"),
    "bomb": (
        lambda path: tifffile.imwrite(path, photo(), tile=(4096, 4096), photometric="rgb", compression="deflate"),
        "its tiles have 4096 x 4096 px",
    ),
    "cut": (write_cut, "is not a"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_a_file_that_is_no_slide_is_named(kind, tmp_path):
    write, message = UNFIT[kind]
    path = tmp_path / f"{kind}.svs"
    write(path)
    with pytest.raises(ValueError, match=f"{kind}.svs .*{message}"):
        Slide(path)


def test_a_slide_that_is_cut_off_or_vanishes_while_it_is_open_is_named(tmp_path):
    path = write_pyramid(tmp_path / "cut.tif", photo(512, 512), factors=(1, 2, 4))
    slide = Slide(path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"cut.tif has a tile that cannot be read: it ends \d+ bytes early"):
        slide.box_averages(torch.full((1, 2), 400.0), torch.full((1,), 8.0), 4)
    os.remove(path)
    with pytest.raises(FileNotFoundError, match=r"no such image: .*cut.tif"):
        slide.box_averages(torch.full((1, 2), 480.0), torch.full((1,), 8.0), 4)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "webp", "png", "deflate", "zstd"])
def test_a_tile_takes_no_more_memory_than_a_tile(compression, tmp_path):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, photo(32, 32), tile=(16, 16), photometric="rgb", compression=compression)
    assert Slide(path).pixels().shape == (3, 32, 32)
    large = Image.new("RGB", (5000, 5000))
    if compression in ("deflate", "zstd"):
        encode = {"deflate": imagecodecs.zlib_encode, "zstd": imagecodecs.zstd_encode}[compression]
        data = encode(large.tobytes())
    else:
        file = io.BytesIO()
        large.save(file, compression, **({"no_jp2": True} if compression == "jpeg2000" else {}))
        data = file.getvalue()
    with tifffile.TiffFile(path) as file:
        places = file.pages.first.tags["TileOffsets"], file.pages.first.tags["TileByteCounts"]
    end = path.stat().st_size
    path.write_bytes(path.read_bytes() + data)
    with tifffile.TiffFile(path, mode="r+b") as file:
        sizes = [len(data), *places[1].value[1:]]
        file.pages.first.tags["TileByteCounts"].overwrite(sizes, dtype="I")
        file.pages.first.tags["TileOffsets"].overwrite([end, *places[0].value[1:]])
    reason = "" if compression in ("deflate", "zstd") else "it is an image of 5000 x 5000 px"
    with pytest.raises(ValueError, match=rf"bomb\.tif has a tile that cannot be read: .*{reason}"):
        Slide(path).pixels()


def test_a_compression_that_is_not_known_is_left_to_others(tmp_path):
    path = tmp_path / "a.svs"
    tifffile.imwrite(path, photo(32, 32), tile=(16, 16), photometric="rgb", compression="jpegxl")
    with pytest.raises(ValueError, match=r"a\.svs is not a slide that can be read: its compression .* is not known"):
        Slide(path)


@pytest.mark.parametrize("factors", [(1,), (1, 2)])
def test_a_large_smallest_level_is_reduced_to_an_overview_band_by_band(factors, tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "OVERVIEW", 4000)
    monkeypatch.setattr(slides, "BAND", 64)
    pixels = smooth_photo(404, 306)
    slide = Slide(write_pyramid(tmp_path / "a.ome.tif", pixels, factors=factors))
    heights, window = [], tiff.Level.window
    monkeypatch.setattr(
        tiff.Level, "window", lambda self, *box, **keep: heights.append(box[3]) or window(self, *box, **keep)
    )
    assert slide.overview.size.prod() <= 4000
    assert len(heights) > 1
    assert max(heights) <= 64
    mixed = Images.prepare([slide, to_image(pixels)])
    for gaze in some_gazes(10):
        patches = extract(mixed, gaze.expand(2, 2), LAYOUT).patches
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
    centre, side = torch.full((1, 2), 100.0), torch.full((1,), 8.0)
    expected = Images.prepare([to_image(photo(256, 256))]).box_averages(centre[None], side[None], 4)[0]
    for slide in (grey, colour, grey):
        averages = slide.box_averages(centre, side, 4)
        assert averages.shape == (1, slide.channels, 4, 4)
        assert torch.allclose(averages.mean(dim=1), expected.mean(dim=1), atol=0.3)
    write_pyramid(path, photo(512, 256), factors=(1, 4))
    assert read_image(path, 3).size == (512, 256)


@pytest.mark.parametrize("wrong", [-1.0, float("nan")])
def test_impossible_squares_of_a_slide_are_refused(wrong, tmp_path):
    images = Images.prepare([Slide(write_pyramid(tmp_path / "a.svs", photo(64, 64), factors=(1, 2)))])
    with pytest.raises(ValueError, match="the side of a patch must be above 0 and finite"):
        images.box_averages(torch.zeros(1, 1, 2), torch.tensor([[wrong]]), 4)


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
