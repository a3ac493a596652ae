import pytest
import torch

from foveal_encoders.base import Layout
from foveal_env.images import Images
from foveal_env.retina import extract, patch_squares


def exact_box_average(image, left, top, right, bottom):
    """The slow reference: every pixel weighed with the area that it shares with the box."""
    height, width = image.shape
    y, x = torch.arange(height).double(), torch.arange(width).double()
    rows = (torch.minimum(y + 1, bottom) - torch.maximum(y, top)).clamp(min=0)
    columns = (torch.minimum(x + 1, right) - torch.maximum(x, left)).clamp(min=0)
    return rows @ image.double() @ columns / ((bottom - top) * (right - left)) / 255


def noise(*shape, seed=0):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("height", "width"), [(20, 20), (17, 40), (53, 9), (1, 1), (39, 411)])
def test_a_patch_is_the_exact_box_average(height, width):
    layout = Layout(patch=5, zooms=3, zoom_range=(0, 2.5), grid=2, grid_zoom=2.0)
    picture = noise(2, 3, height, width)
    images = Images.prepare(picture)
    gaze = torch.tensor([[0.3, -0.9], [-0.55, 0.2]])
    patches = extract(images, gaze, layout).patches
    centre, side = patch_squares(images.size, gaze, layout)
    for b in range(2):
        for k in range(layout.patches):
            step = side[b, k].double() / layout.patch
            corner = centre[b, k].double() - side[b, k].double() / 2
            for row, column, channel in [(0, 0, 0), (4, 4, 1), (2, 3, 2)]:
                left, top = corner[0] + column * step, corner[1] + row * step
                expected = exact_box_average(picture[b, channel], left, top, left + step, top + step)
                assert patches[b, k, channel, row, column].item() == pytest.approx(expected.item(), abs=2e-4)


def test_the_gaze_means_the_same_on_a_wide_image():
    picture = torch.zeros(1, 1, 20, 50, dtype=torch.uint8)
    picture[0, 0, 5, 40] = 255
    gaze = torch.tensor([[40.5 / 25 - 1, 5.5 / 10 - 1]])  # the centre of that pixel
    layout = Layout(patch=3, zooms=2, zoom_range=(0, 2))
    patches, where = extract(Images.prepare(picture), gaze, layout)
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
    picture = noise(1, 1, 64, 64)
    gaze = torch.tensor([[0.1, 0.2]])
    grid = extract(Images.prepare(picture), gaze, Layout(patch=4, zooms=0, grid=3, grid_zoom=3)).patches[0, :, 0]
    tiled = grid.view(3, 3, 4, 4).permute(0, 2, 1, 3).reshape(12, 12)
    zoom = 3 - torch.log2(torch.tensor(3.0)).item()  # one patch as wide as the three
    whole = extract(Images.prepare(picture), gaze, Layout(patch=12, zooms=1, zoom_range=(zoom, zoom))).patches[0, 0, 0]
    assert torch.allclose(tiled, whole, atol=1e-4)


def test_mixed_sizes_are_one_batch_and_equal_each_alone():
    pictures = [noise(3, 20, 31), noise(3, 300, 280, seed=1), noise(3, 7, 5, seed=2)]
    gaze = torch.tensor([[0.2, 0.1], [-0.5, 0.5], [0.9, -0.9]])
    layout = Layout(patch=4, zooms=3)
    together = extract(Images.prepare(pictures), gaze, layout).patches
    for row, picture in enumerate(pictures):
        alone = extract(Images.prepare([picture]), gaze[row : row + 1], layout).patches[0]
        assert torch.allclose(together[row], alone, atol=1e-4)


def test_pictures_come_back_and_rows_share_and_compact():
    pictures = [noise(1, 9, 9), noise(1, 300, 300, seed=1), noise(1, 4, 6, seed=2)]
    images = Images.prepare(pictures)
    chosen = images.rows(torch.tensor([2, 1, 1]))
    assert chosen.texels is images.texels
    for row, source in enumerate((2, 1, 1)):
        assert torch.equal(chosen.pixels(row), pictures[source])
    compact = images.rows(torch.tensor([2, 0])).compact()
    assert len(compact.texels) == (4 * 6 + 2 * 3 + 1 * 2 + 1) + (81 + 25 + 9 + 4 + 1)
    assert torch.equal(compact.pixels(0), pictures[2])
    assert torch.equal(compact.pixels(1), pictures[0])


@pytest.mark.parametrize("bad", [torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8), []])
def test_what_is_no_picture_is_refused(bad):
    with pytest.raises(ValueError, match="pictures"):
        Images.prepare(bad)


@pytest.mark.parametrize("bad", [{"patch": 0}, {"zooms": 0}, {"grid": -1}])
def test_an_impossible_layout_is_refused(bad):
    with pytest.raises(ValueError, match="layout"):
        Layout(**bad)
