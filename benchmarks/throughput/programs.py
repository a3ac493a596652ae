"""The time of whole programs: the main job, and the import of the package."""

import os
import subprocess
import sys
import tempfile
import time

from benchmarks.files import ROOT


def import_seconds() -> list[float]:
    """Return how long the import of foveal_env takes after gymnasium's, in fresh processes."""
    code = "import time, gymnasium; t = time.perf_counter(); import foveal_env; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(7)]
    return [float(run.stdout) for run in runs]


def main_job() -> dict[str, float]:
    """Return the seconds and the largest resident memory in GB of `python train.py`, without the set-up."""
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, "train.py", "--out", folder]
        start = time.perf_counter()
        process = subprocess.Popen(call, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{' '.join(call)} failed")
    return {"seconds": round(seconds), "peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2)}
