"""Draws what an agent saw: the image, the windows of the last glimpse, and the path of its gaze. Pure."""

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from foveal_encoders.base import Layout
from foveal_env.retina import patch_squares

Colour = tuple[int, int, int]

# Told apart without red, green or blue cones too; all but the violet are of Okabe and Ito (jfly.uni-koeln.de/color)
PATH, LAST, WINDOW = (240, 228, 66), (213, 94, 0), (86, 180, 233)
TRUTH, ANSWER = (0, 158, 115), (178, 90, 255)
DARK = (20, 20, 20)  # beneath every line, so that it shows on any image
POINT = 0.07  # a box of the answer smaller than that is a point: it is drawn as a cross
FINE = 3  # lines are drawn that many times larger than they are shown


def draw(
    image: np.ndarray,
    gazes: np.ndarray,
    layout: Layout,
    *,
    side: int = 480,
    zoom_reach: float = 1.0,
    truth: np.ndarray | None = None,
    answer: np.ndarray | None = None,
    answer_image: np.ndarray | None = None,
    caption: str = "",
) -> np.ndarray:
    """Draw a scan path on an image, which keeps its proportions; each look has its row in `gazes` for a number.

    Args:
        image: [C, H, W] uint8, C = 1 or 3. Pixels stay sharp if it is enlarged, and are averaged if it is reduced.
        gazes: [T, 2] (x, y) or [T, 3] (x, y, z) in [-1, 1], in the order they were taken; rows of NaN are left out.
        layout: the patches of one look; those of the last gaze are drawn as windows.
        side: px of the longer side of the image as it is drawn.
        zoom_reach: shift of the zoom that z = 1 stands for.
        truth: [M, 4] boxes (x, y of the centre, width, height) in gaze coordinates; drawn in a solid line
            unless it is the whole image.
        answer: [M, 4] boxes of the answer; drawn in a dashed line, or as a cross if smaller than POINT.
        answer_image: [C, h, w] in [0, 1], the answer to the largest centred square of the image; drawn beside it.
        caption: words below it all, on one line; "" for none.

    Returns:
        [h, w, 3] uint8.
    """
    height, width = image.shape[1:]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pencil = _Pencil(_resized(image, size))
    rows = np.flatnonzero(~np.isnan(gazes).any(axis=1))
    if len(rows):
        _draw_windows(pencil, (height, width), gazes[rows[-1]], zoom_reach, layout)
    points = pencil.points(gazes[rows, :2])
    pencil.line(points, PATH, width=1.8)
    for box in [] if truth is None else truth:
        if not is_everything(box):
            pencil.box(box, TRUTH, width=3)
    answers = [] if answer is None else list(answer)
    for box in answers:
        if not is_point(box):
            pencil.box(box, ANSWER, width=3, dashed=True)
    _draw_looks(pencil, points, rows, crosses=[box[:2] for box in answers if is_point(box)])
    drawn = pencil.drawing() if answer_image is None else _with_answer(pencil.drawing(), answer_image)
    return _with_caption(drawn, caption) if caption else drawn


def is_point(box: np.ndarray) -> bool:
    """Return whether a box [4] is so small that it is drawn as a cross."""
    return bool(box[2:].max() < POINT)


def is_everything(box: np.ndarray) -> bool:
    """Return whether a box [4] is the whole image, or unknown: it is not drawn, since it says nothing."""
    return bool(np.isnan(box).any() or box[2:].min() >= 2)


