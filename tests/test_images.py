"""Any image: properties against a slow exact reference, and batches against each image alone."""

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import noise

from foveal_encoders.base import Layout
from foveal_env.images import Images
from foveal_env.kernels.pyramid import FINEST
from foveal_env.retina import extract, patch_squares

coordinate = st.floats(-1.5, 1.5, width=32)
side = st.one_of(st.integers(1, 12), st.integers(13, 300))


@settings(max_examples=60, deadline=None)
@given(
    side, side, st.sampled_from([1, 3]), coordinate, coordinate, st.floats(-1, 6), st.integers(1, 9), st.integers(0, 9)
)
def test_every_box_is_close_to_the_exact_average(height, width, channels, x, y, zoom, patch, seed):
    image = noise(channels, height, width, seed=seed)
    images, gaze = Images.prepare([image]), torch.tensor([[x, y]])
    layout = Layout(patch=patch, zooms=1, zoom_range=(zoom, zoom))
    averages = extract(images, gaze, layout).patches[0, 0].numpy()
    centre, length = (part[0, 0] for part in patch_squares(images.size, gaze, layout))
    wrong = np.abs(averages - reference.box_averages(image, centre, length, patch).numpy()).max()
    # exact in the image itself up to the 24 bits of a coordinate; else only texels that a border cuts are wrong, and a
    # noisy one is wrong by at most a quarter: four borders of a box that is at least FINEST texels wide
    box = length.item() / patch
    tolerance = 2e-4 * max(height, width) / box / 8 + 2e-6 if box < 2 * FINEST else 0.25 * 4 / FINEST / 2
    assert wrong <= tolerance + 2e-4
    assert averages.min() >= -1e-4
    assert averages.max() <= 1 + 1e-4


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(side, side), min_size=1, max_size=4),
    st.sampled_from([1, 2, 3, 4]),
    st.floats(-1, 5),
    st.integers(1, 40),
    st.integers(0, 9),
)
def test_mixed_sizes_are_one_batch_that_equals_each_alone(sizes, channels, zoom, patch, seed):
    given_images = [noise(channels, *size, seed=seed) for size in sizes]
    images = Images.prepare(given_images)
    gaze = torch.rand(len(sizes), 2, generator=torch.Generator().manual_seed(seed)) * 3 - 1.5
    centre, length = patch_squares(images.size, gaze, Layout(patch=patch, zooms=3, zoom_range=(zoom, zoom + 1)))
    averages = images.box_averages(centre, length, patch)
    for row, image in enumerate(given_images):
        alone = Images.prepare([image]).box_averages(centre[row : row + 1], length[row : row + 1], patch)
        assert torch.equal(averages[row], alone[0])
        assert torch.equal(images.pixels(row), image)


def test_images_come_back_and_rows_share_and_compact():
    given_images = [noise(1, 9, 9), noise(1, 300, 300, seed=1), noise(1, 4, 6, seed=2)]
    images = Images.prepare(given_images)
    rows = images.rows(torch.tensor([2, 1, 1]))
    assert rows.texels is images.texels
    for row, source in enumerate((2, 1, 1)):
        assert torch.equal(rows.pixels(row), given_images[source])
    compact = images.rows(torch.tensor([2, 0])).compact()
    assert len(compact.texels) == (4 * 6 + 2 * 3 + 1 * 2 + 1) + (81 + 25 + 9 + 4 + 1)
    assert torch.equal(compact.pixels(0), given_images[2])
    assert torch.equal(compact.pixels(1), given_images[0])


def test_joined_batches_are_as_if_prepared_together():
    a, b = noise(2, 3, 8, 9), noise(1, 3, 20, 5, seed=1)
    joined = Images.cat([Images.prepare(a).rows([1, 0]), Images.prepare(b)])
    together = Images.prepare([a[1], a[0], b[0]])
    assert torch.equal(joined.size, together.size)
    for row in range(3):
        assert torch.equal(joined.pixels(row), together.pixels(row))
    with pytest.raises(ValueError, match="same number of channels"):
        Images.cat([joined, Images.prepare(noise(1, 1, 4, 4))])


def test_a_thumbnail_is_the_largest_centred_square():
    images = Images.prepare([noise(3, 16, 40), noise(3, 8, 8, seed=1)])
    thumbnails = images.thumbnails(8)
    square = images.pixels(0)[:, :, 12:28].float() / 255
    assert torch.allclose(thumbnails[0], torch.nn.functional.avg_pool2d(square, 2), atol=1e-5)
    assert torch.equal(thumbnails[1].mul(255).round().byte(), images.pixels(1))


def test_painted_images_are_prepared_images():
    given_images = noise(3, 2, 11, 14)
    painted = Images.painted(3, 11, 14, 2, lambda canvas: canvas.copy_(given_images.permute(0, 2, 3, 1)))
    expected = Images.prepare(given_images)
    for field in ("texels", "offset", "size"):
        assert torch.equal(getattr(painted, field), getattr(expected, field))


def test_several_threads_prepare_and_average_the_same(monkeypatch):
    given_images, layout = noise(400, 3, 80, 100), Layout(patch=16, zooms=3)
    gaze = torch.rand(400, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    once = Images.prepare(given_images)
    patches = extract(once, gaze, layout).patches
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    again = Images.prepare(given_images)
    assert torch.equal(again.texels, once.texels)
    assert torch.equal(extract(again, gaze, layout).patches, patches)


def test_memory_is_a_third_more_than_the_image():
    assert len(Images.prepare(noise(1, 3, 224, 224)).texels) < 1.34 * 224 * 224


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(torch.zeros(1, 1, 4, 4), id="float"),
        pytest.param(torch.zeros(1, 4, 4, dtype=torch.uint8), id="no batch"),
        pytest.param(torch.zeros(1, 1, 4, 0, dtype=torch.uint8), id="no pixels"),
        pytest.param([torch.zeros(1, 4, 4)], id="float in a list"),
        pytest.param([noise(1, 4, 4), noise(3, 4, 4)], id="mixed channels"),
        pytest.param([], id="nothing"),
    ],
)
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(ValueError, match="images"):
        Images.prepare(bad)


@pytest.mark.parametrize(
    ("centre", "side", "message"),
    [
        pytest.param((3, 2, 2), (3, 2), r"2 images, but centres \[3, 2, 2\]", id="rows"),
        pytest.param((2, 2, 2), (2, 3), "2 images, but", id="squares"),
        pytest.param((2, 2, 3), (2, 2), "2 images, but", id="coordinates"),
    ],
)
def test_squares_that_do_not_match_the_images_are_refused(centre, side, message):
    with pytest.raises(ValueError, match=message):
        Images.prepare(noise(2, 1, 9, 9)).box_averages(torch.zeros(centre), torch.ones(side), 4)
