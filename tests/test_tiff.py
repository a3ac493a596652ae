"""TIFFs of every kind come out as they were meant: a second reader tells what is stored, a formula what that shows."""

from itertools import product

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from tiff_files import (
    CHUNKY,
    CMYK,
    DEFLATE,
    GREY,
    LAB,
    PALETTE,
    PLANAR,
    RGB,
    UNCOMPRESSED,
    WHITE_IS_0,
    upright,
    write_tiff,
)

from foveal_env.images import decode
from foveal_env.images.decode import read_image
from foveal_env.images.slides import Slide

HEIGHT, WIDTH = 20, 35
LAYOUTS = ({"rows": 7}, {"rows": HEIGHT}, {"tile": 16}, {"tile": 64})  # strips, one strip, tiles, one tile
ASSOCIATED, OTHER_ALPHA, NO_ALPHA = 1, 2, 0

KINDS = {  # what samples mean, their number, what the last one is, and bits that can be read
    "grey": (GREY, 1, None, (1, 2, 4, 8, 12, 16)),
    "grey, 0 is white": (WHITE_IS_0, 1, None, (1, 2, 4, 8, 16)),
    "palette": (PALETTE, 1, None, (1, 2, 4, 8)),
    "grey and alpha": (GREY, 2, OTHER_ALPHA, (8,)),
    "RGB": (RGB, 3, None, (8, 16)),
    "RGB and alpha": (RGB, 4, OTHER_ALPHA, (8, 16)),
    "RGB and alpha that is not named": (RGB, 4, None, (8,)),
    "RGB multiplied with alpha": (RGB, 4, ASSOCIATED, (8, 16)),
    "RGB and something": (RGB, 4, NO_ALPHA, (8, 16)),
    "CMYK": (CMYK, 4, None, (8,)),
}
WITH_PLANES = ("RGB", "RGB and alpha", "RGB multiplied with alpha", "CMYK")
CASES = [(kind, bits, planes) for kind, (_, count, _, depths) in KINDS.items() for bits in depths
         for planes in (CHUNKY, PLANAR) if planes == CHUNKY or (kind in WITH_PLANES)]  # fmt: skip


def samples_of(kind, bits, random):
    """Return random samples [H, W, S]; colours that are multiplied with alpha are not above it."""
    _, count, extra, _ = KINDS[kind]
    samples = random.integers(0, 2**bits, (HEIGHT, WIDTH, count))
    if extra == ASSOCIATED:
        samples[..., :-1] = samples[..., :-1] * samples[..., -1:] // (2**bits - 1)
    return samples


def shown(kind, bits, stored, colours):
    """Return what stored samples show on black, [H, W, C] float64 in [0, 255]."""
    photometric, count, extra, _ = KINDS[kind]
    share = stored / (2**bits - 1)
    if photometric == PALETTE:
        return colours[stored[..., 0]] / 257
    if photometric == CMYK:
        return 255 * (1 - share[..., :3]) * (1 - share[..., 3:])
    if photometric == WHITE_IS_0:
        return 255 * (1 - share)
    has_alpha = extra == OTHER_ALPHA or (extra is None and count == 4)
    return 255 * share[..., : 3 if photometric == RGB else 1] * (share[..., -1:] if has_alpha else 1)


