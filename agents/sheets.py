"""Sheets of scan paths: drawings side by side, pixel by pixel, with words to each and one legend."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from torch import Tensor

from foveal_env.data import Scenes
from foveal_env.render import ANSWER, LAST, PATH, TRUTH, WINDOW, Colour, is_everything, is_point
from foveal_env.world import World

DPI = 110
LINE, GAP = 18, 8  # px of a line of words, and between the drawings of a sheet
LETTER = 7.4  # px that a letter is wide, about
NARROWEST = 150  # px of a column
TALLEST = 1.25  # height of a drawing over the room it has in width, at most
BLACK, RED = "black", "firebrick"


@dataclass(frozen=True)
class Panel:
    """One drawing of a sheet, and its words."""

    image: np.ndarray  # [h, w, 3] uint8
    above: str = ""
    below: str = ""
    colour: str = BLACK  # of the words
    marks: tuple[str, ...] = ()  # of those in `legend`, what the drawing has


def panel(
    world: World, scenes: Scenes, row: int, gazes: Tensor, prediction: Tensor, *, room: int, **words: str
) -> Panel:
    """Return the drawing of a scan path.

    Args:
        world: world of the scenes.
        scenes: B scenes.
        row: which of them.
        gazes: [T, 2 or 3], NaN if one was not taken.
        prediction: [...] the answer to that scene.
        room: px that the drawing may be wide; it is at most TALLEST times that in height.
        words: `above`, `below` and `colour` of the panel.
    """
    height, width = scenes.images.size[row].tolist()
    high = min((room - GAP) / aspect(world, scenes, row, prediction), TALLEST * room)
    side = max(1, round(high * max(1.0, width / height)))
    image, found = world.draw(scenes, row, gazes, prediction, side=side), world.marks(scenes, row, prediction)
    marks = ["path", "last", "windows"]
    if found["truth"] is not None and not is_everything(found["truth"][0]):
        marks.append("truth")
    if found["answer_image"] is not None:
        marks.append("box")
    marks += ["point" if is_point(box) else "box" for box in found["answer"]]
    return Panel(image, marks=tuple(marks), **words)


def aspect(world: World, scenes: Scenes, row: int, prediction: Tensor) -> float:
    """Return the width over the height of a drawing; an answer that is an image stands beside the scene."""
    height, width = scenes.images.size[row].tolist()
    is_beside = world.marks(scenes, row, prediction)["answer_image"] is not None
    return (width + is_beside * min(height, width)) / height


def legend() -> dict[str, Line2D]:
    """Return the line that stands for each mark of a drawing."""
    return {
        "path": _line("path", PATH, linewidth=1.8),
        "last": _line("last gaze", LAST, marker="o", markersize=7, linewidth=0),
        "windows": _line("windows of the last glimpse", WINDOW, linewidth=1.4),
        "truth": _line("truth", TRUTH, linewidth=2.6),
        "box": _line("answer", ANSWER, linewidth=2.6, linestyle=(0, (1.8, 1.0))),
        "point": _line("answer", ANSWER, marker="x", markersize=8, markeredgewidth=2.4, linewidth=0),
    }


def _line(label: str, colour: Colour, **style: Any) -> Line2D:
    rim = [Stroke(linewidth=style["linewidth"] + 1, foreground="0.25"), Normal()] if style["linewidth"] else None
    edge = {} if style.get("marker") == "x" else {"markeredgecolor": "0.25", "markeredgewidth": 0.7}
    red, green, blue = (part / 255 for part in colour)
    return Line2D([], [], label=label, color=(red, green, blue), path_effects=rim, **{**edge, **style})


def sheet(panels: Sequence[Panel], *, columns: int, title: str = "") -> Figure:
    """Return a figure of panels in rows, as large as its drawings need, with a title and one legend below.

    The drawings keep their pixels at the figure's own resolution, DPI.
    """
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    room = max(NARROWEST, *(panel.image.shape[1] for panel in panels))
    wide = len(rows[0]) * (room + GAP)
    width = GAP + max(2 * NARROWEST, wide)
    figure = Figure(_inches(width, 1), dpi=DPI)
    foot = _put_legend(figure, {mark for panel in panels for mark in panel.marks})
    bands = [_band(row, room) for row in rows]
    head = LINE + 2 * GAP if title else GAP
    height = head + sum(map(sum, bands)) + GAP * len(rows) + foot
    figure.set_size_inches(_inches(width, height))
    figure.text(0.5, 1 - head / 2 / height, title, ha="center", va="center", fontsize=10.5, weight="bold")
    top = head
    for row, band in zip(rows, bands, strict=True):
        for column, panel in enumerate(row):
            left = (width - wide + GAP + room - panel.image.shape[1]) // 2 + column * (room + GAP)
            _put(figure, panel, left, top + band[0], room)
        top += sum(band) + GAP
    return figure


def _inches(width: int, height: int) -> tuple[float, float]:
    """Return the size of a figure of so many px; a figure rounds them down."""
    return (width + 0.01) / DPI, (height + 0.01) / DPI


def _put_legend(figure: Figure, marks: set[str]) -> int:
    """Put the legend of the marks at the bottom of a figure, in as few lines as its width allows; return its px."""
    handles = [line for mark, line in legend().items() if mark in marks]
    renderer, extent = FigureCanvasAgg(figure).get_renderer(), None
    for columns in range(len(handles), 0, -1):
        box = figure.legend(
            *(handles, [str(line.get_label()) for line in handles]),
            loc="lower center",
            ncols=columns,
            fontsize=8.2,
            frameon=False,
            borderaxespad=0,
            handlelength=1.7,
            handletextpad=0.5,
            columnspacing=0.8,
        )
        extent = box.get_window_extent(renderer)
        if extent.width <= figure.get_figwidth() * DPI or columns == 1:
            break
        box.remove()
    return 0 if extent is None else round(extent.height)


def _band(row: Sequence[Panel], room: int) -> tuple[int, int, int]:
    """Return the px that a row of panels needs in height: for the words above, the drawings, and the words below."""
    above, below = (
        max(len(_broken(words, room)) for words in side)
        for side in zip(*[(p.above, p.below) for p in row], strict=True)
    )
    return LINE * above, max(panel.image.shape[0] for panel in row), LINE * below


def _put(figure: Figure, panel: Panel, left: int, top: int, room: int) -> None:
    """Put a panel into a figure, the top-left corner of its drawing at that place in px."""
    width, height = (figure.get_size_inches() * DPI).round()
    high, wide = panel.image.shape[:2]
    axes = figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))
    axes.imshow(panel.image, interpolation="none", aspect="auto")
    axes.axis("off")
    middle = (left + wide / 2) / width
    for words, y, side in ((panel.above, top - 3, "bottom"), (panel.below, top + high + 3, "top")):
        text = "\n".join(_broken(words, room))
        figure.text(middle, 1 - y / height, text, ha="center", va=side, fontsize=9, color=panel.colour)


def _broken(words: str, room: int) -> list[str]:
    """Return words in lines that fit into `room` px."""
    return [line for part in words.splitlines() for line in textwrap.wrap(part, int(room / LETTER))]


def pixels_of(figure: Figure) -> np.ndarray:
    """Return a figure as [h, w, 3] uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
