"""Does a perception's state tell where the target is? A net of two layers is trained to read it from the state.

``python -m benchmarks.probe --perception cluttered60`` prints, after the first look, how often the probe names the
target's cell of 16 x 16, and how often it is among the five likeliest, on validation scenes, by side of the canvas.
A policy can only look at what the state knows.
"""

import argparse

import torch
from torch import Tensor, nn

from foveal_env.world import World, make_world

CELLS = 16


@torch.no_grad()
def first_states(world: World, scenes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the states after the first look [S, N * D], the targets' cells [S], and the sides of the images [S]."""
    parts = []
    for index in torch.arange(scenes).split(256):
        shown = world.scenes(index)
        state = world.start(shown).state.float().flatten(1)
        column, row = ((shown.box[:, :2] + 1) / 2 * CELLS).long().clamp(0, CELLS - 1).unbind(dim=1)
        parts.append((state, row * CELLS + column, shown.images.size[:, 0]))
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def probe(perception: str, *, train: int = 12_000, validate: int = 1500, epochs: int = 12, seed: int = 0) -> dict:
    """Return the shares of right cells, {side: (first, among five)}."""
    torch.manual_seed(seed)
    splits = [
        first_states(make_world(perception=perception, split=split, precision="auto"), scenes)
        for split, scenes in (("train", train), ("validation", validate))
    ]
    (states, cells, _), (unseen, wanted, sides) = splits
    net = nn.Sequential(nn.Linear(states.shape[1], 256), nn.GELU(), nn.Linear(256, 256), nn.GELU())
    net.append(nn.Linear(256, CELLS**2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    for _ in range(epochs):
        for rows in torch.randperm(len(states)).split(256):
            loss = nn.functional.cross_entropy(net(states[rows]), cells[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    five = net(unseen).topk(5).indices == wanted[:, None]
    return {
        side: tuple(five[sides == side, :count].any(dim=1).float().mean().item() for count in (1, 5))
        for side in sides.unique().tolist()
    }


def main() -> None:
    """Probe one perception and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--perception", required=True, help="name of a shipped perception, or a path")
    parser.add_argument("--seed", type=int, default=0, help="of the probe's weights and batches")
    chosen = parser.parse_args()
    print("| side of the canvas | right cell | among the five likeliest |\n|---|---|---|")
    for side, (first, among) in probe(chosen.perception, seed=chosen.seed).items():
        print(f"| {side} px | {first:.1%} | {among:.1%} |")


if __name__ == "__main__":
    main()
