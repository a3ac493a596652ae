"""Pictures of what agents do: accuracy against glimpses, and scan paths."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
from torch import Tensor

from foveal_agents.results import summarise
from foveal_agents.rollout import Evaluation
from foveal_env.checkpoint import write_atomically
from foveal_env.world import World

BASELINES = ("random", "centre", "raster", "spiral", "saliency", "oracle", "greedy_oracle")  # drawn dashed


def plot_accuracy(path: Path, contents: dict[str, Any]) -> None:
    """Plot accuracy against looks, baselines dashed, with 95 % intervals over seeds."""
    figure, axes = _figure(7, 4.5)
    for name, (mean, half, count) in summarise(contents["rows"]).items():
        looks = np.arange(len(mean))
        label = f"{name} ({count} seeds)" if count > 1 else name
        (line,) = axes.plot(looks, 100 * mean, "--" if name in BASELINES else "-", marker="o", ms=4, label=label)
        axes.fill_between(looks, 100 * (mean - half), 100 * (mean + half), color=line.get_color(), alpha=0.2, lw=0)
    axes.set_xticks(range(contents["glimpses"] + 1))
    axes.set_xlabel("glimpses after the first look")
    axes.set_ylabel(f"accuracy on {contents['split']} scenes (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    size = "" if contents["canvas"] is None else f", {contents['canvas']} px canvas"
    axes.set_title(f"{contents['task']} · {contents['source']}{size}", fontsize=10)
    save_figure(path, figure)


def scan_paths(
    world: World,
    evaluation: Evaluation,
    rows: Sequence[int],
    *,
    columns: int = 4,
    truth_known: bool = True,
    width: float = 2.6,
) -> Any:
    """Return a figure of the scan paths of some rows of an evaluation, each with the truth and the answer.

    `width` is that of one drawing in inches; as high as the tallest of them needs, within reason.
    """
    scenes = world.scenes(evaluation.index[list(rows)])
    lines = -(-len(rows) // columns)
    tallest = (scenes.images.size[:, 0] / scenes.images.size[:, 1]).max().clamp(0.1, 1.5).item()
    figure = matplotlib.figure.Figure((width * columns, (width * tallest + 0.3) * lines), layout="constrained")
    for place, number in enumerate(rows):
        axes = figure.add_subplot(lines, columns, place + 1)
        prediction = evaluation.prediction[number]
        axes.imshow(world.draw(scenes, place, evaluation.gazes[number], prediction, side=480 if width < 5 else 960))
        axes.axis("off")
        question, words = world.question_text(scenes, place), world.answer_text(scenes, place, prediction)
        truth = f"{question} {world.truth_text(scenes, place)}" if question else world.truth_text(scenes, place)
        said = f"answers {words}" if words else "wrong"
        first = _first_right(evaluation.correct[number])
        title = f"{truth}: " + (f"right from look {first}" if first is not None else said)
        wrong = truth_known and first is None
        axes.set_title(title if truth_known else said, fontsize=9, color="firebrick" if wrong else "black")
    return figure


def save_figure(path: str | os.PathLike, figure: Any) -> None:
    """Write a figure as PNG, atomically."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    write_atomically(path, data.getvalue())


def _first_right(correct: Tensor) -> int | None:
    """Return the look from which on the answer stayed right, or None if the last one was wrong."""
    wrong = (~correct).nonzero().flatten()
    if len(wrong) and int(wrong[-1]) == len(correct) - 1:
        return None
    return int(wrong[-1]) + 1 if len(wrong) else 0


def _figure(width: float, height: float) -> tuple[Any, Any]:
    figure = matplotlib.figure.Figure((width, height), layout="constrained")
    return figure, figure.add_subplot()
