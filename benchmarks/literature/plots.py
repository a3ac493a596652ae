"""The plots of the literature rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.entries import Entries, errors, on_canvas, reads_whole_image
from benchmarks.plots import OF_NETS, SEVERAL, draw_curve, end_at_100
from benchmarks.statistics import half_width
from foveal_agents.plots import line_style, save_figure, spoken

TICKS = (0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100)  # %


def plot(path: Path, name: str, contents: dict[str, Any], groups: dict[str, Entries]) -> None:
    """Plot the error by glimpse, and the learning curves against glimpses and against seconds."""
    first = 0 if contents["first_look"] else 1
    figure = Figure((15, 4.5), layout="constrained")
    axes, nets = figure.subplots(1, 3), iter(OF_NETS)
    for agent, entries in groups.items():
        found = errors(entries)
        if reads_whole_image(entries):
            axes[0].axhline(found[0, -1], linestyle=next(nets), color="dimgrey", label=f"{agent} (whole image)")
            continue
        draw_curve(axes[0], np.arange(found.shape[1])[first:], found[:, first:], agent=agent)
        plot_learning(axes[1:], agent, entries)
    seen = "glimpses" if first else "glimpses after the first look"
    for place, title in zip(axes, (seen, "thousand glimpses of training", "seconds of training"), strict=True):
        place.set_xlabel(title)
        place.set_ylabel(f"error on {'test' if place is axes[0] else 'validation'} scenes (%)")
        scale_errors(place)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    axes[0].xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes[0].set_title(f"{name}: mean and 95 % interval over runs", fontsize=10)
    save_figure(path, figure)


def plot_learning(axes: Sequence[Axes], agent: str, entries: Entries) -> None:
    """Plot the learning curves of an agent, if it has any, against thousand glimpses and against seconds."""
    curves = [entry["curve"] for entry in entries if entry.get("curve")]
    if not curves:
        return
    points = min(len(curve) for curve in curves)
    accuracy = np.array([[point["accuracy"] for point in curve[:points]] for curve in curves])
    for place, key, scale in zip(axes, ("glimpses", "seconds"), (1000, 1), strict=True):
        x = np.mean([[point[key] for point in curve[:points]] for curve in curves], axis=0) / scale
        draw_curve(place, x, 100 * (1 - accuracy), agent=agent, marker="")


def plot_canvases(path: Path, name: str, contents: dict[str, Any], groups: dict[str, Entries]) -> None:
    """Plot the error by canvas for each agent, and GRPO's by glimpse for each canvas."""
    canvases = contents["canvas"]
    figure = Figure((11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for agent, entries in groups.items():
        found = [errors(on_canvas(entries, canvas))[:, -1] for canvas in canvases]
        halves = [float(half_width(values)) if len(values) >= SEVERAL else 0.0 for values in found]
        style, label = line_style(agent), spoken(agent)
        if reads_whole_image(entries):
            style, label = {"color": "dimgrey", "linestyle": OF_NETS[0]}, f"{agent} (whole image)"
        left.errorbar(canvases, [v.mean() for v in found], halves, marker="o", markersize=4, label=label, **style)
    for number, canvas in enumerate(canvases):
        mean = errors(on_canvas(groups["grpo"], canvas)).mean(axis=0)
        (drawn,) = right.plot(np.arange(len(mean)), mean, color=f"C{number}", marker="o", ms=4)
        at, side = (len(mean) - 1, mean[-1]), ("top", "bottom")[number % 2]  # of neighbours that end close together
        right.annotate(f"{canvas} px", at, (6, 0), textcoords="offset points", va=side, color=drawn.get_color())
    left.set_xscale("log")
    left.set_xticks(canvases, [str(canvas) for canvas in canvases])
    left.set_xlabel("side of the canvas in px")
    right.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    right.set_xlim(right=len(mean) + 0.6)
    right.set_xlabel("glimpses of GRPO after the first look")
    for axes in (left, right):
        scale_errors(axes)
        axes.set_ylabel("error on test scenes (%)")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    left.set_title(f"{name}: mean and 95 % interval over runs", fontsize=10)
    save_figure(path, figure)


def scale_errors(axes: Axes) -> None:
    """Give an axis of errors in % a logarithmic scale with plain numbers, which ends at 100."""
    axes.set_yscale("log")
    end_at_100(axes)
    low, high = axes.get_ylim()
    ticks = [tick for tick in TICKS if low <= tick <= high]
    if len(ticks) < 3:
        ticks = [round(float(tick), 1) for tick in np.linspace(low, high, 5)]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
