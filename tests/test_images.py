"""Any image: properties against a slow exact reference, and the two ways of computing each thing against each other."""

import mmap
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal_encoders.base import Layout
from foveal_env.images import Images
from foveal_env.images.batch import FINEST, fill_levels, levels
from foveal_env.kernels import threads
from foveal_env.kernels.crops import add_crops, add_crops_in_tensors
from foveal_env.retina import extract, patch_squares

coordinate = st.floats(-1.5, 1.5, width=32)
side = st.one_of(st.integers(1, 12), st.integers(13, 300))


def noise(*shape, seed=0):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def exact(picture, left, top, step, patch):
    """The slow reference in float64: each pixel weighed with the area that it shares with each box."""

    def shares(start, count):
        a, i = start + step * np.arange(patch), np.arange(count)
        return np.clip(np.minimum((a + step)[:, None], i + 1) - np.maximum(a[:, None], i), 0, None) / step

    height, width = picture.shape[1:]
    return np.einsum("ph,chw,qw->cpq", shares(top, height), picture.numpy() / 255.0, shares(left, width), optimize=True)


@settings(max_examples=60, deadline=None)
@given(
    side, side, st.sampled_from([1, 3]), coordinate, coordinate, st.floats(-1, 6), st.integers(1, 9), st.integers(0, 9)
)
def test_every_box_is_close_to_the_exact_average(height, width, channels, x, y, zoom, patch, seed):
    picture = noise(channels, height, width, seed=seed)
    images, gaze = Images.prepare([picture]), torch.tensor([[x, y]])
    layout = Layout(patch=patch, zooms=1, zoom_range=(zoom, zoom))
    found = extract(images, gaze, layout).patches[0, 0].numpy()
    (centre,), (length,) = (part[0].double() for part in patch_squares(images.size, gaze, layout))
    length, (left, top) = length.item(), (centre - length / 2).tolist()
    expected = exact(picture, left, top, length / patch, patch)
    wrong = np.abs(found - expected).max()
    # exact in the image itself up to the 24 bits of a coordinate; else only texels that a border cuts are wrong, and a
    # noisy one is wrong by at most a quarter: four borders of a box that is at least FINEST texels wide
    inside = length / patch < 2 * FINEST
    tolerance = 2e-4 * max(height, width) / (length / patch) / 8 + 2e-6 if inside else 0.25 * 4 / FINEST / 2
    assert wrong <= tolerance + 2e-4
    assert found.min() >= -1e-4
    assert found.max() <= 1 + 1e-4


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(side, side), min_size=1, max_size=4),
    st.sampled_from([1, 2, 3, 4]),
    st.floats(-1, 5),
    st.integers(1, 40),
    st.integers(0, 9),
)
def test_compiled_equals_tensors_and_a_batch_equals_each_alone(sizes, channels, zoom, patch, seed):
    pictures = [noise(channels, *size, seed=seed) for size in sizes]
    images = Images.prepare(pictures)
    gaze = torch.rand(len(sizes), 2, generator=torch.Generator().manual_seed(seed)) * 3 - 1.5
    centre, length = patch_squares(images.size, gaze, Layout(patch=patch, zooms=3, zoom_range=(zoom, zoom + 1)))
    found = images.box_averages(centre, length, patch)
    assert torch.allclose(found, images.box_averages_in_tensors(centre, length, patch), atol=3e-4)
    for row, picture in enumerate(pictures):
        alone = Images.prepare([picture]).box_averages(centre[row : row + 1], length[row : row + 1], patch)
        assert torch.equal(found[row], alone[0])
        assert torch.equal(images.pixels(row), picture)


@settings(max_examples=30, deadline=None)
@given(side, side, st.sampled_from([1, 3]))
def test_the_compiled_pyramid_equals_the_one_in_tensors(height, width, channels):
    images = Images.prepare([noise(channels, *size) for size in ((height, width), (width, height), (height, width))])
    lengths = levels(images.size)[2]
    assert len(images.texels) == lengths.sum()
    again = Images(torch.zeros_like(images.texels), images.offset, images.size)
    for first, length in zip(images.offset.tolist(), lengths.tolist(), strict=True):
        again.texels[first : first + height * width] = images.texels[first : first + height * width]
        assert first + length <= len(images.texels)
    fill_levels(again)
    assert torch.equal(again.texels, images.texels)


def test_levels_keep_the_mean():
    images = Images.prepare(noise(1, 1, 512, 512))
    top = images.texels[-1].item()
    assert top == pytest.approx(images.pixels(0).float().mean().item(), abs=0.7)  # rounding up alone would add 1.1


def test_crops_are_added_alike_and_clipped():
    generator = torch.Generator().manual_seed(0)
    pictures = noise(5, 12, 12)
    which = torch.randint(5, (40, 6), generator=generator)
    crop, corner = (torch.randint(top, (40, 6, 2), generator=generator) for top in (5, 20))
    a, b = torch.zeros(2, 40, 30, 30, dtype=torch.uint8)
    add_crops(a, pictures, which, crop, corner, side=8)
    add_crops_in_tensors(b, pictures, which, crop, corner, side=8)
    assert torch.equal(a, b)
    assert a.max() == 255


