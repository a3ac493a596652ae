"""Picture files of every kind and size, slides, bad input, and scenes made ahead."""

import io
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import foveal_env.images.slides as slides
from foveal_encoders.base import Layout
from foveal_env.images import Images
from foveal_env.images.slides import Slide
from foveal_env.retina import extract
from foveal_env.sources.base import scramble
from foveal_env.sources.composed import Digits
from foveal_env.sources.pictures import Folder, Unlabelled, read_picture
from foveal_env.sources.prefetch import Prefetcher


def photo(height=40, width=60, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def saved(path, picture, **options):
    picture.save(path, **options)
    return path


KINDS = {
    "grey.png": lambda path: Image.fromarray(photo()[..., 0]).save(path),
    "bits.png": lambda path: Image.fromarray(photo()[..., 0]).convert("1").save(path),
    "rgb.png": lambda path: Image.fromarray(photo()).save(path),
    "rgba.png": lambda path: Image.fromarray(photo(channels=4)).save(path),
    "la.png": lambda path: Image.fromarray(photo(channels=4)).convert("LA").save(path),
    "palette.png": lambda path: Image.fromarray(photo()).quantize(32).save(path),
    "clear.gif": lambda path: Image.fromarray(photo()).quantize(8).save(path, transparency=0),
    "deep.png": lambda path: Image.fromarray(photo()[..., 0].astype(np.uint16) * 257).save(path),
    "deep.tif": lambda path: Image.fromarray(photo()[..., 0].astype(np.uint16) * 257).save(path),
    "rgb.jpg": lambda path: Image.fromarray(photo()).save(path),
    "cmyk.jpg": lambda path: Image.fromarray(photo()).convert("CMYK").save(path),
    "rgb.webp": lambda path: Image.fromarray(photo()).save(path),
    "rgb.tif": lambda path: Image.fromarray(photo()).save(path),
    "rgb.bmp": lambda path: Image.fromarray(photo()).save(path),
    "tiled.tif": lambda path: tifffile.imwrite(path, photo(), tile=(16, 16), photometric="rgb"),
    "tiled16.tif": lambda path: tifffile.imwrite(
        path, photo().astype(np.uint16) * 257, tile=(16, 16), photometric="rgb"
    ),
    "strips.btf": lambda path: tifffile.imwrite(path, photo(), photometric="rgb", bigtiff=True),
    "strips.ome.tif": lambda path: tifffile.imwrite(path, photo(), photometric="rgb"),
    "planes.tif": lambda path: tifffile.imwrite(
        path, photo().transpose(2, 0, 1).copy(), tile=(16, 16), photometric="rgb", planarconfig="separate"
    ),
    "white.tif": lambda path: tifffile.imwrite(path, 255 - photo()[..., 0], tile=(16, 16), photometric="miniswhite"),
    "cmyk.tif": lambda path: tifffile.imwrite(path, photo(channels=4), tile=(16, 16), photometric="separated"),
    "palette.tif": lambda path: tifffile.imwrite(
        path,
        photo()[..., 0],
        tile=(16, 16),
        photometric="palette",
        colormap=np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1)),
    ),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_picture_becomes_bytes(kind, channels, tmp_path):
    path = tmp_path / kind
    KINDS[kind](path)
    picture = read_picture(path, channels)
    pixels = picture.pixels() if isinstance(picture, Slide) else picture
    assert pixels.shape == (channels, 40, 60)
    assert pixels.dtype == torch.uint8
    expected = torch.from_numpy(photo()).permute(2, 0, 1)
    if channels == 3 and kind.startswith(("rgb.p", "rgb.t", "rgb.b", "tiled", "strips", "planes")):
        assert torch.equal(pixels, expected)
    if kind in ("grey.png", "deep.png", "deep.tif", "white.tif", "palette.tif"):
        assert torch.equal(pixels, expected[:1].expand(channels, -1, -1))
    assert pixels.float().std() > 10


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"]),
    st.sampled_from(["png", "tif", "webp", "jpg", "bmp"]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([1, 3]),
    st.integers(0, 9),
)
def test_pixels_are_those_of_pillows_own_conversion(mode, suffix, size, channels, seed):
    shown = Image.fromarray(photo(*size, channels=4, seed=seed)).convert("RGB" if mode in ("YCbCr", "CMYK") else "RGBA")
    picture, file = shown.convert(mode), io.BytesIO()
    try:
        picture.save(file, {"tif": "tiff", "jpg": "jpeg"}.get(suffix, suffix), lossless=True)
    except OSError:  # this format has no such mode
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"picture.{suffix}"
        path.write_bytes(file.getvalue())
        found = read_picture(path, channels).permute(1, 2, 0).numpy()
        with Image.open(path) as again:
            if again.has_transparency_data:
                again = Image.alpha_composite(Image.new("RGBA", again.size, (0, 0, 0, 255)), again.convert("RGBA"))
            expected = np.asarray(again.convert("L" if channels == 1 else "RGB"))
    assert np.array_equal(found, expected.reshape(*size, channels))


