"""Drawings: the image keeps its pixels and proportions, every look its number, truth and answer their marks."""

import numpy as np
import pytest

import foveal_env
from foveal_encoders.base import Layout
from foveal_env import render
from foveal_env.render import draw, label_places

NOWHERE = np.full((3, 2), np.nan)
ONE_WINDOW = Layout(zooms=1, zoom_range=(1.0, 1.0))  # half as wide as the image
MACHADO = {  # Machado et al. 2009 (doi 10.1109/TVCG.2009.113): linear RGB as seen without one kind of cone
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def dark(height=100, width=100):
    return np.zeros((1, height, width), dtype=np.uint8)


def has(drawn, colour):
    """Return which pixels [h, w] of a drawing have a colour."""
    return (drawn == np.array(colour)).all(axis=-1)


@pytest.mark.parametrize(
    ("size", "shape"),
    [((50, 200), (120, 480)), ((200, 50), (480, 120)), ((140, 140), (480, 480)), ((1000, 3), (480, 1))],
    ids=["wide", "tall", "square", "a line"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_keeps_its_proportions(size, shape, channels):
    image = np.full((channels, *size), 90, dtype=np.uint8)
    drawn = foveal_env.draw(image, NOWHERE, Layout())
    assert drawn.shape == (*shape, 3)
    assert (drawn == 90).all()


def test_an_enlarged_image_keeps_its_pixels():
    image = np.random.default_rng(0).integers(256, size=(3, 14, 20), dtype=np.uint8)
    drawn = draw(image, NOWHERE, Layout(), side=60)
    assert np.array_equal(drawn, image.transpose(1, 2, 0).repeat(3, axis=0).repeat(3, axis=1))


def test_a_drawing_changes_nothing_that_it_is_given():
    image, gazes, truth, answer = dark(), np.zeros((2, 2)), np.array([[0, 0, 0.5, 0.5]]), np.array([[0, 0, 0.06, 0.06]])
    given = [array.copy() for array in (image, gazes, truth, answer)]
    draw(image, gazes, Layout(), truth=truth, answer=answer)
    assert all(map(np.array_equal, given, (image, gazes, truth, answer)))


def test_windows_are_those_of_the_last_gaze():
    gazes = np.array([[-0.5, -0.5], [0.25, 0.0], [np.nan, np.nan]])
    drawn = has(draw(dark(), gazes, ONE_WINDOW, side=400), render.WINDOW)
    rows, columns = np.flatnonzero(drawn.sum(axis=1) > 100), np.flatnonzero(drawn.sum(axis=0) > 100)
    assert (rows.min(), columns.min()) == pytest.approx((100, 150), abs=2)
    assert (rows.max(), columns.max()) == pytest.approx((300, 350), abs=2)


def test_a_zoom_of_the_last_gaze_narrows_its_windows():
    drawn = has(draw(dark(), np.array([[0.0, 0.0, 0.5]]), ONE_WINDOW, side=400, zoom_reach=2.0), render.WINDOW)
    assert np.flatnonzero(drawn.sum(axis=0) > 50).tolist()[0] == pytest.approx(150, abs=2)


def test_a_look_keeps_its_number_if_the_one_before_was_not_taken():
    second = draw(dark(), np.array([[np.nan, np.nan], [0.0, 0.0]]), Layout())
    first = draw(dark(), np.array([[0.0, 0.0], [np.nan, np.nan]]), Layout())
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.2, 1.0])
@pytest.mark.parametrize("size", [(280, 280), (600, 120), (120, 600)], ids=["square", "wide", "tall"])
def test_numbers_lie_inside_and_apart(spread, size):
    radius = 8.5
    for seed in range(20):
        gazes = np.array([0.7, -0.7]) + np.random.default_rng(seed).uniform(-spread, spread, (13, 2))
        points = (gazes.clip(-1, 1) + 1) / 2 * size
        places = label_places(points, size, radius)
        apart = np.linalg.norm(places[:, None] - places, axis=-1) + 1e9 * np.eye(len(places))
        assert apart.min() > 2 * radius - 1e-6
        assert (places >= radius).all()
        assert (places <= np.array(size) - radius).all()


def test_a_lonely_number_is_beside_its_point():
    place = label_places(np.array([[100.0, 100.0]]), (280, 280), 8.0)[0]
    assert np.linalg.norm(place - 100) == pytest.approx(12)


def test_truth_is_solid_and_an_answer_dashed():
    box = np.array([[0.0, 0.0, 1.0, 1.0]])
    share = {}
    for name, colour in (("truth", render.TRUTH), ("answer", render.ANSWER)):
        drawn = draw(dark(), NOWHERE, Layout(), side=400, **{name: box})
        share[name] = has(drawn, colour)[100, 110:290].mean()
    assert share["truth"] == 1
    assert 0.2 < share["answer"] < 0.7


def test_a_small_answer_is_a_cross_around_its_point():
    drawn = has(draw(dark(), NOWHERE, Layout(), side=400, answer=np.array([[0.5, 0.0, 0.06, 0.06]])), render.ANSWER)
    rows, columns = drawn.nonzero()
    assert drawn[200, 300]
    assert (rows.mean(), columns.mean()) == pytest.approx((200, 300), abs=1)
    assert not drawn[200, 308:].any()  # a box would have a side there


@pytest.mark.parametrize("box", [(0, 0, 2, 2), (np.nan,) * 4], ids=["the whole image", "unknown"])
def test_a_truth_that_says_nothing_is_not_drawn(box):
    assert not draw(dark(), NOWHERE, Layout(), truth=np.array([box])).any()


def test_a_box_beyond_the_border_follows_it():
    drawn = has(draw(dark(), NOWHERE, Layout(), side=400, truth=np.array([[1.0, 0.0, 1.0, 1.0]])), render.TRUTH)
    assert drawn[150:250, -5:].any()


@pytest.mark.parametrize("size", [(100, 100), (50, 100), (100, 50)])
def test_an_answer_that_is_an_image_stands_beside_the_square_it_answers_to(size):
    drawn = draw(dark(*size), NOWHERE, Layout(), side=400, answer_image=np.ones((1, 4, 4)))
    height, width, side = *(4 * np.array(size)), 4 * min(size)
    assert drawn.shape[0] == height
    assert drawn.shape[1] > width + side
    assert not drawn[:, :width].any()
    assert (drawn[height // 2, -side // 2] == 255).all()


@pytest.mark.parametrize("eye", MACHADO)
@pytest.mark.parametrize("other", ["TRUTH", "WINDOW", "PATH", "LAST"])
def test_the_answer_is_told_apart_by_every_eye(eye, other):
    one, two = (lab(getattr(render, name), MACHADO[eye]) for name in ("ANSWER", other))
    assert np.linalg.norm(one - two) > 30  # in CIELAB, in which 2.3 is just noticeable


def lab(colour, eye):
    """Return the CIELAB coordinates of an sRGB colour as an eye sees it."""
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ (np.array(eye) @ linear).clip(0, 1) / (0.9505, 1, 1.089)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
