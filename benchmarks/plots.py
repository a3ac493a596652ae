"""What the plots of all benchmarks share: a curve with its interval, and axes in per cent."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmarks.statistics import half_width
from foveal_agents.plots import line_style, spoken

SEVERAL = 3  # runs from which on an interval is drawn: that of two runs is nine times as wide as they are apart
OF_NETS = (":", "-.")  # how nets that read the whole image are drawn


def draw_curve(axes: Axes, x: Any, runs: np.ndarray, *, agent: str, marker: str = "o", label: str = "") -> None:
    """Draw the mean of an agent's runs [R, points] against x, and its 95 % interval if there are several.

    The label is by default the agent's name.
    """
    mean, half, style = runs.mean(axis=0), half_width(runs), line_style(agent)
    axes.plot(x, mean, marker=marker, markersize=4, label=label or spoken(agent), **style)
    if len(runs) >= SEVERAL:
        low, high = mean - half, np.minimum(mean + half, 100)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)


def end_at_100(axes: Axes) -> None:
    """Let an axis in per cent end at 0 and at 100, and draw the markers on its edge whole."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0.0), min(high, 100.0))
    for drawn in axes.lines:
        drawn.set_clip_on(False)
