"""Files of every kind and size become bytes; what cannot is named."""

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import photo, saved, write_pyramid
from PIL import Image

from foveal_encoders.base import Layout
from foveal_env.images import Images
from foveal_env.images.decode import read_image
from foveal_env.images.slides import Slide
from foveal_env.retina import extract

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
def test_every_kind_of_image_becomes_bytes(kind, channels, tmp_path):
    path = tmp_path / kind
    KINDS[kind](path)
    image = read_image(path, channels)
    pixels = image.pixels() if isinstance(image, Slide) else image
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
    image, file = shown.convert(mode), io.BytesIO()
    try:
        image.save(file, {"tif": "tiff", "jpg": "jpeg"}.get(suffix, suffix), lossless=True)
        Image.open(file).load()
    except OSError:  # this format has no such mode, or this Pillow cannot read what it wrote
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"image.{suffix}"
        path.write_bytes(file.getvalue())
        pixels = read_image(path, channels).permute(1, 2, 0).numpy()
        with Image.open(path) as again:
            if again.has_transparency_data:
                again = Image.alpha_composite(Image.new("RGBA", again.size, (0, 0, 0, 255)), again.convert("RGBA"))
            expected = np.asarray(again.convert("L" if channels == 1 else "RGB"))
    rounding = mode == "YCbCr" and suffix == "tif"  # libtiff rounds otherwise than Pillow
    assert np.abs(pixels.astype(int) - expected.reshape(*size, channels)).max() <= rounding


def test_what_is_transparent_is_black(tmp_path):
    clear = np.full((4, 4, 4), 255, np.uint8)
    clear[..., 3] = 0
    assert not read_image(saved(tmp_path / "clear.png", Image.fromarray(clear)), 3).any()


def test_what_is_transparent_in_a_slide_is_black(tmp_path):
    half = photo(channels=4)
    half[..., 3], half[:, 30:, 3] = 255, 0
    tifffile.imwrite(tmp_path / "clear.tif", half, tile=(16, 16), photometric="rgb", extrasamples=["unassalpha"])
    pixels = read_image(tmp_path / "clear.tif", 3).pixels()
    assert torch.equal(pixels[..., :30], torch.from_numpy(half[:, :30, :3]).permute(2, 0, 1))
    assert not pixels[..., 30:].any()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_turned_photo_is_upright(suffix, tmp_path):
    path = tmp_path / f"turned.{suffix}"
    if suffix == "tif":
        tags = [(274, "H", 1, 6, True)]
        tifffile.imwrite(path, photo(20, 30), tile=(16, 16), photometric="rgb", extratags=tags)
    else:
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by 90 degrees
        Image.fromarray(photo(20, 30)).save(path, exif=exif)
    upright = np.rot90(photo(20, 30), -1).copy()
    assert torch.equal(read_image(path, 3), torch.from_numpy(upright).permute(2, 0, 1))


def test_16_bits_without_a_bright_value_are_refused_because_all_would_be_black(tmp_path):
    path = saved(tmp_path / "dark.png", Image.fromarray(photo()[..., 0].astype(np.uint16)))
    with pytest.raises(ValueError, match=r"dark.png .*16 bits, but no value above 255: all of it would be black"):
        read_image(path, 1)


@pytest.mark.parametrize(
    ("axes", "shape", "kind"), [("CYX", (3, 40, 60), "minisblack"), ("ZYXS", (4, 40, 60, 3), "rgb")]
)
def test_a_stack_of_planes_is_refused(axes, shape, kind, tmp_path):
    path = tmp_path / "stack.ome.tif"
    stack = np.full(shape, 9, np.uint8)
    tifffile.imwrite(path, stack, tile=(16, 16), photometric=kind, metadata={"axes": axes})
    with pytest.raises(ValueError, match=f"a stack of planes .axes {axes}"):
        read_image(path, 3)


def test_a_level_without_tiles_is_refused(tmp_path):
    path = write_pyramid(tmp_path / "empty.tif", photo(64, 64), factors=(1, 2))
    with tifffile.TiffFile(path, mode="r+b") as file:
        counts = file.pages[0].tags["TileByteCounts"]
        counts.overwrite([0] * counts.count)
    with pytest.raises(ValueError, match=r"empty.tif .*all tiles of its level of 64 x 64 px are empty"):
        read_image(path, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe.png is not a file"):
        read_image(tmp_path / "pipe.png", 1)


def test_no_file_makes_a_program_run(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match=r"a.jpg is not an image that can be read: cannot identify"):
        read_image(tmp_path / "a.jpg", 3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 30000), (30000, 1), (2, 3)])
