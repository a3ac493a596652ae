"""Baselines that read the whole image at once: a convolutional net and a plain ViT."""

import math
import time

import torch
from torch import Tensor, nn
from tqdm import trange

from foveal_env.devices import arithmetic
from foveal_env.sources.base import Source

BATCH_PIXELS = 2**23  # of the images that a net reads at once


class ConvNet(nn.Sequential):
    """Four 3x3 convolutions with batch normalisation, each halving the image, and the maximum over what is left."""

    def __init__(self, channels: int, classes: int, *, width: int = 32):
        layers: list[nn.Module] = []
        for before, after in ((channels, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 4 * width)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        super().__init__(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes))


class ViT(nn.Module):
    """A plain ViT of torch's own layers: linear patches of 16 px, learned positions, the mean token classifies."""

    def __init__(self, channels: int, classes: int, *, side: int, width: int, depth: int, heads: int):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 16, stride=16)
        self.position = nn.Parameter(torch.randn(1, (side // 16) ** 2, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, side, side] to logits [B, classes]."""
        return self.head(self.blocks(self.stem(images).flatten(2).mT + self.position).mean(dim=1))


def train_full_image(
    net: nn.Module,
    source: Source,
    *,
    side: int,
    minutes: float,
    steps: int | None = None,
    batch: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> dict[str, float]:
    """Train a net on whole images, for a number of CPU minutes or of steps; return what it took.

    AdamW with a warm-up and a cosine, as stage 1. The length of the schedule is found by timing the first 20 updates.
    """
    torch.manual_seed(seed)
    dtype = arithmetic("auto", "cpu")
    optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=0.05, betas=(0.9, 0.98))
    generator = torch.Generator().manual_seed(seed)
    net.train()

    def update() -> None:
        scenes = source.scenes(torch.randint(2**62, (batch,), generator=generator))
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = net((scenes.images.thumbnails(side) - 0.5) / 0.25)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits.float(), scenes.label).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    started = time.process_time()
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    for _ in range(20):
        update()
    steps = steps or max(100, int(minutes * 60 / (time.process_time() - started) * 20))
    for step in trange(steps, desc="full image", unit="update"):
        rate = min((step + 1) / (0.05 * steps), 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate
        update()
    return {"steps": steps, "cpu_seconds": round(time.process_time() - started, 1)}


@torch.no_grad()
def accuracy_full_image(net: nn.Module, source: Source, *, side: int, scenes: int) -> float:
    """Return the share of right answers on scenes 0 to `scenes` - 1 of a source."""
    net.eval()
    right, dtype = 0, arithmetic("auto", "cpu")
    for index in torch.arange(scenes).split(max(1, min(256, BATCH_PIXELS // side**2))):
        shown = source.scenes(index)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            right += (net((shown.images.thumbnails(side) - 0.5) / 0.25).argmax(dim=-1) == shown.label).sum().item()
    return right / scenes
