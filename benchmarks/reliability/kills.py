"""Trainings killed at random moments with `kill -9`, and resumed: they end as if they had never been stopped.

A checkpoint is written as often as once in EVERY seconds, because a short training would have none otherwise. What is
lost is at most the time between two checkpoints, and the update and validation under way.
"""

import json
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.command_line import words_of
from foveal_agents import commands, training
from foveal_env import checkpoint

SEED = 18
KILLS = 20  # of each training
EVERY = 0.2  # s between checkpoints here
SECONDS = 120.0  # of a training, at most
LIMIT = 60.0  # s of work that may be lost
SCENES = {"canvas": 40, "clutter": 2}
COMMON = {"scenes": 20, "baselines": ("random",), "precision": "float32"}
TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {  # name: command and options
    "pretrain": (
        "pretrain",
        {"steps": 80, "batch": 16, "precision": "float32", "auxiliary_task": "point", "digits.canvas": 40}
        | {
            "digits.clutter": 2,
            "multizoom.patch": 8,
            "multizoom.zooms": 2,
            "multizoom.width": 24,
            "multizoom.depth": 1,
        },
    ),
    "grpo": (
        "policy",
        COMMON | {"agent": "grpo", "train_glimpses": 8_000, "grpo.num_scenes": 16, "grpo.width": 64},
    ),
    "ppo": (
        "policy",
        COMMON | {"agent": "ppo", "train_glimpses": 4_000, "ppo.num_envs": 16, "ppo.batch_size": 64},
    ),
}


def train(words: Sequence[str], every: float, log: str) -> None:
    """Run a command in this process, with a checkpoint every `every` seconds; its output goes to a file."""
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(1)
    training.SAVE_EVERY, training.VALIDATION_SCENES, training.PICTURE_SCENES = every, 30, 8
    commands.main(words)


class Trainings:
    """Runs trainings in fresh processes that have imported the project already.

    Args:
        folder: folder for all of them.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["benchmarks.reliability.kills"])

    def run(self, name: str, out: Path, *, resume: bool = False, killed_after: float | None = None) -> float:
        """Run a training; return the seconds it took. RuntimeError if it fails, or takes too long."""
        command, options = TRAININGS[name]
        words = [command, *words_of({**options, "out": out, "resume": resume})]
        log = self.folder / f"{out.name}.log"
        process = self.processes.Process(target=train, args=(words, EVERY, str(log)))
        started = time.monotonic()
        process.start()
        process.join(SECONDS if killed_after is None else killed_after)
        seconds, alive = time.monotonic() - started, process.is_alive()
        if alive:
            process.kill()
            process.join()
        if (alive or process.exitcode) and killed_after is None:
            raise RuntimeError(f"{name} ended with {process.exitcode} after {seconds:.0f} s: {log.read_text()[-600:]}")
        return seconds


def result(name: str, folder: Path) -> dict[str, Any]:
    """Return what a training left: weights and figures, without the time it took."""
    file, kind = ("perception.safetensors", "perception") if name == "pretrain" else ("policy.safetensors", "policy")
    tensors, header = checkpoint.load(folder / file, kind)
    rows = json.loads((folder / "results.json").read_text())["rows"] if kind == "policy" else []
    return {
        "tensors": tensors,
        "header": {key: value for key, value in header.items() if key not in ("spent", "command", "content")},
        "rows": [{key: value for key, value in row.items() if "seconds" not in key} for row in rows],
    }


def is_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two results are equal to the bit."""
    same = one["tensors"].keys() == other["tensors"].keys() and all(
        torch.equal(value.view(torch.uint8), other["tensors"][name].view(torch.uint8))
        if value.ndim
        else value == other["tensors"][name]
        for name, value in one["tensors"].items()
    )
    return same and one["header"] == other["header"] and one["rows"] == other["rows"]


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows of a training in a folder: for each curve its steps and values."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("train/")]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def doubles(curves: dict[str, list[tuple[int, float]]]) -> int:
    """Return how many points a curve has twice, or out of order."""
    return sum(later <= step for points in curves.values() for (step, _), (later, _) in pairwise(points))


def saved(name: str, folder: Path) -> Path:
    """Return the checkpoint that a training goes on from."""
    return folder / ("training.safetensors" if name == "pretrain" else "policy.safetensors")


def lost(path: Path, seconds: float, ended: float) -> float:
    """Return the seconds of work that a kill at the time `ended` lost, with checkpoints as often as in real trainings.

    A training that had no checkpoint yet, because it writes the first one at once, has lost all of its `seconds`.
    """
    if not path.is_file():
        return seconds
    return min(seconds, ended - path.stat().st_mtime) - EVERY + training.SAVE_EVERY


def killed(runs: Trainings, name: str, moment: float, whole: Path) -> dict[str, Any]:
    """Kill a training after `moment` seconds, and resume it; return what became of it."""
    out = runs.folder / f"{name}-killed"
    shutil.rmtree(out, ignore_errors=True)
    seconds = runs.run(name, out, killed_after=moment)
    path, work = saved(name, out), lost(saved(name, out), seconds, time.time())
    resume = path.is_file()
    if not resume:
        shutil.rmtree(out, ignore_errors=True)
    runs.run(name, out, resume=resume)
    shown, expected = curves(out), curves(whole)
    return {
        "resumed": resume,
        "equal": is_equal(result(name, out), result(name, whole)),
        "doubles": doubles(shown),
        "missing": sum(len(set(points) - set(shown.get(tag, ()))) for tag, points in expected.items()),
        "lost": work,
    }


def measure(kills: int = KILLS, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Kill each training at random moments; return the figures."""
    entries = []
    with tempfile.TemporaryDirectory() as folder:
        runs = Trainings(Path(folder))
        for name in TRAININGS:
            whole, draw = Path(folder) / f"{name}-whole", random.Random(f"{SEED} {name}")
            seconds = runs.run(name, whole)
            for number in range(kills):
                entry = killed(runs, name, draw.uniform(0, seconds), whole)
                tell(f"{name} {number + 1} of {kills}, {seconds:.1f} s: {entry}")
                entries.append({"training": name, **entry})
    return {
        "kills": len(entries),
        "kills_equal": sum(entry["equal"] for entry in entries),
        "kills_resumed": sum(entry["resumed"] for entry in entries),
        "tensorboard_doubles": sum(entry["doubles"] for entry in entries),
        "tensorboard_missing": sum(entry["missing"] for entry in entries),
        "lost_seconds_max": round(max(entry["lost"] for entry in entries), 1),
    }
