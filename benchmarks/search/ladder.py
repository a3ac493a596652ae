"""The search ladder: one perception, and one policy of each seed, on canvases of 60 to 4,000 px."""

import math
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluation import baselines, evaluate_in_batches
from benchmarks.files import measured_once
from benchmarks.search.training import FOLDER, SEEDS, train_policies
from foveal_agents.base import Agent, make_agent
from foveal_agents.policy_files import load_agent
from foveal_agents.results import row
from foveal_env.make import make_world
from foveal_env.sources.search import Search
from foveal_env.world import World

CANVASES = (60, 100, 250, 500, 1000, 2000, 4000)
GLIMPSES = 12
BASELINES = ("random", "raster", "saliency", "most_likely", "oracle")
TRAINED = 250  # px, the canvas that the policies are trained on
RULES = {"perception": "search", "canvas": TRAINED, "glimpses": GLIMPSES, "train_glimpses": 1_000_000}
LEARNERS: dict[str, dict[str, Any]] = {
    "grpo": {
        **{"reward": "gain", "grpo.shared": "false", "grpo.grid": 16, "grpo.inhibition_radius": 0.1, "grpo.gamma": 0.3},
        **{"grpo.ent_coef": 0.02, "grpo.num_scenes": 32, "grpo.group_size": 8, "grpo.batch_size": 512},
    },
    "ppo": {"reward": "gain", "ppo.gamma": 0.3},
}
MOST_EXHAUSTIVE = 1000  # glimpses that an exhaustive search may take here


def scenes_of(canvas: int) -> int:
    """Return how many test scenes of a canvas are looked at."""
    return 1000 if canvas <= 1000 else 400 if canvas <= 2000 else 200


def world_of(canvas: int, *, split: str = "test", glimpses: int = GLIMPSES) -> World:
    """Return the world of one canvas."""
    return make_world(perception="search", canvas=canvas, split=split, glimpses=glimpses, precision="auto")


def search_of(world: World) -> Search:
    """Return the source of a world of `world_of`."""
    assert isinstance(world.source, Search)
    return world.source


@cache
def policies(learner: str) -> list[Path]:
    """Return the policies of all seeds of a learner, trained if need be."""
    return train_policies(FOLDER / "ladder" / learner, learner, {**RULES, **LEARNERS[learner]})


def exhaustive_glimpses(canvas: int) -> int:
    """Return the glimpses of a raster after which every digit was whole inside a window not much larger than it."""
    world = world_of(canvas)
    digit, zooms = search_of(world).pictures.side, world.layout.offsets()[:, 2].tolist()
    windows = [canvas / 2**zoom for zoom in zooms]
    window = min(side for side in windows if side >= 1.25 * digit)
    return math.ceil((canvas - digit) / (window - digit)) ** 2


def measure_agent(world: World, agent: Agent, canvas: int, scenes: int) -> dict[str, Any]:
    """Return the row of one agent on one canvas."""
    found = {"canvas": canvas, "scenes": scenes, **row(agent, evaluate_in_batches(world, agent, scenes))}
    print(f"{canvas} px, {agent.name} {agent.seed}: success {found['accuracy'][-1]}, SPL {found['spl']}", flush=True)
    return found


def measure_canvas(canvas: int) -> list[dict[str, Any]]:
    """Return the rows of all agents and seeds on one canvas."""
    world, scenes = world_of(canvas), scenes_of(canvas)
    trained = [load_agent(path, world) for learner in LEARNERS for path in policies(learner)]
    agents = (*baselines(world, BASELINES, seeds=SEEDS), *trained)
    rows = [measure_agent(world, agent, canvas, scenes) for agent in agents]
    glimpses = exhaustive_glimpses(canvas)
    if glimpses <= MOST_EXHAUSTIVE:
        whole = world_of(canvas, glimpses=glimpses)
        rows.append({**measure_agent(whole, make_agent("raster", whole), canvas, 200), "agent": "exhaustive"})
    return rows


def measure() -> dict[str, Any]:
    """Return the rows, and success and SPL by canvas and agent, as mean and standard deviation over seeds."""
    folder = FOLDER / "ladder"
    rows = [
        entry
        for canvas in CANVASES
        for entry in measured_once(folder / f"canvas-{canvas}.json", partial(measure_canvas, canvas))
    ]
    found: dict[str, Any] = {"success": {}, "spl": {}, "ladder": rows}
    found["exhaustive_glimpses"] = {str(canvas): exhaustive_glimpses(canvas) for canvas in CANVASES}
    for canvas in CANVASES:
        for key in ("success", "spl"):
            values = by_agent_on(rows, canvas, key)
            found[key][str(canvas)] = {name: mean_and_deviation(runs) for name, runs in values.items()}
    return found


def by_agent_on(rows: list[dict[str, Any]], canvas: int, key: str) -> dict[str, list[float]]:
    """Return the "success" or "spl" of each agent on one canvas, a value for each seed."""
    found: dict[str, list[float]] = {}
    for entry in rows:
        if entry["canvas"] == canvas:
            value = entry["accuracy"][-1] if key == "success" else entry["spl"]
            found.setdefault(entry["agent"], []).append(value)
    return found


def mean_and_deviation(values: list[float]) -> list[float]:
    """Return the mean and the standard deviation over seeds, 0 for one value."""
    return [round(float(np.mean(values)), 4), round(float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, 4)]
