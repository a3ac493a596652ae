"""The time of a step: of the native batch and of singles, and outside the encoder.

Both sides of a ratio are measured in turn in the same run.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from PIL import Image

import foveal_env
from benchmarks.files import ROOT

ID = next(iter(foveal_env.IDS))
ROUNDS = 21
PROCESSES = 5


def seconds_per_step(env: Any, actions: np.ndarray) -> float:
    """Return the mean time of a step, resets included, over whole episodes."""
    start = time.perf_counter()
    for action in actions:
        env.step(action)
    return (time.perf_counter() - start) / len(actions)


def random_actions(count: int, steps: int) -> np.ndarray:
    """Return [steps, count, 2] uniform gazes."""
    return np.random.default_rng(0).uniform(-1, 1, (steps, count, 2)).astype(np.float32)


def native_over_sync(count: int) -> dict[str, float]:
    """Return the steps per second of the native batch and of a SyncVectorEnv of singles, and their ratio."""
    native = gym.make_vec(ID, num_envs=count)
    singles = gym.make_vec(ID, num_envs=count, vectorization_mode="sync")
    times: dict[str, list[float]] = {"native": [], "sync": []}
    for env in (native, singles):
        env.reset(seed=0)
        seconds_per_step(env, random_actions(count, 6))
    for _ in range(ROUNDS):
        times["native"].append(seconds_per_step(native, random_actions(count, 12)))
        times["sync"].append(seconds_per_step(singles, random_actions(count, 6)))
    ratios = [slow / fast for fast, slow in zip(times["native"], times["sync"], strict=True)]
    return {
        "native_steps_per_second": count / statistics.median(times["native"]),
        "sync_steps_per_second": count / statistics.median(times["sync"]),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


@contextmanager
def timed_encoder(encoder: Any) -> Iterator[list[float]]:
    """Time the steps of an encoder; yield the list to which each of them adds its seconds."""
    forward, spent = encoder.step, []

    def timed(*arguments: torch.Tensor) -> torch.Tensor:
        start = time.perf_counter()
        result = forward(*arguments)
        spent.append(time.perf_counter() - start)
        return result

    encoder.step = timed
    try:
        yield spent
    finally:
        del encoder.step


def outside_encoder_share(env: Any) -> dict[str, list[float]]:
    """Return for each round the share of a step that is not the encoder's forward pass.

    "all": resets and the scenes of the next episodes included; "within": the steps in which no episode ends.
    """
    env.reset(seed=0)
    glimpses = env.world.rules.glimpses
    actions = random_actions(env.num_envs, 3 * glimpses)
    shares: dict[str, list[float]] = {"all": [], "within": []}
    with timed_encoder(env.world.perception.encoder) as spent:
        seconds_per_step(env, actions)
        for _ in range(ROUNDS):
            steps = [(*step_and_encoder(env, action, spent), number) for number, action in enumerate(actions, start=1)]
            for name, counted in (("all", steps), ("within", [step for step in steps if step[2] % glimpses])):
                total, inside = (sum(step[part] for step in counted) for part in (0, 1))
                shares[name].append(1 - inside / total)
    return shares


def step_and_encoder(env: Any, action: np.ndarray, spent: list[float]) -> tuple[float, float]:
    """Return the seconds of a step, and those of its forward passes, which `timed_encoder` adds to `spent`."""
    spent.clear()
    start = time.perf_counter()
    env.step(action)
    return time.perf_counter() - start, sum(spent)


def shares_of_processes() -> list[float]:
    """Return the shares outside the encoder at 256, resets included, of several fresh processes, round by round.

    One is not enough: the place of a process in memory moves this share by more than a point.
    """
    code = (
        "import json, gymnasium as gym; from benchmarks.throughput import environment; "
        "env = gym.make_vec(environment.ID, num_envs=256); "
        "print(json.dumps(environment.outside_encoder_share(env)['all']))"
    )
    call = [sys.executable, "-c", code]
    runs = [subprocess.run(call, capture_output=True, text=True, check=True, cwd=ROOT) for _ in range(PROCESSES)]
    return [share for run in runs for share in json.loads(run.stdout)]


def shares_of_mixed_sizes() -> dict[str, list[float]]:
    """Return the shares outside the encoder at 256, on JPEG files of 64 to 1,024 px."""
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        options = {"folder": folder, "channels": 1}
        return outside_encoder_share(gym.make_vec(ID, num_envs=256, source="folder", source_options=options))


def write_images(folder: Path) -> None:
    """Write ten classes of grey JPEG files of 64 to 1,024 px, cut out of scikit-learn's photographs."""
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo).convert("L") for photo in load_sample_images().images]
    for label in range(10):
        (folder / str(label)).mkdir()
        for number, width in enumerate((64, 96, 128, 200, 256, 320, 400, 512, 640, 800, 900, 1024)):
            height = width * (3 + number % 5) // 5
            photos[number % 2].resize((width, height)).save(folder / str(label) / f"{number}.jpg")
