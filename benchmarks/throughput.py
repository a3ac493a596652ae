"""Speed of the environment: the native batch against singles, time outside the encoder, time to import.

Ratios only: both sides of each are measured in turn in the same run.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from PIL import Image

import foveal_env
from benchmarks import ROOT, publish

ID = next(iter(foveal_env.IDS))
ROUNDS = 21
PROCESSES = 5


def seconds_per_step(env: gym.vector.VectorEnv, actions: np.ndarray) -> float:
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


def outside_encoder_share(env: gym.vector.VectorEnv) -> dict[str, list[float]]:
    """Return for each round the share of a step that is not the encoder's forward pass.

    "all": resets and the scenes of the next episodes included; "within": the steps in which no episode ends.
    """
    encoder, inside = env.world.perception.encoder, 0.0
    forward = encoder.step

    def timed(*arguments: torch.Tensor) -> torch.Tensor:
        nonlocal inside
        start = time.perf_counter()
        result = forward(*arguments)
        inside += time.perf_counter() - start
        return result

    encoder.step = timed
    try:
        env.reset(seed=0)
        glimpses = env.world.glimpses
        actions = random_actions(env.num_envs, 3 * glimpses)
        seconds_per_step(env, actions)
        shares: dict[str, list[float]] = {"all": [], "within": []}
        for _ in range(ROUNDS):
            total = within = inside_all = inside_within = 0.0
            for number, action in enumerate(actions, start=1):
                inside, start = 0.0, time.perf_counter()
                env.step(action)
                took = time.perf_counter() - start
                total, inside_all = total + took, inside_all + inside
                if number % glimpses:
                    within, inside_within = within + took, inside_within + inside
            shares["all"].append(1 - inside_all / total)
            shares["within"].append(1 - inside_within / within)
        return shares
    finally:
        del encoder.step


def shares_of_processes() -> list[float]:
    """Return the shares outside the encoder at 256, resets included, of several fresh processes, round by round.

    Where the memory of a process happens to lie moves this share by more than a point, so that one is not enough.
    """
    code = (
        "import json, gymnasium as gym; from benchmarks.throughput import ID, outside_encoder_share as share; "
        "print(json.dumps(share(gym.make_vec(ID, num_envs=256))['all']))"
    )
    call = [sys.executable, "-c", code]
    runs = [subprocess.run(call, capture_output=True, text=True, check=True, cwd=ROOT) for _ in range(PROCESSES)]
    return [share for run in runs for share in json.loads(run.stdout)]


def write_pictures(folder: Path) -> None:
    """Write ten classes of grey JPEG files of 64 to 1,024 px, cut out of scikit-learn's photographs."""
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo).convert("L") for photo in load_sample_images().images]
    for label in range(10):
        (folder / str(label)).mkdir()
        for number, width in enumerate((64, 96, 128, 200, 256, 320, 400, 512, 640, 800, 900, 1024)):
            height = width * (3 + number % 5) // 5
            photos[number % 2].resize((width, height)).save(folder / str(label) / f"{number}.jpg")


def import_seconds() -> list[float]:
    """Return how long the import of foveal_env takes after gymnasium's, in fresh processes."""
    code = "import time, gymnasium; t = time.perf_counter(); import foveal_env; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(7)]
    return [float(run.stdout) for run in runs]


def main_job(folder: Path) -> dict[str, float]:
    """Return the seconds and the largest resident memory in GB of `python train.py`, the set-up apart."""
    call = [sys.executable, "train.py", "--out", str(folder)]
    start = time.perf_counter()
    process = subprocess.Popen(call, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(call)} failed")
    return {"seconds": round(time.perf_counter() - start), "peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2)}


def main() -> None:
    """Measure everything and publish it."""
    ratio, imports = native_over_sync(64), import_seconds()
    shares = shares_of_processes()
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder))
        options = {"folder": folder, "channels": 1}
        mixed = outside_encoder_share(gym.make_vec(ID, num_envs=256, source="folder", source_options=options))
    with tempfile.TemporaryDirectory() as folder:
        job = main_job(Path(folder))
    results = {
        "command": "python -m benchmarks.throughput",
        "native_over_sync_64": round(ratio["ratio"], 1),
        "native_over_sync_64_range": [round(ratio["ratio_min"], 1), round(ratio["ratio_max"], 1)],
        "native_steps_per_second_64": round(ratio["native_steps_per_second"]),
        "sync_steps_per_second_64": round(ratio["sync_steps_per_second"]),
        "outside_encoder_share_256": round(statistics.median(shares), 3),
        "outside_encoder_share_256_range": [round(min(shares), 3), round(max(shares), 3)],
        "outside_encoder_share_256_mixed_sizes": round(statistics.median(mixed["within"]), 3),
        "outside_encoder_share_256_mixed_sizes_reading_included": round(statistics.median(mixed["all"]), 3),
        "main_job_seconds": job["seconds"],
        "main_job_peak_gb": job["peak_gb"],
        "import_seconds": round(statistics.median(imports), 4),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    low, high = results["native_over_sync_64_range"]
    least, most = results["outside_encoder_share_256_range"]
    table = "\n".join(
        [
            f"| speed, {results['threads']} CPU threads (median of {ROUNDS} rounds) | measured | wanted |",
            "|---|---|---|",
            f"| native batch of 64 over `SyncVectorEnv` of 64 singles, steps/s | {results['native_over_sync_64']} x"
            f" ({low} to {high}) | at least 10 x |",
            f"| steps/s at 64, native and `SyncVectorEnv` | {results['native_steps_per_second_64']:,} and"
            f" {results['sync_steps_per_second_64']:,} | |",
            f"| share of a step outside the encoder at 256, resets included, {PROCESSES} processes |"
            f" {results['outside_encoder_share_256']:.1%} ({least:.1%} to {most:.1%}) | at most 15 % |",
            "| the same, JPEG files of 64 to 1,024 px in one batch, in the steps in which no episode begins |"
            f" {results['outside_encoder_share_256_mixed_sizes']:.1%} | at most 15 % |",
            "| and with reading 256 files for each episode of 4 glimpses, two cores doing both |"
            f" {results['outside_encoder_share_256_mixed_sizes_reading_included']:.1%} | |",
            "| `python train.py`, the main job, set-up apart: time and peak memory |"
            f" {job['seconds']} s, {job['peak_gb']} GB | at most 3 minutes, 2 GB |",
            f"| `import foveal_env` after gymnasium | {results['import_seconds']:.4f} s | under 0.3 s |",
        ]
    )
    publish("throughput", results, table)


if __name__ == "__main__":
    main()
