"""The search ladder: one perception, and one policy of each seed, on canvases of 60 to 4,000 px."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import judged
from benchmarks.search import FOLDER, agents, policies, remembered
from foveal_agents.base import Agent, make_agent
from foveal_agents.results import row
from foveal_env.make import make_world
from foveal_env.world import World

CANVASES = (60, 100, 250, 500, 1000, 2000, 4000)
GLIMPSES = 12
BASELINES = ("random", "raster", "saliency", "most_likely", "oracle")
TRAINED = 250  # px, the canvas that the policies are trained on
BUDGET = 1_000_000  # glimpses of training of each policy
LEARNERS = {
    "grpo": "--reward gain --grpo.grid 16 --grpo.inhibition 0.1 --grpo.discount 0.3 --grpo.scenes 32 --grpo.group 8 "
    "--grpo.minibatch 512 --grpo.entropy_weight 0.02",
    "ppo": "--reward gain --ppo.gamma 0.3",
}
EXHAUSTIVE = 1000  # glimpses that an exhaustive search may take here


def scenes_of(canvas: int) -> int:
    """Return how many test scenes of a canvas are judged."""
    return 1000 if canvas <= 1000 else 400 if canvas <= 2000 else 200


def world_of(canvas: int, *, split: str = "test", glimpses: int = GLIMPSES) -> World:
    """Return the world of one canvas."""
    return make_world(perception="search", canvas=canvas, split=split, glimpses=glimpses, precision="auto")


def trained() -> dict[str, list[Path]]:
    """Return the policies of all learners and seeds."""
    rules = f"--perception search --canvas {TRAINED} --glimpses {GLIMPSES} --train_glimpses {BUDGET}".split()
    found: dict[str, list[Path]] = {}
    for name, options in LEARNERS.items():
        found |= policies(FOLDER / "ladder" / name, [name], *rules, *options.split())
    return found


def exhaustive_glimpses(canvas: int) -> int:
    """Return the glimpses of a raster after which every digit was whole inside a window not much larger than it."""
    world = world_of(canvas)
    digit, zooms = world.source.side, world.layout.offsets()[:, 2].tolist()
    windows = [canvas / 2**zoom for zoom in zooms]
    window = min(side for side in windows if side >= 1.25 * digit)
    return math.ceil((canvas - digit) / (window - digit)) ** 2


def measured(world: World, agent: Agent, canvas: int, scenes: int) -> dict[str, Any]:
    """Return the row of one agent on one canvas."""
    found = {"canvas": canvas, "scenes": scenes, **row(agent, judged(world, agent, scenes))}
    found["agent"] = agent.name.rpartition(":")[2]
    print(
        f"{canvas} px, {found['agent']} {agent.seed}: success {found['accuracy'][-1]}, SPL {found['spl']}", flush=True
    )
    return found


def measure_canvas(canvas: int) -> list[dict[str, Any]]:
    """Return the rows of all agents and seeds on one canvas."""
    world, scenes = world_of(canvas), scenes_of(canvas)
    rows = [measured(world, agent, canvas, scenes) for agent in agents(world, BASELINES, trained())]
    glimpses = exhaustive_glimpses(canvas)
    if glimpses <= EXHAUSTIVE:
        whole = world_of(canvas, glimpses=glimpses)
        rows.append({**measured(whole, make_agent("raster", whole), canvas, 200), "agent": "exhaustive"})
    return rows


def measure() -> dict[str, Any]:
    """Return the rows, and success and SPL by canvas and agent, as mean and standard deviation over seeds."""
    rows = [
        row
        for canvas in CANVASES
        for row in remembered(FOLDER / "ladder" / f"canvas-{canvas}.json", lambda canvas=canvas: measure_canvas(canvas))
    ]
    found: dict[str, Any] = {"success": {}, "spl": {}, "ladder": rows}
    found["exhaustive_glimpses"] = {str(canvas): exhaustive_glimpses(canvas) for canvas in CANVASES}
    for canvas in CANVASES:
        here = [row for row in rows if row["canvas"] == canvas]
        for key, read in (("success", lambda row: row["accuracy"][-1]), ("spl", lambda row: row["spl"])):
            found[key][str(canvas)] = {
                name: mean_and_deviation([read(row) for row in here if row["agent"] == name])
                for name in dict.fromkeys(row["agent"] for row in here)
            }
    return found


def mean_and_deviation(values: list[float]) -> list[float]:
    """Return the mean and the standard deviation over seeds, 0 for one value."""
    return [round(float(np.mean(values)), 4), round(float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, 4)]