def _resized(image: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Return an image [C, H, W] uint8 in `size` (width, height); enlarged, its pixels are squares of one size."""
    pixels = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
    times = max(1, math.ceil(size[0] / pixels.shape[1]), math.ceil(size[1] / pixels.shape[0]))
    sharp = pixels.repeat(times, axis=0).repeat(times, axis=1) if times > 1 else pixels
    return Image.fromarray(np.ascontiguousarray(sharp)).resize(size, Image.Resampling.BOX)


def _with_answer(drawn: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Put an answer [C, h, w] in [0, 1] beside a drawing, as large as the square that it is the answer to."""
    height, width = drawn.shape[:2]
    side, gap = min(height, width), max(4, height // 40)
    pixels = (answer.clip(0, 1) * 255).round().astype(np.uint8)
    pencil = _Pencil(_resized(pixels, (side, side)))
    pencil.box(np.array([0, 0, 2, 2]), ANSWER, width=3, dashed=True)
    whole = np.full((height, width + gap + side, 3), 255, dtype=np.uint8)
    top = (height - side) // 2
    whole[:, :width], whole[top : top + side, width + gap :] = drawn, pencil.drawing()
    return whole


def _with_caption(drawn: np.ndarray, words: str) -> np.ndarray:
    """Put a line of words below a drawing, as large as it fits; the height does not depend on the words."""
    height, width = drawn.shape[:2]
    size = max(12, round(min(height, width) / 26))
    strip = Image.new("RGB", (width, 2 * size), (255, 255, 255))
    pencil, font = ImageDraw.Draw(strip), _font(size)
    while size > 6 and pencil.textlength(words, font) > 0.96 * width:
        size -= 1
        font = _font(size)
    pencil.text((width / 2, strip.height / 2), words, DARK, font, "mm")
    return np.concatenate([drawn, np.array(strip)])


def _draw_windows(
    pencil: "_Pencil", size: tuple[int, int], gaze: np.ndarray, zoom_reach: float, layout: Layout
) -> None:
    """Draw the windows of a look at `gaze` [2 or 3] in an image of `size` (H, W) px."""
    place = torch.as_tensor(gaze, dtype=torch.float32)[None]
    shift = place[:, 2] * zoom_reach if place.shape[1] > 2 else None
    centre, side = patch_squares(torch.tensor([size]), place[:, :2], layout, shift)
    half = np.array(size[::-1]) / 2
    for middle, across in zip(centre[0].numpy(), side[0].tolist(), strict=True):
        pencil.box(np.concatenate([middle / half - 1, across / half]), WINDOW, width=1.6, is_inside=False)


def _draw_looks(pencil: "_Pencil", points: np.ndarray, numbers: np.ndarray, crosses: list[np.ndarray]) -> None:
    """Draw a dot for each of the points [T, 2] in px, crosses at gazes [2], and above all the numbers [T]."""
    radius = 8.5 * pencil.unit
    places = label_places(points, pencil.size, radius)
    for away, place, point in zip(places - points, places, points, strict=True):
        if np.hypot(*away) > 2.2 * radius:
            pencil.line(np.stack([point, place - away / np.hypot(*away) * radius]), (255, 255, 255), width=1)
    for point in points[:-1]:
        pencil.dot(point, PATH, radius=3.2)
    for point in points[-1:]:
        pencil.dot(point, LAST, radius=4.8)
    for cross in crosses:
        pencil.cross(cross, ANSWER)
    for place, number in zip(places, numbers, strict=True):
        pencil.text(place, str(number))


def label_places(points: np.ndarray, size: tuple[int, int], radius: float) -> np.ndarray:
    """Return where to write the numbers of points: near them, apart from each other, off the dots and the path.

    Each takes the best of some places around its point, the earlier ones first.

    Args:
        points: [T, 2] (x, y) in px, in the order of the path.
        size: (width, height) of the drawing in px; the numbers lie inside.
        radius: room that a number needs around its middle, in px.

    Returns:
        [T, 2], the middles of the numbers.
    """
    angle = np.arange(16) * math.pi / 8 - math.pi / 4  # above and to the right first
    away = np.array([1.5, 2.5, 3.5, 4.5, 6.0, 7.5, 9.5, 12.0])[:, None] * radius
    offsets = np.stack([away * np.cos(angle), away * np.sin(angle)], axis=-1).reshape(-1, 2)
    high = np.maximum(np.array(size) - radius, radius)
    tries = (points[:, None] + offsets).clip(radius, high)  # [T, N, 2]
    cost = np.linalg.norm(tries - points[:, None], axis=-1) / radius
    cost += 3 * (_distances(tries, points, points) < 1.4 * radius).sum(axis=-1)
    cost += (_distances(tries, points[:-1], points[1:]) < 0.9 * radius).any(axis=-1)
    places = np.zeros((0, 2))
    for own, price in zip(tries, cost, strict=True):
        overlaps = (_distances(own, places, places) < 2 * radius).sum(axis=-1)
        places = np.concatenate([places, own[(price + 100 * overlaps).argmin()][None]])
    return places


def _distances(places: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance of places [..., 2] from each of M segments, given by their ends [M, 2]; [..., M]."""
    away, along = places[..., None, :] - start, end - start
    share = (away * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-9)
    return np.linalg.norm(away - share.clip(0, 1)[..., None] * along, axis=-1)


class _Pencil:
    """Draws smooth lines on a picture, each with a dark rim; the picture itself keeps its pixels."""

    def __init__(self, picture: Image.Image):
        self.size, self.unit = picture.size, max(1.0, min(picture.size) / 450)
        self._scale = FINE * self.unit
        self._image = picture.resize((self.size[0] * FINE, self.size[1] * FINE), Image.Resampling.NEAREST)
        self._draw = ImageDraw.Draw(self._image)

    def drawing(self) -> np.ndarray:
        """Return the picture with what was drawn, [h, w, 3] uint8."""
        return np.array(self._image.reduce(FINE))

    def points(self, gazes: np.ndarray) -> np.ndarray:
        """Return gazes [..., 2] in px."""
        return (gazes + 1) / 2 * np.array(self.size)

    def line(self, points: np.ndarray, colour: Colour, *, width: float) -> None:
        """Draw a line through points [T, 2] in px."""
        through = [tuple(point) for point in (points * FINE).tolist()]
        if len(through) > 1:
            self._draw.line(through, DARK, round((width + 1.4) * self._scale), joint="curve")
            self._draw.line(through, colour, round(width * self._scale), joint="curve")

    def box(
        self, box: np.ndarray, colour: Colour, *, width: float, dashed: bool = False, is_inside: bool = True
    ) -> None:
        """Draw a box [4] in gaze coordinates; where it leaves the picture it follows the border if it `is_inside`."""
        inset = (width / 2 + 1) * self.unit if is_inside else -np.inf
        corners = self.points(np.stack([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2]))
        middles = np.floor(corners.clip(inset, np.array(self.size) - inset)) + (FINE // 2) / FINE  # sharp lines
        (left, top), (right, bottom) = middles
        ring = np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]])
        for start, end in pairwise(ring):
            for piece in _dashes(start, end, 6 * self.unit) if dashed else [np.stack([start, end])]:
                self.line(piece, colour, width=width)

    def cross(self, point: np.ndarray, colour: Colour) -> None:
        """Draw a small diagonal cross at a gaze [2]; at the border if that lies outside."""
        arm = 7 * self.unit
        middle = self.points(point).clip(arm, np.array(self.size) - arm)
        for slope in (1, -1):
            reach = np.array([arm, slope * arm])
            self.line(np.stack([middle - reach, middle + reach]), colour, width=2.6)

    def dot(self, point: np.ndarray, colour: Colour, *, radius: float) -> None:
        """Draw a dot at a point in px."""
        for fill, wide in ((DARK, radius + 1), (colour, radius)):
            corners = [*(point * FINE - wide * self._scale), *(point * FINE + wide * self._scale)]
            self._draw.ellipse(corners, fill=fill)

    def text(self, middle: np.ndarray, words: str) -> None:
        """Write white letters with a dark rim."""
        font, rim = _font(13 * self._scale), round(1.7 * self._scale)
        self._draw.text(
            tuple(middle * FINE), words, (255, 255, 255), font, "mm", stroke_width=rim, stroke_fill=(0, 0, 0)
        )


def _dashes(start: np.ndarray, end: np.ndarray, length: float) -> list[np.ndarray]:
    """Return the dashes from start to end in px, one at each end and gaps as long as they are."""
    count = max(1, round(np.hypot(*(end - start)) / length / 2)) * 2 + 1
    edges = start + np.linspace(0, 1, count + 1)[:, None] * (end - start)
    return [edges[number : number + 2] for number in range(0, count, 2)]


@lru_cache(maxsize=8)
def _font(size: float) -> Any:
    return ImageFont.load_default(size)
