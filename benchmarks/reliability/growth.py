"""Memory over many steps and many environments: it stays flat."""

import gc
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import foveal_env  # noqa: F401, registers the ids
from foveal_env.make import make_source
from foveal_env.perception import Perception

STEPS = 2_000_000
ENVIRONMENTS = 2_000
ROWS = 512
READINGS = 20  # of the memory, evenly spread
WARM_UP = 0.25  # share of the readings that do not count
SCENES = {"canvas": 40, "clutter": 2}


def memory() -> float:
    """Return the resident memory of this process in MB."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def growth(work: Iterator[None]) -> dict[str, float]:
    """Return the memory after the warm-up in MB, and how much more it is at the end: means of a fifth of the readings.

    Args:
        work: iterator that does an even part of the work before each of its READINGS items.
    """
    readings = [memory() for _ in work][int(WARM_UP * READINGS) :]
    fifth = max(1, len(readings) // 5)
    first, last = np.mean(readings[:fifth]), np.mean(readings[-fifth:])
    return {"mb": round(float(first), 1), "growth_mb": round(float(last - first), 1)}


def steps(perception: Path, count: int, tell: Callable[[str], None]) -> Iterator[None]:
    """Take `count` steps in a native batch, at random; yield after each of READINGS parts."""
    batch = gym.make_vec("foveal_env/Classify-v0", num_envs=ROWS, perception=str(perception))
    batch.reset(seed=0)
    draws = np.random.default_rng(0)
    for number in range(READINGS):
        for _ in range(count // ROWS // READINGS):
            batch.step(draws.uniform(-1, 1, (ROWS, 2)).astype(np.float32))
        tell(f"{(number + 1) * count // READINGS:,} steps: {memory():.1f} MB")
        yield
    batch.close()


def environments(perception: Path, count: int, tell: Callable[[str], None]) -> Iterator[None]:
    """Make and close `count` environments, in turn single and native ones; yield after each of READINGS parts."""
    for number in range(READINGS):
        for turn in range(count // READINGS):
            if turn % 2:
                environment = gym.make("foveal_env/Classify-v0", perception=str(perception))
            else:
                environment = gym.make_vec("foveal_env/Classify-v0", num_envs=2, perception=str(perception))
            environment.reset(seed=turn)
            environment.step(environment.action_space.sample())
            environment.close()
        tell(f"{(number + 1) * count // READINGS:,} environments: {memory():.1f} MB")
        yield


def measure(tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure both; return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.safetensors"
        scenes = make_source("digits", "train", **SCENES)
        Perception.build(scenes, patch=8, zooms=2, width=24, depth=1).save(path, source="digits", source_options=SCENES)
        of_steps = growth(steps(path, STEPS, tell))
        of_environments = growth(environments(path, ENVIRONMENTS, tell))
    return {
        "steps": STEPS,
        "environments": ENVIRONMENTS,
        "growth_mb": max(of_steps["growth_mb"], of_environments["growth_mb"]),
        "growth_mb_steps": of_steps["growth_mb"],
        "growth_mb_environments": of_environments["growth_mb"],
        "memory_mb": max(of_steps["mb"], of_environments["mb"]),
    }