def test_a_gaze_that_is_not_finite_is_refused():
    images = Images.prepare(noise(2, 1, 9, 9))
    with pytest.raises(ValueError, match="must be finite"):
        extract(images, torch.tensor([[0.0, 0.0], [float("nan"), 0.0]]), Layout(patch=4, zooms=2))
    far = extract(images, torch.full((2, 2), 1e30), Layout(patch=4, zooms=2)).patches
    assert not far.any()


def test_rows_that_do_not_match_are_refused():
    images, layout = Images.prepare(noise(2, 1, 9, 9)), Layout(patch=4, zooms=2)
    with pytest.raises(ValueError, match=r"2 images, but centres \[3, 2, 2\]"):
        images.box_averages(torch.zeros(3, 2, 2), torch.ones(3, 2), 4)
    with pytest.raises(ValueError, match="images, but"):
        images.box_averages(torch.zeros(2, 2, 2), torch.ones(2, 3), 4)
    with pytest.raises((ValueError, RuntimeError)):
        extract(images, torch.zeros(3, 2), layout)


def test_work_is_done_once_whatever_the_number_of_threads(monkeypatch):
    images, layout = Images.prepare(noise(70, 1, 33, 40)), Layout(patch=5, zooms=3)
    gaze = torch.rand(70, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    once = extract(images, gaze, layout).patches
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(threads, "WORTH", 1e-9)
    assert torch.equal(extract(images, gaze, layout).patches, once)
    assert torch.equal(Images.prepare(noise(70, 1, 33, 40)).texels, images.texels)


def test_painted_pictures_are_prepared_pictures():
    pictures = noise(3, 2, 11, 14)
    painted = Images.painted(3, 11, 14, 2, lambda canvas: canvas.copy_(pictures.permute(0, 2, 3, 1)))
    expected = Images.prepare(pictures)
    for field in ("texels", "offset", "size"):
        assert torch.equal(getattr(painted, field), getattr(expected, field))


def test_memory_is_a_third_more_than_the_picture():
    assert len(Images.prepare(noise(1, 3, 224, 224)).texels) < 1.34 * 224 * 224


@pytest.mark.skipif(not hasattr(mmap, "PROT_READ"), reason="no guarded memory here")
def test_nothing_is_read_or_written_beyond_the_memory_of_texels_and_patches():
    """Texels that end where a page that may not be touched begins; the same in front of them."""
    code = """
import ctypes, mmap, sys
import numpy as np, torch
from foveal_env.images import Images
random = np.random.default_rng(int(sys.argv[1]))
libc = ctypes.CDLL(None, use_errno=True)

def guarded(texels, front):
    page, size = mmap.PAGESIZE, len(texels)
    room = -(-size // page) * page
    memory = mmap.mmap(-1, room + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for wall in (start, start + page + room):
        assert libc.mprotect(ctypes.c_void_p(wall), ctypes.c_size_t(page), 0) == 0
    first = page if front else page + room - size
    inside = np.frombuffer(memory, np.uint8, size, first)
    inside[:] = texels
    return inside

for number in range(300):
    channels, patch = random.integers(1, 5), int(random.integers(1, 36))
    sizes = random.integers(1, random.integers(2, 70), (random.integers(1, 4), 2))
    shapes = [(channels, *size) for size in sizes]
    images = Images.prepare([torch.from_numpy(random.integers(256, size=s, dtype=np.uint8)) for s in shapes])
    texels = guarded(images.texels.numpy().reshape(-1), number % 2)
    images = Images(torch.from_numpy(texels).view(-1, int(channels)), images.offset, images.size)
    centre = torch.from_numpy(random.uniform(-0.5, 1.5, (len(sizes), 3, 2))).float() * images.size.flip(1)[:, None]
    side = torch.from_numpy(np.exp(random.uniform(-3, 6, (len(sizes), 3)))).float()
    if number % 7 == 0:
        side *= 10.0 ** random.integers(0, 30)
    found = images.box_averages(centre, side, patch)
    assert -1e-3 <= found.min() and found.max() <= 1 + 1e-3, (number, found.min(), found.max())
"""
    for seed in range(2):
        run = subprocess.run([sys.executable, "-c", code, str(seed)], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-2000:] or run.returncode


@pytest.mark.parametrize("wrong", [0.0, -3.0, float("nan"), float("inf")])
def test_a_side_must_be_above_nothing_and_finite(wrong):
    images = Images.prepare([noise(1, 9, 9)])
    with pytest.raises(ValueError, match="the side of a patch must be above 0 and finite"):
        images.box_averages(torch.zeros(1, 2, 2), torch.tensor([[3.0, wrong]]), 4)
