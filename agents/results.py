"""What a comparison leaves behind: a table, results.json and results.csv, a plot, and pictures of scan paths."""

import csv
import io
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
from scipy import stats
from torch import Tensor

from foveal_agents.base import Agent, Evaluation
from foveal_env.checkpoint import write_atomically, write_json
from foveal_env.world import World

PACKAGES = ("foveal-env", "torch", "torchvision", "gymnasium", "stable-baselines3", "numpy", "scikit-learn")
BASELINES = ("random", "centre", "raster", "spiral", "saliency", "oracle", "greedy_oracle")  # drawn dashed


def row(agent: Agent, evaluation: Evaluation) -> dict[str, Any]:
    """Return one entry of results.json's "rows"; where episodes ended early, with the mean number of glimpses."""
    early = bool((evaluation.glimpses < evaluation.correct.shape[1] - 1).any())
    return {
        "agent": agent.name,
        "seed": agent.seed,
        "train_glimpses": agent.glimpses,
        "train_seconds": round(agent.seconds, 1),
        "accuracy": [round(value, 4) for value in evaluation.accuracy],
        "loss": [round(value, 4) for value in evaluation.mean_loss],
        **({"glimpses": round(evaluation.glimpses.double().mean().item(), 3)} if early else {}),
        **{
            name: round(column.double().nanmean().item(), 4)
            for name, column in evaluation.info.columns.items()
            if not column.isnan().all()
        },
    }


def results(world: World, rows: list[dict[str, Any]], *, command: str, seed: int, scenes: int) -> dict[str, Any]:
    """Return the contents of results.json."""
    return {
        "command": command,
        "seed": seed,
        "task": world.perception.spec["task"],
        "source": world.options.get("source") or world.perception.spec["source"],
        "canvas": getattr(world.source, "canvas", None),
        "glimpses": world.rules.glimpses,
        "sensor_pixels_per_glimpse": world.layout.pixels,
        "perception": str(world.options.get("perception")),
        "split": world.source.split,
        "scenes": scenes,
        "versions": {"python": platform.python_version(), **{name: installed(name) for name in PACKAGES}},
        "rows": rows,
    }


def installed(package: str) -> str:
    """Return the version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:  # this project, run from a checkout that was not installed
        return "not installed"


def write_results(folder: Path, contents: dict[str, Any]) -> None:
    """Write results.json, results.csv (a line for each agent, seed and look) and accuracy.png."""
    write_json(folder / "results.json", contents)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["agent", "seed", "train_glimpses", "train_seconds", "glimpse", "accuracy", "loss"])
    for entry in contents["rows"]:
        head = [entry[key] for key in ("agent", "seed", "train_glimpses", "train_seconds")]
        for glimpse, values in enumerate(zip(entry["accuracy"], entry["loss"], strict=True)):
            writer.writerow([*head, glimpse, *values])
    write_atomically(folder / "results.csv", text.getvalue().encode())
    plot_accuracy(folder / "accuracy.png", contents)


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Return for each agent its mean accuracy by look, the half width of its 95 % t interval over seeds, and seeds."""
    summary = {}
    for name in dict.fromkeys(entry["agent"] for entry in rows):
        accuracy = np.array([entry["accuracy"] for entry in rows if entry["agent"] == name])
        count = len(accuracy)
        error = accuracy.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(accuracy.shape[1])
        factor = stats.t.ppf(0.975, count - 1) if count > 1 else 0.0
        summary[name] = accuracy.mean(axis=0), factor * error, count
    return summary


def table(contents: dict[str, Any]) -> str:
    """Return the accuracy by look as a Markdown table, one line for each agent, best last look last."""
    looks = contents["glimpses"] + 1
    heads = ["agent", "seeds", *[f"{glimpse}" for glimpse in range(looks)], "train s"]
    lines = []
    summary = summarise(contents["rows"])
    for name, (mean, half, count) in sorted(summary.items(), key=lambda item: item[1][0][-1]):
        seconds = np.mean([entry["train_seconds"] for entry in contents["rows"] if entry["agent"] == name])
        cells = [f"{100 * m:.1f}" + (f" ± {100 * h:.1f}" if count > 1 else "") for m, h in zip(mean, half, strict=True)]
        lines.append([name, str(count), *cells, f"{seconds:.0f}" if seconds else "-"])
    widths = [max(len(line[column]) for line in [heads, *lines]) for column in range(len(heads))]
    rule = ["-" * width for width in widths]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in [heads, rule, *lines]]
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def gap_closed(rows: Sequence[dict[str, Any]], agent: str) -> float | None:
    """Return the share of the distance from random to oracle that an agent closes at the last look, if known."""
    summary = summarise(rows)
    if not {"random", "oracle", agent} <= set(summary):
        return None
    low, high, mine = (summary[name][0][-1] for name in ("random", "oracle", agent))
    return None if high <= low else float((mine - low) / (high - low))


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
