"""The plots of search and stopping, and pictures of one scene under four prompts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.files import DOCS
from benchmarks.plots import draw_curve, end_at_100
from benchmarks.search.ladder import GLIMPSES, by_agent_on, search_of, world_of
from benchmarks.search.prompts import CANVAS, search
from foveal_agents.plots import save_figure
from foveal_agents.policy_files import load_agent
from foveal_agents.sheets import BLACK, RED, Panel, panel, sheet
from foveal_env import IDS
from foveal_env.data import Episode, Scenes
from foveal_env.make import make_world
from foveal_env.world import World


def plot_ladder(contents: dict[str, Any]) -> None:
    """Plot success and SPL against the side of the canvas."""
    figure = Figure((12, 4.5), layout="constrained")
    both = figure.subplots(1, 2)
    for axes, key, title in zip(both, ("success", "spl"), ("success", "SPL"), strict=True):
        canvases = [int(canvas) for canvas in contents[key]]
        runs = [by_agent_on(contents["ladder"], canvas, key) for canvas in canvases]
        for name in runs[0]:
            if name == "exhaustive":  # of as many glimpses as it takes
                continue
            values = 100 * np.array([found[name] for found in runs]).T  # [seeds, canvases]
            draw_curve(axes, canvases, values, agent=name)
        axes.set_xscale("log")
        axes.set_xticks(canvases, [str(canvas) for canvas in canvases])
        axes.minorticks_off()
        axes.set_xlabel("side of the canvas in px; the target has 28")
        axes.set_ylabel(f"{title} (%)")
        axes.set_title(f"{title} within {GLIMPSES} glimpses: mean and 95 % interval over seeds", fontsize=10)
        axes.grid(alpha=0.3)
        end_at_100(axes)
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    save_figure(DOCS / "search_ladder.png", figure)


def plot_stop(contents: dict[str, Any]) -> None:
    """Plot accuracy against mean glimpses, over costs, beside policies that cannot stop."""
    figure = Figure((6.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    rows = [row for row in contents["stop"] if row["split"] == "test"]
    mean = 100 * np.mean([row["accuracy"] for row in rows if row["glimpse_cost"] is None], axis=0)
    axes.plot(np.arange(len(mean)), mean, "--", marker="o", ms=4, color="grey", label="fixed number of glimpses")
    curve = []
    for cost in dict.fromkeys(row["glimpse_cost"] for row in rows if row["glimpse_cost"] is not None):
        own = [row for row in rows if row["glimpse_cost"] == cost]
        x, y = [row["glimpses"] for row in own], [100 * row["accuracy"][-1] for row in own]
        axes.plot(x, y, "o", ms=4, label=f"stops, cost {cost} nats a glimpse")
        curve.append((np.mean(x), np.mean(y)))
    axes.plot(*zip(*curve, strict=True), "-", color="black", lw=1, label="mean over five policies of each cost")
    axes.set_xlabel("mean glimpses after the first look")
    axes.set_ylabel("accuracy on test scenes (%)")
    axes.grid(alpha=0.3)
    axes.set_ylim(top=100)
    axes.legend(fontsize=8)
    save_figure(DOCS / "search_stop.png", figure)


def draw_prompts() -> None:
    """Draw the same scenes under four prompts, as the policies that ship with the package search them."""
    draw_same_scenes(world_of(CANVAS), "search", range(3), DOCS / "search_prompts.png")


def draw_crowds() -> None:
    """Draw one crowd of 16 under four prompts, as the policy that ships with the package searches it."""
    crowd = {**IDS["foveal_env/Crowd-v0"], "source_options": {"candidates": 16}}
    world = make_world(**crowd, split="test")
    draw_same_scenes(world, "crowd", [0], DOCS / "crowd_prompts.png")


def plot_spatial(contents: dict[str, Any]) -> None:
    """Plot success by canvas and by the size of a crowd, for all agents, by the first hit."""
    figure = Figure((12, 4.5), layout="constrained")
    both, found = figure.subplots(1, 2), contents["spatial"]
    lines = (
        ("side of the canvas in px", {int(name.split()[0]): name for name in found if name.endswith("px")}),
        ("digits in a crowd on 400 px", {int(name.split()[-1]): name for name in found if name.startswith("crowd")}),
    )
    for axes, (label, places) in zip(both, lines, strict=True):
        runs = [found[place]["first hit"] for place in places.values()]
        for name in runs[0]:
            values = 100 * np.array([run[name]["success"] for run in runs]).T
            marks = {"agent": "saliency", "marker": "s", "label": name} if name == "own saliency" else {"agent": name}
            draw_curve(axes, list(places), values, **marks)
        blind = [side for side, place in places.items() if contents["blind_looks"][place] > GLIMPSES + 1]
        if blind:
            axes.axvspan(min(blind) * 0.85, max(places) * 1.1, color="0.9", zorder=0)
            axes.text(min(blind) * 0.88, 92, f"more than {GLIMPSES + 1} looks\nto see every place", fontsize=7)
        axes.set_xscale("log")
        axes.set_xticks(list(places), [str(place) for place in places])
        axes.minorticks_off()
        axes.set_xlabel(label)
        axes.set_ylabel("success (%)")
        axes.set_title(f"first hit within {GLIMPSES} glimpses: mean and 95 % interval over seeds", fontsize=10)
        axes.grid(alpha=0.3)
        end_at_100(axes)
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    save_figure(DOCS / "search_spatial.png", figure)


def draw_same_scenes(world: World, policy: str, scenes: Sequence[int], path: Path) -> None:
    """Draw scenes, each under four prompts, as a shipped policy searches them."""
    agent, index = load_agent(policy, world), torch.tensor(scenes)
    source = search_of(world)
    panels: list[list[Panel]] = []
    for question in range(4):
        shown = source.scenes(index, question=question)
        last = search(world, agent, shown)
        panels.append([panel_of(world, shown, last, row) for row in range(len(index))])
    by_scene = [panel for row in zip(*panels, strict=True) for panel in row]
    numbers = f"scene{'s' * (len(scenes) > 1)} {', '.join(map(str, scenes))}"
    title = f"GRPO, the shipped policy {policy!r} of seed {agent.seed}; {source.split} {numbers}"
    save_figure(path, sheet(by_scene, columns=4, title=title))


def panel_of(world: World, shown: Scenes, last: Episode, row: int) -> Panel:
    """Return the drawing of one search, with the question, and whether the target was found."""
    right = bool(last.outcome.correct[row])
    number = int(last.glimpses[row])
    found = f"found after {number} glimpse{'s' * (number != 1)}" if right else "not found"
    return panel(
        *(world, shown, row, last.gazes[row], last.outcome.prediction[row]),
        room=300,
        above=f"{world.question_text(shown, row)} {found}",
        colour=BLACK if right else RED,
    )
