"""Time and memory of a call, in this process or in one of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.files import ROOT
from benchmarks.images.inputs import DEVICE


def seconds(call: Callable[[], Any], *, rounds: int = 9, repeat: int = 1) -> float:
    """Return the median seconds of a call over rounds, after one that does not count."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in range(repeat):
            call()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / repeat)
    return float(np.median(times[1:]))


def peak_memory(*, reset: bool = False) -> int:
    """Return the largest resident memory of this process in bytes; `reset` forgets what was before. Linux only."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def own_process(module: str, function: str, *arguments: Any) -> dict[str, float]:
    """Return what a function of a module of benchmarks.images returns in a process of its own."""
    load = f"import json; from benchmarks.images.{module} import {function}"
    code = f"{load}; print(json.dumps({function}(*{arguments!r})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    if run.returncode:
        raise RuntimeError(f"{function}{arguments} failed: {run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])
