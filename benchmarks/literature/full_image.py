"""Baselines that read the whole image at once, trained in the CPU time that pretraining took."""

import math
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import trange

from benchmarks.literature.rows import Row
from foveal_env.data import Scenes
from foveal_env.devices import arithmetic
from foveal_env.make import make_source
from foveal_env.sources.base import Source

BATCH = 64  # scenes of an update
BATCH_PIXELS = 2**23  # of the images that a net reads at once, in a test
LEARNING_RATE = 2e-3  # peak
WARMUP = 0.05  # share of the updates in which it rises
TIMED = 20  # updates without a learning rate, which tell how long an update takes


def train(net: nn.Module, source: Source, *, side: int, minutes: float, seed: int) -> dict[str, float]:
    """Train a net on whole images, for a number of CPU minutes; return {"steps", "cpu_seconds"}.

    AdamW with a warm-up and a cosine, as in pretraining. The first 20 updates tell how many the minutes hold.
    """
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=0.05, betas=(0.9, 0.98))
    generator = torch.Generator().manual_seed(seed)
    net.train()

    def update(rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate
        scenes = source.scenes(torch.randint(2**62, (BATCH,), generator=generator))
        loss = nn.functional.cross_entropy(logits(net, scenes, side).float(), scenes.label)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    started = time.process_time()
    for _ in range(TIMED):
        update(0.0)
    steps = max(100, int(minutes * 60 / (time.process_time() - started) * TIMED))
    for step in trange(steps, desc="full image", unit="update"):
        update(min((step + 1) / (WARMUP * steps), 0.5 * (1 + math.cos(math.pi * step / steps))))
    return {"steps": steps, "cpu_seconds": round(time.process_time() - started, 1)}


def logits(net: nn.Module, scenes: Scenes, side: int) -> Tensor:
    """Return what a net answers, [B, classes], to the scenes as images of `side` px; bfloat16 if the CPU has it."""
    dtype = arithmetic("auto", "cpu")
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        return net((scenes.images.thumbnails(side) - 0.5) / 0.25)


@torch.no_grad()
def accuracy(net: nn.Module, source: Source, *, side: int, scenes: int) -> float:
    """Return the share of right answers on scenes 0 to `scenes` - 1 of a source."""
    net.eval()
    right = 0
    for index in torch.arange(scenes).split(max(1, min(256, BATCH_PIXELS // side**2))):
        shown = source.scenes(index)
        right += (logits(net, shown, side).argmax(dim=-1) == shown.label).sum().item()
    return right / scenes


def full_image_entries(row: Row, name: str, *, seed: int, minutes: float) -> list[dict[str, Any]]:
    """Train and test a net of a row that reads the whole image; return its entries, one for each canvas."""
    options = {**row.source_options, **({"canvas": row.side} if row.canvases else {})}
    source = make_source(row.source, "train", **options)
    torch.manual_seed(seed)
    net = row.full_image[name]()
    spent = train(net, source, side=row.side, minutes=minutes, seed=seed)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, source.channels, row.side, row.side))
    about = {
        "agent": name,
        "seed": seed,
        "train_glimpses": 0,
        "train_seconds": spent["cpu_seconds"],
        "steps": spent["steps"],
        "parameters": sum(p.numel() for p in net.parameters()),
        "flops": counter.get_total_flops(),
    }
    entries = []
    for own in [{"canvas": canvas} for canvas in row.canvases] or [{}]:
        test = make_source(row.source, "test", **row.source_options, **own)
        share = accuracy(net, test, side=own.get("canvas", row.side), scenes=row.scenes)
        entries.append({**own, **about, "accuracy": [round(share, 4)] * (row.glimpses + 1)})
    return entries