def test_what_is_transparent_is_black_and_a_turned_photo_is_upright(tmp_path):
    clear = np.full((4, 4, 4), 255, np.uint8)
    clear[..., 3] = 0
    assert not read_picture(saved(tmp_path / "clear.png", Image.fromarray(clear)), 3).any()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    path = saved(tmp_path / "turned.png", Image.fromarray(photo(20, 30)), exif=exif)
    assert torch.equal(read_picture(path, 3), torch.from_numpy(np.rot90(photo(20, 30), -1).copy()).permute(2, 0, 1))
    half = photo(channels=4)
    half[..., 3], half[:, 30:, 3] = 255, 0
    tifffile.imwrite(tmp_path / "clear.tif", half, tile=(16, 16), photometric="rgb", extrasamples=["unassalpha"])
    shown = read_picture(tmp_path / "clear.tif", 3).pixels()
    assert torch.equal(shown[..., :30], torch.from_numpy(half[:, :30, :3]).permute(2, 0, 1))
    assert not shown[..., 30:].any()
    turned = [(274, "H", 1, 6, True)]
    tifffile.imwrite(tmp_path / "turned.tif", photo(20, 30), tile=(16, 16), photometric="rgb", extratags=turned)
    shown = read_picture(tmp_path / "turned.tif", 3)
    assert torch.equal(shown, torch.from_numpy(np.rot90(photo(20, 30), -1).copy()).permute(2, 0, 1))


def test_what_would_be_black_or_wrong_without_a_word_is_refused(tmp_path):
    dark = saved(tmp_path / "dark.png", Image.fromarray(photo()[..., 0].astype(np.uint16)))
    with pytest.raises(ValueError, match=r"dark.png .*16 bits, but no value above 255: all of it would be black"):
        read_picture(dark, 1)
    for axes, shape in (("CYX", (3, 40, 60)), ("ZYXS", (4, 40, 60, 3))):
        path = tmp_path / f"{axes}.ome.tif"
        kind = "rgb" if axes == "ZYXS" else "minisblack"
        stack = np.zeros(shape, np.uint8)
        tifffile.imwrite(path, stack + 9, tile=(16, 16), photometric=kind, metadata={"axes": axes})
        with pytest.raises(ValueError, match=f"a stack of planes .axes {axes}"):
            read_picture(path, 3)
    path = write_pyramid(tmp_path / "empty.tif", photo(64, 64), factors=(1, 2))
    with tifffile.TiffFile(path, mode="r+b") as file:
        counts = file.pages[0].tags["TileByteCounts"]
        counts.overwrite([0] * counts.count)
    with pytest.raises(ValueError, match=r"empty.tif .*all tiles of its level of 64 x 64 px are empty"):
        read_picture(path, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe.png is not a file"):
        read_picture(tmp_path / "pipe.png", 1)


def test_no_picture_makes_a_program_run(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match=r"a.jpg is not a picture that can be read: cannot identify"):
        read_picture(tmp_path / "a.jpg", 3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 30000), (30000, 1), (2, 3)])
def test_tiny_and_thin_pictures_can_be_looked_at(height, width, tmp_path):
    path = saved(tmp_path / "thin.png", Image.fromarray(np.full((height, width), 255, np.uint8)))
    images = Images.prepare([read_picture(path, 1)])
    patches = extract(images, torch.zeros(1, 2), Layout(patch=4, zooms=8, zoom_range=(0, 5))).patches
    assert patches.isfinite().all()
    assert patches[0, -1].max() == pytest.approx(1, abs=1e-3)


BROKEN = {
    "empty.jpg": b"",
    "text.png": b"this is no picture",
    "head.tif": b"II*\0\x08\0\0\0",
    "noise.svs": bytes(range(256)),
    "nothing.webp": b"RIFF\0\0\0\0WEBP",
}