def test_tiny_and_thin_images_can_be_looked_at(height, width, tmp_path):
    path = saved(tmp_path / "thin.png", Image.fromarray(np.full((height, width), 255, np.uint8)))
    images = Images.prepare([read_image(path, 1)])
    patches = extract(images, torch.zeros(1, 2), Layout(patch=4, zooms=8, zoom_range=(0, 5))).patches
    assert patches.isfinite().all()
    assert patches[0, -1].max() == pytest.approx(1, abs=1e-3)


BROKEN = {
    "empty.jpg": b"",
    "text.png": b"this is no image",
    "head.tif": b"II*\0\x08\0\0\0",
    "noise.svs": bytes(range(256)),
    "nothing.webp": b"RIFF\0\0\0\0WEBP",
}


@pytest.mark.filterwarnings("ignore")  # of the readers
@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_is_no_image_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(ValueError, match=f"{name} is not an image that can be read"):
        read_image(tmp_path / name, 3)
    with pytest.raises(FileNotFoundError, match=r"no such image: .*gone"):
        read_image(tmp_path / f"gone{name}", 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_truncated_image_is_named(suffix, tmp_path):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(photo(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"cut.{suffix} is not an image"):
        read_image(path, 3)


def jpeg(path, **options):
    smooth = Image.fromarray(photo(6, 8)).resize((320, 240), Image.Resampling.BICUBIC)
    return saved(path, smooth, **options).read_bytes()


SOUND = {
    "baseline": lambda path: jpeg(path),
    "progressive": lambda path: jpeg(path, progressive=True),
    "restarts": lambda path: jpeg(path, restart_marker_rows=1),
    "restarts in scans": lambda path: jpeg(path, restart_marker_blocks=3, progressive=True),
    "a comment": lambda path: jpeg(path, comment=b"\xff\xd9" * 9),
    "bytes after the end": lambda path: jpeg(path) + b"\xff\xd8 more",
    "a thumbnail": lambda path: jpeg(path, exif=b"Exif\0\0" + jpeg(path.with_name("t.jpg"))),
    "several images": lambda path: jpeg(path, format="MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
}


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_jpeg_is_read_without_a_warning(kind, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(SOUND[kind](path))
    assert read_image(path, 3).shape == (3, 240, 320)


def without_a_restart(data):
    place = data.index(b"\xff\xd3")
    return data[:place] + data[place + 2 :]


DAMAGED = {
    "no end": (lambda data: data[: len(data) // 2] + bytes(20 * len(data)), {}, "its end is missing"),
    "a restart that is lost": (without_a_restart, {"restart_marker_rows": 1}, "restart markers are out of order"),
    "stray bytes": (lambda data: data[:20] + b"junk" + data[20:], {}, "4 stray bytes before marker 0xdb"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_jpeg_warns_where_its_markers_tell(case, tmp_path):
    damage, options, message = DAMAGED[case]
    path = tmp_path / "a.jpg"
    path.write_bytes(damage(jpeg(path, **options)))
    with pytest.warns(UserWarning, match=rf"a\.jpg is damaged, and may show something else: .*{message}"):
        assert read_image(path, 3).shape == (3, 240, 320)


def test_floating_point_is_refused(tmp_path):
    path = saved(tmp_path / "float.tif", Image.fromarray(np.zeros((4, 4), np.float32)))
    with pytest.raises(ValueError, match="floating point"):
        read_image(path, 1)


def test_an_image_beyond_the_limit_is_refused(tmp_path):
    path = saved(tmp_path / "large.png", Image.new("L", (30, 40)))
    with pytest.raises(ValueError, match=r"large.png .*30 x 40 px, more than max_pixels=1,000 allows"):
        read_image(path, 1, max_pixels=1000)


def test_max_pixels_raises_the_limit_of_pillow_too(tmp_path, monkeypatch):
    path = saved(tmp_path / "large.png", Image.new("L", (30, 40)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow refuses twice that
    with pytest.raises(ValueError, match=r"large.png is too large.*max_pixels raises the limit"):
        read_image(path, 1)
    assert read_image(path, 1, max_pixels=10**8).shape == (1, 40, 30)
