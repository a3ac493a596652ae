"""Any image at constant cost: what the parts of ``python -m benchmarks.images`` share."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import ROOT
from foveal_encoders.base import Layout
from foveal_encoders.multizoom import MultiZoom

LAYOUT = Layout(patch=16, zooms=8, zoom_range=(0.0, 5.0))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WIDTH, DEPTH, HEADS = 96, 2, 3  # of the two encoders that are compared, those of the shipped perception


def seconds(call: Callable[[], Any], *, rounds: int = 9, repeat: int = 1) -> float:
    """Return the median time of a call over rounds, after one that does not count."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in range(repeat):
            call()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / repeat)
    return float(np.median(times[1:]))


def random_gazes(count: int, batch: int, seed: int = 0) -> list[Tensor]:
    """Return `count` batches of uniform gazes."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(batch, 2, generator=generator) * 2 - 1).to(DEVICE) for _ in range(count)]


def noise(height: int, width: int) -> Tensor:
    """Return a picture [3, H, W]; what it shows does not change the time."""
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def glimpse_encoder() -> MultiZoom:
    """Return the encoder that reads eight zooms of 16 px."""
    encoder = MultiZoom(
        patch=16, zooms=8, zoom_range=LAYOUT.zoom_range, channels=3, width=WIDTH, depth=DEPTH, heads=HEADS
    )
    return encoder.eval().to(DEVICE)


def peak_memory(*, reset: bool = False) -> int:
    """Return the largest resident memory of this process in bytes; `reset` forgets what was before. Linux only."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def own_process(module: str, function: str, *arguments: Any) -> dict[str, float]:
    """Return what a function of a module of this package returns in a process of its own."""
    load = f"import json; from benchmarks.images.{module} import {function}"
    code = f"{load}; print(json.dumps({function}(*{arguments!r})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    if run.returncode:
        raise RuntimeError(f"{function}{arguments} failed: {run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])
