"""Does a perception's state tell where the target is? A net of two layers is trained to read it from the state.

``python -m benchmarks.literature.probe --perception cluttered60`` prints how often the probe names the target's cell of
16 x 16 after the first look, and how often it is among the five likeliest: on validation scenes, by side of the canvas.
A policy can only look at what the state knows. Beside it stands the same for the brightest cells of the whole image in
16 x 16 px, which need no learning: a state should know as much.

With ``--policy PATH`` it prints how near the gazes of a policy come to the target's centre, and how often the answer is
right if one came near. Does the policy fail to find, or the perception to read?
"""

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.markdown import table
from foveal_agents.policy_files import load_agent
from foveal_agents.rollout import rollout
from foveal_encoders.base import Layout
from foveal_env.make import make_world
from foveal_env.retina import extract
from foveal_env.world import World

CELLS = 16
NEAR = (8, 30)  # px


@torch.no_grad()
def first_states(world: World, scenes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what S scenes show after the first look.

    Returns:
        The states [S, N * D], the brightness of each cell and its neighbours [S, CELLS * CELLS], the cells of the
        targets [S], and the sides of the images in px [S].
    """
    parts, whole = [], Layout(patch=CELLS, zooms=1, zoom_range=(0.0, 0.0))
    for index in torch.arange(scenes).split(256):
        shown = world.scenes(index)
        state = world.start(shown).state.float().flatten(1)
        pixels = extract(shown.images, torch.zeros(len(index), 2), whole).patches[:, 0].mean(dim=1, keepdim=True)
        bright = nn.functional.avg_pool2d(pixels, 3, stride=1, padding=1).flatten(1)
        column, row = ((shown.box[:, :2] + 1) / 2 * CELLS).long().clamp(0, CELLS - 1).unbind(dim=1)
        parts.append((state, bright, row * CELLS + column, shown.images.size[:, 0]))
    states, bright, cells, sides = (torch.cat(part) for part in zip(*parts, strict=True))
    return states, bright, cells, sides


def share_named(scores: Tensor, targets: Tensor, sides: Tensor) -> dict[int, tuple[float, float]]:
    """Return how often the best cell of scores [S, cells] is the target's, or one of the best five, by side."""
    five = scores.topk(5).indices == targets[:, None]
    first, any_of_five = five[:, 0].float(), five.any(dim=1).float()
    return {
        side: (first[sides == side].mean().item(), any_of_five[sides == side].mean().item())
        for side in sides.unique().tolist()
    }


def probe(perception: str, *, train: int = 12_000, validate: int = 1500, epochs: int = 12, seed: int = 0) -> tuple:
    """Return `share_named` of the probe and of the brightest cells."""
    torch.manual_seed(seed)
    splits = [
        first_states(make_world(perception=perception, split=split, precision="auto"), scenes)
        for split, scenes in (("train", train), ("validation", validate))
    ]
    (states, _, cells, _), (unseen, bright, targets, sides) = splits
    net = nn.Sequential(nn.Linear(states.shape[1], 256), nn.GELU(), nn.Linear(256, 256), nn.GELU())
    net.append(nn.Linear(256, CELLS**2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    for _ in range(epochs):
        for rows in torch.randperm(len(states)).split(256):
            loss = nn.functional.cross_entropy(net(states[rows]), cells[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return share_named(net(unseen), targets, sides), share_named(bright, targets, sides)


@torch.no_grad()
def reach(perception: str, policy: str, *, glimpses: int, scenes: int = 2500) -> dict[int, tuple[float, ...]]:
    """Return how near greedy gazes come to the target's centre, by side of the image, on validation scenes.

    Returns:
        The shares of the scenes in which a gaze, or the first look, comes within each of NEAR px; then the share of
        right answers among those in which one came within the first of them.
    """
    world = make_world(perception=perception, split="validation", glimpses=glimpses, precision="auto")
    agent = load_agent(policy, world)
    parts = []
    for index in torch.arange(scenes).split(250):
        shown = world.scenes(index)
        *_, last = rollout(world, agent, world.start(shown), generator=torch.Generator().manual_seed(0), greedy=True)
        side = shown.images.size[:, 0]
        far = (last.after.gazes[..., :2] - shown.box[:, None, :2]).norm(dim=2).amin(dim=1) * side / 2
        parts.append((far, last.after.outcome.correct, side))
    far, correct, sides = (torch.cat(part) for part in zip(*parts, strict=True))
    found = {}
    for side in sides.unique().tolist():
        mine = sides == side
        found[side] = tuple((far[mine] < near).float().mean().item() for near in NEAR)
        found[side] += (correct[mine & (far < NEAR[0])].float().mean().item(),)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Probe one perception, or a policy on it, and print what was found."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.literature.probe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--perception", required=True, help="name of a shipped perception, or a path")
    parser.add_argument("--policy", help="name of a shipped policy, or a path: how near do its gazes come?")
    parser.add_argument("--glimpses", type=int, default=11, help="glimpses of the policy after the first look")
    parser.add_argument("--seed", type=int, default=0, help="seed of the probe's weights and batches")
    chosen = parser.parse_args(arguments)
    if chosen.policy:
        heads = ["side of the canvas", *(f"a gaze within {near} px" for near in NEAR), f"right if within {NEAR[0]}"]
        shares = reach(chosen.perception, chosen.policy, glimpses=chosen.glimpses)
    else:
        heads = ["side of the canvas", "right cell", "among the five likeliest", "the brightest cell", "one of five"]
        state, bright = probe(chosen.perception, seed=chosen.seed)
        shares = {side: (*state[side], *bright[side]) for side in state}
    lines = [[f"{side} px", *(f"{share:.1%}" for share in row)] for side, row in shares.items()]
    print(table(heads, lines))


if __name__ == "__main__":
    main()