def stored_in(path, shape):
    """Return the samples [H, W, S] that tifffile finds."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        samples = page.asarray()
        return (np.moveaxis(samples, 0, -1) if page.planarconfig == PLANAR and shape[2] > 1 else samples).reshape(shape)


@pytest.mark.parametrize(("kind", "bits", "planes"), CASES)
def test_a_tiff_shows_what_it_stores(kind, bits, planes, tmp_path):
    random, path = np.random.default_rng(0), tmp_path / "a.tif"
    photometric, count, extra, _ = KINDS[kind]
    alpha = extra in (OTHER_ALPHA, ASSOCIATED) or (extra is None and count == 4)
    tolerance = 2 if alpha and bits == 16 else 1 if alpha or bits > 8 else 0
    orders, compressions = "<>" if kind != "grey, 0 is white" or bits < 16 else "<", (UNCOMPRESSED, DEFLATE)
    if bits == 12:
        orders = "<"
    for orientation, order, compression, layout in product(range(1, 9), orders, compressions, LAYOUTS):
        samples = samples_of(kind, bits, random)
        colours = random.integers(0, 256, (2**bits, 3)) * 257 if photometric == PALETTE else None
        options = {"planes": planes, "byte_order": order, "compression": compression, "extra": extra, **layout}
        write_tiff(
            path, samples, photometric=photometric, bits=bits, orientation=orientation, colours=colours, **options
        )
        said = f"orientation {orientation}, {options}"
        assert np.array_equal(stored_in(path, samples.shape), samples), said
        expected = shown(kind, bits, upright(samples, orientation), colours)
        image = read_image(path, expected.shape[2])
        pixels = (image.pixels() if isinstance(image, Slide) else image).permute(1, 2, 0).numpy()
        assert pixels.shape == expected.shape, said
        assert np.abs(pixels - expected).max() < tolerance + 1, said


REFUSED = {
    "grey and alpha in planes": ((GREY, 2, 8), {"planes": PLANAR, "extra": OTHER_ALPHA}, "in planes"),
    "a palette and alpha in planes": ((PALETTE, 2, 8), {"planes": PLANAR, "extra": OTHER_ALPHA}, "in planes"),
    "alpha that is not named, in planes": ((RGB, 4, 8), {"planes": PLANAR}, "in planes"),
    "something beside RGB, in planes": ((RGB, 4, 8), {"planes": PLANAR, "extra": NO_ALPHA}, "in planes"),
    "CIELab in planes": ((LAB, 3, 8), {"planes": PLANAR}, "in planes"),
    "signed bytes": ((GREY, 1, 8), {"more": {339: [2]}}, "signed values"),
    "signed, the highest byte first": ((GREY, 1, 16), {"more": {339: [2]}, "byte_order": ">"}, "signed values"),
    "reversed bits": ((GREY, 1, 16), {"more": {266: [2]}}, "reverse order"),
    "a dark palette": ((PALETTE, 1, 8), {}, "all of it would be black"),
    "4 bits of RGB": ((RGB, 3, 4), {}, "cannot identify"),
    "16 bits of alpha beside grey": ((GREY, 2, 16), {"extra": OTHER_ALPHA}, "cannot identify"),
}


@pytest.mark.parametrize("compression", [UNCOMPRESSED, DEFLATE])
@pytest.mark.parametrize("case", REFUSED)
def test_a_tiff_that_would_be_shown_wrongly_is_refused(case, compression, tmp_path):
    (photometric, count, bits), options, message = REFUSED[case]
    samples = np.random.default_rng(0).integers(0, 2**bits // 2, (HEIGHT, WIDTH, count))
    colours = np.random.default_rng(0).integers(0, 256, (256, 3)) if photometric == PALETTE else None
    path = write_tiff(tmp_path / "a.tif", samples, photometric=photometric, bits=bits, compression=compression,
                      colours=colours, **options)  # fmt: skip
    with pytest.raises(ValueError, match=rf"a\.tif is not an image that can be read: .*{message}"):
        read_image(path, 3)


@pytest.mark.parametrize(("kind", "bits", "planes"), CASES)
def test_tiles_are_shown_alike_without_the_library_of_slides(kind, bits, planes, tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "is_tiled", lambda path: False)
    photometric, _, extra, _ = KINDS[kind]
    samples = samples_of(kind, bits, np.random.default_rng(0))
    colours = np.random.default_rng(0).integers(0, 256, (2**bits, 3)) * 257 if photometric == PALETTE else None
    path = write_tiff(tmp_path / "a.tif", samples, photometric=photometric, bits=bits, planes=planes, tile=16,
                      extra=extra, colours=colours)  # fmt: skip
    expected = shown(kind, bits, samples, colours)
    pixels = read_image(path, expected.shape[2]).permute(1, 2, 0).numpy()
    assert np.abs(pixels - expected).max() < 3


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "tiff_adobe_deflate", "packbits", "raw"])
@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr"])
def test_a_turned_photo_is_upright_whatever_its_compression(mode, compression, tmp_path):
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)).resize((60, 40))
    for orientation in range(1, 9):
        smooth.convert(mode).save(tmp_path / "a.tif", compression=compression, tiffinfo={274: orientation})
        expected = upright(np.asarray(smooth.convert("L" if mode == "L" else "RGB")), orientation)
        pixels = read_image(tmp_path / "a.tif", 1 if mode == "L" else 3).permute(1, 2, 0).numpy()
        assert np.abs(pixels.reshape(expected.shape) - expected.astype(float)).mean() < 4


def test_signed_values_that_are_not_negative_are_read(tmp_path):
    samples = np.random.default_rng(0).integers(0, 2**15, (HEIGHT, WIDTH, 1))
    path = write_tiff(tmp_path / "a.tif", samples, bits=16, more={339: [2]})
    assert torch.equal(read_image(path, 1)[0], torch.from_numpy(samples[..., 0] // 257).to(torch.uint8))


def test_other_programs_read_tiffs_with_pillow_as_before(tmp_path):
    from PIL import TiffImagePlugin

    write_tiff(tmp_path / "a.tif", np.zeros((HEIGHT, WIDTH, 1), np.uint8))
    assert not TiffImagePlugin.READ_LIBTIFF
    read_image(tmp_path / "a.tif", 1)
    assert not TiffImagePlugin.READ_LIBTIFF
