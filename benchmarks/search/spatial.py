"""Searches through a spatial state: by canvas, among ten candidates, and in crowds, beside every rule on the same one.

Success counts by two rules. "first hit": an episode ends as soon as the point is right, and wrong guesses cost nothing.
"declared": it ends as soon as the head is sure of its point, and a false alarm is a failure.
"""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.evaluation import evaluate_in_batches
from benchmarks.files import measured_once
from benchmarks.search.ladder import mean_and_deviation
from benchmarks.search.training import FOLDER, train_policies
from foveal_agents.base import Agent, make_agent
from foveal_agents.policy_files import load_agent
from foveal_env.make import make_world
from foveal_env.world import World

GLIMPSES = 12
CANVASES = (60, 100, 250, 500, 1000, 2000)
SETS = (4, 9, 16, 36)
CROWD_PX = 400
DECLARE = 0.9  # probability of its point from which on a searcher declares; chosen on validation scenes
READABLE = 14  # px that a texel may cover for a digit of 28 px to be found
RULES = ("random", "spiral", "saliency", "own saliency", "most_likely", "entropy_limit", "oracle")
SCENES = 1000
SEEDS = 3  # of policies
DRAWN = 2  # seeds of a rule that draws its gaze
DECLARED = ("250 px", "500 px", "1000 px", "crowd of 9", "crowd of 16", "crowd of 36")  # where it counts too
GRPO: dict[str, Any] = {
    **{"glimpses": GLIMPSES, "reward": "gain", "train_glimpses": 150_000},
    **{"grpo.shared": "true", "grpo.gamma": 0.7, "grpo.learning_rate": 2e-3, "grpo.n_epochs": 3},
    **{"grpo.inhibition_radius": 0.1, "grpo.num_scenes": 32, "grpo.group_size": 8, "grpo.batch_size": 512},
}
Place = dict[str, Any]  # options of a world


def places() -> Iterator[tuple[str, Place]]:
    """Yield what is searched, by name: options of worlds."""
    for canvas in CANVASES:
        yield f"{canvas} px", {"perception": "spatial_search", "canvas": canvas}
    ten = {"candidates": 10, "clutter": 0.0}
    yield "250 px, 10 candidates", {"perception": "spatial_search", "canvas": 250, "source_options": ten}
    for size in SETS:
        crowd = {"candidates": size, "singles": min(4, size - 1)}
        yield f"crowd of {size}", {"perception": "crowd", "canvas": CROWD_PX, "source_options": crowd}


def world_of(place: Place, *, split: str, declare: float) -> World:
    """Return the world of a place."""
    return make_world(**place, split=split, glimpses=GLIMPSES, precision="auto", task_options={"declare": declare})


def rule(name: str, place: Place, world: World, *, declare: float, seed: int = 0) -> Agent:
    """Return a rule that learns nothing; one that measures does so on training scenes."""
    if name == "own saliency":  # with no more px than a look takes
        return make_agent("saliency", world, seed=seed, side=math.isqrt(world.layout.pixels))
    made_for = world_of(place, split="train", declare=declare) if name == "entropy_limit" else world
    return make_agent(name, made_for, seed=seed)


def agents_of(place: Place, world: World, *, declare: float, seeds: int = DRAWN) -> Iterator[tuple[str, Agent]]:
    """Yield all agents by name: rules, those that draw their gaze once for each seed, and the trained policies."""
    for name in RULES:
        for seed in range(seeds):
            agent = rule(name, place, world, declare=declare, seed=seed)
            if agent.is_stochastic or seed == 0:
                yield name, agent
    for path in policies(place["perception"]):
        yield "grpo", load_agent(path, world)


def policies(perception: str) -> list[Path]:
    """Return the policies of all seeds on a perception, trained if need be."""
    folder = FOLDER / "spatial" / perception / "grpo"
    return train_policies(folder, "grpo", {"perception": perception, **GRPO}, seeds=SEEDS)


def measure_place(place: Place, declare: float) -> dict[str, dict[str, list[float]]]:
    """Return figures of each agent in a place, a value for each seed."""
    world, found = world_of(place, split="test", declare=declare), {}
    for name, agent in agents_of(place, world, declare=declare):
        figures = evaluate_in_batches(world, agent, SCENES if place["canvas"] <= 1000 else SCENES // 2)
        correct, last = figures.correct.double().mean(dim=0).tolist(), figures.figures.columns
        row = {
            "after_1": correct[1],
            "after_4": correct[4],
            "success": correct[-1],
            "spl": last["spl"][:, -1].mean().item(),
            "glimpses": figures.glimpses.double().mean().item(),
        }
        for key, value in row.items():
            found.setdefault(name, {}).setdefault(key, []).append(round(value, 4))
        print(f"{place} {declare} {name} {agent.seed}: {row}", flush=True)
    return found


def blind_looks(world: World) -> int:
    """Return the looks after which every place was seen with texels that a digit can be found in."""
    layout, (canvas,) = world.layout, world.source.canvases
    texels = {2.0**-zoom * (layout.field or canvas) / layout.patch for zoom in layout.offsets()[:, 2].tolist()}
    widest = max(texel for texel in texels if texel <= READABLE)
    side = widest * layout.patch
    if layout.grid and math.isclose(widest, 2.0**-layout.grid_zoom * (layout.field or canvas) / layout.patch):
        side *= layout.grid
    return math.ceil(canvas / side) ** 2


def measure() -> dict[str, Any]:
    """Return success and SPL by place, rule of success and agent, and what the sensor needs."""
    found: dict[str, Any] = {"spatial": {}, "blind_looks": {}, "sensor_pixels": {}}
    for name, place in places():
        world = world_of(place, split="test", declare=0.0)
        found["blind_looks"][name], found["sensor_pixels"][name] = blind_looks(world), world.layout.pixels
        found["spatial"][name] = {
            title: measured_once(FOLDER / "spatial" / f"{name} {title}.json", partial(measure_place, place, declare))
            for title, declare in (("first hit", 0.0), ("declared", DECLARE))
            if title == "first hit" or name in DECLARED
        }
    hits = {name: by_rule["first hit"] for name, by_rule in found["spatial"].items()}
    found["success_ten_candidates"] = means(hits["250 px, 10 candidates"])
    found["crowd"] = {
        str(size): {title: means(runs) for title, runs in found["spatial"][f"crowd of {size}"].items()} for size in SETS
    }
    return found


def means(runs: dict[str, dict[str, list[float]]]) -> dict[str, list[float]]:
    """Return the success of each agent: mean and standard deviation over seeds."""
    return {name: mean_and_deviation(values["success"]) for name, values in runs.items()}
