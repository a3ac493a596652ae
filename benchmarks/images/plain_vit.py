"""Eight glimpses beside a plain ViT of the same width and depth that reads the whole image."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.images.inputs import DEPTH, DEVICE, HEADS, LAYOUT, WIDTH, glimpse_encoder, noise, random_gazes
from benchmarks.images.timing import own_process, peak_memory, seconds
from benchmarks.literature.nets import ViT
from foveal_env.images import Images
from foveal_env.retina import extract


def plain_vit(size: int) -> ViT:
    """Return a plain ViT for colour images of `size` px, of the encoder's width and depth."""
    return ViT(3, 10, side=size, width=WIDTH, depth=DEPTH, heads=HEADS).eval()


@torch.inference_mode()
def run_vit(size: int) -> dict[str, float]:
    """Time the plain ViT on one image that is decoded already; in a process of its own, for its memory."""
    model, picture = plain_vit(size).to(DEVICE), noise(size, size)
    plain_vit(64).to(DEVICE)(noise(64, 64).to(DEVICE)[None].float())  # its code is loaded
    return _latency(lambda: model(picture.to(DEVICE)[None].float() / 255))


@torch.inference_mode()
def run_glimpses(size: int) -> dict[str, float]:
    """Time eight glimpses on one image that is decoded already, its preparation included."""
    encoder, picture, gazes = glimpse_encoder(), noise(size, size), random_gazes(8, 1)

    def look(picture: Tensor) -> Tensor:
        images, state = Images.prepare([picture.to(DEVICE)]), encoder.initial(1)
        for gaze in gazes:
            state = encoder.step(state, extract(images, gaze, LAYOUT))
        return state

    look(noise(64, 64))  # compiled code is loaded
    return _latency(lambda: look(picture))


def _latency(call: Callable[[], Tensor]) -> dict[str, float]:
    before = peak_memory(reset=True)
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    rounds = 1 if first > 20 else 3 if first > 2 else 15
    middle = seconds(call, rounds=rounds) if rounds > 1 else first
    if DEVICE == "cuda":
        return {"milliseconds": middle * 1e3, "peak_mb": torch.cuda.max_memory_allocated() / 1e6}
    return {"milliseconds": middle * 1e3, "peak_mb": (peak_memory() - before) / 1e6}


def flops(size: int) -> dict[str, float]:
    """Count what the two compute, without computing it."""
    with torch.device("meta"), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        torch.backends.mha.set_fastpath_enabled(False)
        vit = plain_vit(size)
        with FlopCounterMode(display=False) as whole:
            vit(torch.zeros(1, 3, size, size))
        torch.backends.mha.set_fastpath_enabled(True)
    encoder = glimpse_encoder().cpu()
    images = Images.prepare(noise(64, 64)[None])
    with FlopCounterMode(display=False) as eight:
        state = encoder.initial(1)
        for gaze in random_gazes(8, 1):
            state = encoder.step(state, extract(images, gaze.cpu(), LAYOUT))
    return {"vit": whole.get_total_flops(), "glimpses": eight.get_total_flops()}


def beside_a_plain_vit() -> dict[str, Any]:
    """Latency, FLOPs and peak memory of eight glimpses and of a plain ViT of the same width and depth."""
    rows = {}
    for size in (256, 512, 1024, 2048, 4096):
        count = flops(size)
        rows[str(size)] = {
            "glimpses": {
                **_rounded(own_process("plain_vit", "run_glimpses", size)),
                "gflops": round(count["glimpses"] / 1e9, 3),
            },
            "vit": {**_rounded(own_process("plain_vit", "run_vit", size)), "gflops": round(count["vit"] / 1e9, 3)},
        }
    return rows


def _rounded(found: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in found.items()}
