"""What a comparison leaves behind: a table, results.json and results.csv."""

import csv
import io
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from foveal_agents.base import Agent
from foveal_agents.rollout import Evaluation
from foveal_env.checkpoint import write_atomically, write_json
from foveal_env.world import World

PACKAGES = ("foveal-env", "torch", "torchvision", "gymnasium", "stable-baselines3", "numpy", "scikit-learn")


def row(agent: Agent, evaluation: Evaluation) -> dict[str, Any]:
    """Return one entry of results.json's "rows"; where episodes ended early, with the mean number of glimpses."""
    early = bool((evaluation.glimpses < evaluation.correct.shape[1] - 1).any())
    return {
        "agent": agent.name,
        "seed": agent.seed,
        "train_glimpses": agent.spent.glimpses,
        "train_seconds": round(agent.spent.seconds, 1),
        "accuracy": [round(value, 4) for value in evaluation.accuracy],
        "loss": [round(value, 4) for value in evaluation.mean_loss],
        **({"glimpses": round(evaluation.glimpses.double().mean().item(), 3)} if early else {}),
        **{
            name: round(column.double().nanmean().item(), 4)
            for name, column in evaluation.info.columns.items()
            if not column.isnan().all()
        },
    }


def results(
    world: World,
    rows: list[dict[str, Any]],
    *,
    command: str,
    seed: int,
    scenes: int,
    made: dict[str, Any],
) -> dict[str, Any]:
    """Return the contents of results.json.

    Args:
        world: world of the evaluation.
        rows: entries that `row` returns.
        command: command that makes the file again.
        seed: first seed of the agents.
        scenes: number of scenes.
        made: names that the world was made from: "perception" and "source"; None or none is the perception's own.
    """
    return {
        "command": command,
        "seed": seed,
        "task": world.perception.task_name,
        "source": made.get("source") or world.perception.spec["source"],
        "canvas": world.source.canvas,
        "glimpses": world.rules.glimpses,
        "sensor_pixels_per_glimpse": world.layout.pixels,
        "perception": str(made.get("perception")),
        "split": world.source.split,
        "scenes": scenes,
        "images": world.source.count,
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
    """Write results.json, and results.csv with a line for each agent, seed and look."""
    write_json(folder / "results.json", contents)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["agent", "seed", "train_glimpses", "train_seconds", "glimpse", "accuracy", "loss"])
    for entry in contents["rows"]:
        head = [entry[key] for key in ("agent", "seed", "train_glimpses", "train_seconds")]
        for glimpse, values in enumerate(zip(entry["accuracy"], entry["loss"], strict=True)):
            writer.writerow([*head, glimpse, *values])
    write_atomically(folder / "results.csv", text.getvalue().encode())


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
