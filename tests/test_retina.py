"""The retina against slow averages, and what its coordinates mean."""

import pytest
import torch
from reference import box_averages, noise

from foveal_encoders.base import Layout
from foveal_env.images import Images
from foveal_env.retina import extract, patch_squares


@pytest.mark.parametrize(("height", "width"), [(20, 20), (17, 40), (53, 9), (1, 1), (39, 411)])
def test_a_patch_is_the_exact_box_average(height, width):
    layout = Layout(patch=5, zooms=3, zoom_range=(0, 2.5), grid=2, grid_zoom=2.0)
    image = noise(2, 3, height, width)
    images = Images.prepare(image)
    gaze = torch.tensor([[0.3, -0.9], [-0.55, 0.2]])
    patches = extract(images, gaze, layout).patches
    centre, side = patch_squares(images.size, gaze, layout)
    for b in range(2):
        for k in range(layout.patches):
            expected = box_averages(image[b], centre[b, k], side[b, k], layout.patch)
            assert torch.allclose(patches[b, k].double(), expected, rtol=0, atol=2e-4)


def test_the_gaze_means_the_same_on_a_wide_image():
    image = torch.zeros(1, 1, 20, 50, dtype=torch.uint8)
    image[0, 0, 5, 40] = 255
    gaze = torch.tensor([[40.5 / 25 - 1, 5.5 / 10 - 1]])  # the centre of that pixel
    layout = Layout(patch=3, zooms=2, zoom_range=(0, 2))
    patches, where = extract(Images.prepare(image), gaze, layout)
    for patch, side in zip(patches[0, :, 0], (20, 5), strict=True):
        assert patch[1, 1].item() == pytest.approx(1 / (side / 3) ** 2, rel=1e-3)
        assert patch.sum().item() == pytest.approx(patch[1, 1].item(), rel=1e-3)
    assert torch.allclose(where[0, :, :2], gaze.expand(2, 2), atol=1e-6)
    assert where[0, :, 2].tolist() == [0, 2]


def test_corners_of_the_gaze_are_corners_of_the_image_and_outside_is_zero():
    white = Images.prepare(torch.full((4, 1, 30, 50), 255, dtype=torch.uint8))
    gaze = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    patches = extract(white, gaze, Layout(patch=2, zooms=1, zoom_range=(1, 1))).patches[:, 0, 0]
    inside = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]])  # (row, column) of the quarter inside the image
    for patch, (row, column) in zip(patches, inside.tolist(), strict=True):
        expected = torch.zeros(2, 2)
        expected[row, column] = 1
        assert torch.allclose(patch, expected, atol=1e-5)


def test_the_foveal_grid_tiles_one_square():
    image = noise(1, 1, 64, 64)
    gaze = torch.tensor([[0.1, 0.2]])
    grid = extract(Images.prepare(image), gaze, Layout(patch=4, zooms=0, grid=3, grid_zoom=3)).patches[0, :, 0]
    tiled = grid.view(3, 3, 4, 4).permute(0, 2, 1, 3).reshape(12, 12)
    zoom = 3 - torch.log2(torch.tensor(3.0)).item()  # one patch as wide as the three
    whole = extract(Images.prepare(image), gaze, Layout(patch=12, zooms=1, zoom_range=(zoom, zoom))).patches[0, 0, 0]
    assert torch.allclose(tiled, whole, atol=1e-4)


@pytest.mark.parametrize("size", [(120, 200), (24, 30)], ids=["larger", "smaller"])
def test_patches_of_a_field_cover_as_many_pixels_in_any_image(size):
    image, (height, width) = noise(1, 1, *size), size
    layout = Layout(patch=4, zooms=2, zoom_range=(1, 2), field=40, grid=2, grid_zoom=2)
    gaze = torch.tensor([[0.1, -0.2]])
    centre, side = patch_squares(torch.tensor([[height, width]]), gaze, layout)
    assert torch.allclose(side, torch.tensor([[20.0, 10, 10, 10, 10, 10]]))
    seen = extract(Images.prepare(image), gaze, layout)
    zoom = seen.where[0, :, 2]
    assert torch.allclose(min(height, width) / 2**zoom, side[0])  # relative to the image
    for patch in range(layout.patches):
        expected = box_averages(image[0], centre[0, patch], side[0, patch], layout.patch)
        assert torch.allclose(seen.patches[0, patch].double(), expected, rtol=0, atol=2e-4)


def test_a_gaze_that_is_not_finite_is_refused():
    images = Images.prepare(noise(2, 1, 9, 9))
    with pytest.raises(ValueError, match="must be finite"):
        extract(images, torch.tensor([[0.0, 0.0], [float("nan"), 0.0]]), Layout(patch=4, zooms=2))


def test_a_gaze_far_outside_sees_nothing():
    images = Images.prepare(noise(2, 1, 9, 9))
    assert not extract(images, torch.full((2, 2), 1e30), Layout(patch=4, zooms=2)).patches.any()


@pytest.mark.parametrize("shape", [(3, 2), (1, 2), (2, 3), (2,)], ids=str)
def test_every_image_needs_one_gaze(shape):
    with pytest.raises(ValueError, match=r"2 images need gazes \[2, 2\], got"):
        extract(Images.prepare(noise(2, 1, 9, 9)), torch.zeros(shape), Layout(patch=4, zooms=2))


@pytest.mark.parametrize("bad", [{"patch": 0}, {"zooms": 0}, {"grid": -1}])
def test_an_impossible_layout_is_refused(bad):
    with pytest.raises(ValueError, match="layout"):
        Layout(**bad)
