"""What a comparison leaves behind: tables, results.json and results.csv."""

import csv
import io
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from foveal_agents.base import Agent
from foveal_agents.rollout import Evaluation
from foveal_env.checkpoint import write_atomically, write_json
from foveal_env.tasks.base import Metric, share
from foveal_env.world import World

PACKAGES = ("foveal-env", "torch", "torchvision", "gymnasium", "stable-baselines3", "numpy", "scikit-learn")
ACCURACY = {"accuracy": share("accuracy")}  # of results that name no figures of their task
GLIMPSES = Metric(title="glimpses", by_look=False, falls=True)  # where episodes end early
SMALLEST_GAP = 0.02  # of accuracy, between random and oracle: a share of less says nothing


def row(agent: Agent, evaluation: Evaluation, *, label: str | None = None, policy: str | None = None) -> dict[str, Any]:
    """Return one entry of results.json's "rows"; where episodes ended early, with the mean number of glimpses.

    Args:
        agent: agent that looked.
        evaluation: what it did.
        label: what the tables call it; rows of one label differ in the seed alone. By default its name.
        policy: path or name of the policy that was loaded; None for other agents.
    """
    looks = torch.arange(evaluation.correct.shape[1])
    early = bool((evaluation.glimpses < looks[-1]).any())
    figures = {"glimpses": torch.minimum(looks, evaluation.glimpses[:, None]), **evaluation.figures.columns}
    return {
        "label": label or agent.name,
        "agent": agent.name,
        "seed": agent.seed,
        "policy": policy,
        "options": agent.options,
        "train_glimpses": agent.spent.glimpses,
        "train_seconds": round(agent.spent.seconds, 1),
        "accuracy": [round(value, 4) for value in evaluation.accuracy],
        "loss": [round(value, 4) for value in evaluation.mean_loss],
        "metrics": {
            name: [round(value, 4) for value in column.double().nanmean(dim=0).tolist()]
            for name, column in figures.items()
            if not column.isnan().all()
        },
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
    named = dict.fromkeys(name for entry in rows for name in entry["metrics"])
    if not any("glimpses" in entry for entry in rows) and "glimpses" not in world.metrics:
        named.pop("glimpses", None)  # all have taken all
    known = {"glimpses": GLIMPSES, **world.metrics}
    shown = {name: known.get(name) or Metric(title=name, digits=3, by_look=False) for name in [*world.metrics, *named]}
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
        "metrics": {name: asdict(metric) for name, metric in shown.items() if name in named},
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
    shown = list(metrics_of(contents))
    writer.writerow(["label", "agent", "seed", "train_glimpses", "train_seconds", "glimpse", *shown, "loss"])
    for entry in contents["rows"]:
        head = [label_of(entry), *(entry[key] for key in ("agent", "seed", "train_glimpses", "train_seconds"))]
        columns = [values_of(entry, name) for name in shown]
        for glimpse, values in enumerate(zip(*columns, entry["loss"], strict=True)):
            writer.writerow([*head, glimpse, *values])
    write_atomically(folder / "results.csv", text.getvalue().encode())


def metrics_of(contents: dict[str, Any]) -> dict[str, Metric]:
    """Return the figures that the tables of some results show, by name; the main one first."""
    return {name: Metric(**fields) for name, fields in contents.get("metrics", {}).items()} or ACCURACY


def label_of(entry: dict[str, Any]) -> str:
    """Return what tables call a row."""
    return entry.get("label", entry["agent"])


def values_of(entry: dict[str, Any], metric: str) -> list[float]:
    """Return a figure of a row after each look, [1 + T]; NaN where a row lacks it."""
    return {**entry, **entry.get("metrics", {})}.get(metric, [float("nan")] * len(entry["accuracy"]))


def summarise(
    rows: Sequence[dict[str, Any]], metric: str = "accuracy"
) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Return of each label the mean of a figure by look, the half width of its 95 % t interval over seeds, and seeds.

    Rows of one label differ in the seed alone.
    """
    summary = {}
    for name in dict.fromkeys(map(label_of, rows)):
        values = np.array([values_of(entry, metric) for entry in rows if label_of(entry) == name])
        count = len(values)
        error = values.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(values.shape[1])
        factor = stats.t.ppf(0.975, count - 1) if count > 1 else 0.0
        summary[name] = values.mean(axis=0), factor * error, count
    return summary


def table(contents: dict[str, Any], name: str | None = None) -> str:
    """Return a figure by look as a Markdown table, one line for each label, the best last look last.

    Args:
        contents: those of results.json, or "glimpses" and "rows" of it.
        name: which figure; by default the main one, with those that are told at the end alone in columns of their own.
    """
    metrics = metrics_of(contents)
    main = next(iter(metrics))
    metric, rows = metrics[name or main], contents["rows"]
    ends = [key for key, other in metrics.items() if not other.by_look] if name in (None, main) else []
    heads = ["agent", "seeds", *map(str, range(contents["glimpses"] + 1)), *(metrics[key].heading for key in ends)]
    lines, summary = [], summarise(rows, name or main)
    for label in sorted(summary, key=lambda label: (-1) ** metric.falls * summary[label][0][-1]):
        mean, half, count = summary[label]
        cells = [_written(metric, mean, half, count, look) for look in range(len(mean))]
        told = [_written(metrics[key], *summarise(rows, key)[label], -1) for key in ends]
        seconds = np.mean([entry["train_seconds"] for entry in rows if label_of(entry) == label])
        lines.append([label, str(count), *cells, *told, f"{seconds:.0f}" if seconds else "-"])
    return _aligned([*heads, "train s"], lines)


def tables(contents: dict[str, Any]) -> dict[str, str]:
    """Return a table of each figure that is told after each look, by its heading; the main one first."""
    shown = {name: metric for name, metric in metrics_of(contents).items() if metric.by_look}
    return {metric.heading: table(contents, name) for name, metric in shown.items()}


def _written(metric: Metric, mean: np.ndarray, half: np.ndarray, count: int, look: int) -> str:
    if np.isnan(mean[look]):
        return "-"
    return metric.written(mean[look]) + (f" ± {metric.written(half[look])}" if count > 1 else "")


def _aligned(heads: list[str], lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in [heads, *lines]) for column in range(len(heads))]
    rule = ["-" * width for width in widths]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in [heads, rule, *lines]]
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def gap_closed(rows: Sequence[dict[str, Any]], agent: str) -> float | None:
    """Return the share of the distance from random to oracle that an agent closes at the last look.

    None if one of the three is not there, or the distance is nearly nothing: a share of that is chance.
    """
    summary = summarise(rows)
    if not {"random", "oracle", agent} <= set(summary):
        return None
    low, high, mine = (summary[name][0][-1] for name in ("random", "oracle", agent))
    return None if high - low < SMALLEST_GAP else float((mine - low) / (high - low))
