"""What the plots of all benchmarks share: a curve with its interval, and axes in per cent."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmarks.statistics import half_width
from foveal_agents.plots import BASELINES

SEVERAL = 3  # runs from which on an interval is drawn: that of two runs is nine times as wide as they are apart


def draw_curve(axes: Axes, x: Any, runs: np.ndarray, **style: Any) -> Any:
    """Draw the mean of runs [R, points] against x, and its 95 % interval if there are several; return the line."""
    mean, half = runs.mean(axis=0), half_width(runs)
    (drawn,) = axes.plot(x, mean, **style)
    if len(runs) >= SEVERAL:
        axes.fill_between(x, mean - half, mean + half, color=drawn.get_color(), alpha=0.2, lw=0)
    return drawn


def line_style(agent: str) -> str:
    """Return how the curve of an agent is drawn: dashed if it is a baseline."""
    return "--" if agent in BASELINES else "-"


def end_at_100(axes: Axes) -> None:
    """Let an axis in per cent end at 0 and at 100, and draw the markers on its edge whole."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0.0), min(high, 100.0))
    for drawn in axes.lines:
        drawn.set_clip_on(False)