@pytest.mark.filterwarnings("ignore")  # of the readers
@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_is_no_picture_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(ValueError, match=f"{name} is not a picture that can be read"):
        read_picture(tmp_path / name, 3)
    with pytest.raises(FileNotFoundError, match=r"no such picture: .*gone"):
        read_picture(tmp_path / f"gone{name}", 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_truncated_picture_is_named(suffix, tmp_path):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(photo(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"cut.{suffix} is not a picture"):
        read_picture(path, 3)


def test_float_pictures_and_sizes_beyond_the_limit_are_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "float.tif", Image.fromarray(np.zeros((4, 4), np.float32)))
    with pytest.raises(ValueError, match="floating point"):
        read_picture(path, 1)
    path = saved(tmp_path / "large.png", Image.new("L", (30, 40)))
    with pytest.raises(ValueError, match=r"large.png .*30 x 40 px, more than max_pixels=1,000 allows"):
        read_picture(path, 1, max_pixels=1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow's own limit: twice that is refused
    with pytest.raises(ValueError, match=r"large.png is too large.*max_pixels raises the limit"):
        read_picture(path, 1)
    assert read_picture(path, 1, max_pixels=10**8).shape == (1, 40, 30)


def write_pyramid(path, picture, factors=(1, 2, 4, 8), tile=32, **options):
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, factor in enumerate(factors):
            height, width = (length // factor * factor for length in picture.shape[:2])
            level = picture[:height, :width].reshape(height // factor, factor, width // factor, factor, 3).mean((1, 3))
            file.write(
                level.round().astype(np.uint8),
                tile=(tile, tile),
                photometric="rgb",
                subifds=len(factors) - 1 if number == 0 else None,
                subfiletype=int(number > 0),
                **options,
            )
    return path


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
    with pytest.raises(ValueError, match=r"60 x 40 px and no level of at most 1,920 px.*vips tiffsave"):
        Slide(KINDS["tiled.tif"](tmp_path / "a.tif") or tmp_path / "a.tif")


def test_a_slide_is_opened_once_and_known_by_its_file_and_channels(tmp_path):
    path = write_pyramid(tmp_path / "a.svs", photo(256, 256), factors=(1, 4))
    grey, colour = read_picture(path, 1), read_picture(path, 3)
    assert read_picture(path, 3) is colour
    square = torch.full((1, 2), 100.0), torch.full((1,), 8.0), 4
    for slide in (grey, colour, grey):
        found = slide.box_averages(*square)
        expected = Images.prepare([torch.from_numpy(photo(256, 256)).permute(2, 0, 1)]).box_averages(
            square[0][None], square[1][None], 4
        )[0]
        assert torch.allclose(found.mean(dim=1), expected.mean(dim=1), atol=0.3)
        assert found.shape == (1, slide.channels, 4, 4)
    write_pyramid(path, photo(512, 256), factors=(1, 4))
    assert read_picture(path, 3).size == (512, 256)


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore")  # of forking a process with threads
def test_a_forked_child_reads_and_does_not_wait_for_ever(folder):
    source = Folder(folder=folder)
    ahead = Prefetcher(source)
    ahead.request(torch.arange(3))
    child = os.fork()
    if not child:
        try:
            os._exit(int(len(ahead.take(torch.arange(3))) != 3))
        finally:
            os._exit(2)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
    assert done
    assert status == 0


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(20):
            Image.fromarray(photo(10 + number, 40 - number, seed=number)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_a_file_that_vanishes_is_named_or_skipped_and_counted(folder):
    strict, lenient = (Folder(folder=folder, broken=broken) for broken in ("unchecked", "skip"))
    os.remove(strict.paths[3])
    with pytest.raises(FileNotFoundError, match=f"no such picture: .*{strict.paths[3].name}"):
        strict.pictures(torch.tensor([2, 3]), torch.tensor([2, 3]))
    with pytest.warns(UserWarning, match=r"left out 1 of 32 pictures by now; the last one: no such picture"):
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


def _shown(source, number):
    """Return which picture scene `number` shows."""
    return int(scramble(torch.tensor([number]), 0)[0] % source.count)


def test_scenes_made_ahead_are_the_same_scenes():
    source = Digits(canvas=40, clutter=2)
    source.reads_files = True
    ahead, index = Prefetcher(source), torch.tensor([5, 3, 9, 4])
    ahead.request(index[:3])
    for chosen in ([0, 1, 2], [3], [0, 3]):
        ahead.request(index)
        for part in (index[chosen], index[chosen].flip(0), index[[0, 0]]):
            scenes, expected = ahead.take(part), source.scenes(part)
            assert torch.equal(scenes.index, part)
            assert torch.equal(scenes.label, expected.label)
            for row in range(len(part)):
                assert torch.equal(scenes.images.pixels(row), expected.images.pixels(row))


def test_scenes_are_made_by_the_worker_once_and_its_errors_arrive(folder):
    source = Folder(folder=folder)
    made = []
    scenes = source.scenes
    source.scenes = lambda index: made.append((threading.current_thread().name, index.tolist())) or scenes(index)
    ahead = Prefetcher(source)
    ahead.request(torch.arange(4))
    ahead.take(torch.tensor([1, 2]))
    ahead.take(torch.tensor([3, 0]))
    ahead.request(torch.tensor([7, 8]))
    ahead.request(torch.tensor([8, 9]))  # 8 is under way already, 7 is given up
    ahead.take(torch.tensor([9, 8]))
    assert not ahead._places
    assert [numbers for _, numbers in made] == [[0, 1, 2, 3], [7, 8], [9]]
    assert "foveal_env.ahead" in made[0][0]
    bad = source.paths[0]
    good = [n for n in range(40) if source.paths[_shown(source, n)] != bad][:1]
    bad_one = [n for n in range(400) if source.paths[_shown(source, n)] == bad][:1]
    bad.unlink()
    ahead.request(torch.tensor(good + bad_one))
    assert len(ahead.take(torch.tensor(good))) == 1  # what another row would raise is not raised here
    for path in source.paths:
        path.unlink(missing_ok=True)
    ahead.request(torch.arange(4))
    with pytest.raises(FileNotFoundError, match="no such picture"):
        ahead.take(torch.arange(4))
