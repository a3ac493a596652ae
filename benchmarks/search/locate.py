"""Where is it, and how large? The distance of the answer from the target, glimpse by glimpse."""

from typing import Any

import numpy as np
import torch

from benchmarks.evaluation import baselines
from benchmarks.files import measured_once
from benchmarks.search.training import FOLDER, SEEDS, train_policies
from foveal_agents.base import Agent
from foveal_agents.policy_files import load_agent
from foveal_agents.rollout import rollout
from foveal_env.data import Scenes
from foveal_env.make import make_world
from foveal_env.tasks.locate import distance, iou
from foveal_env.world import World

CANVAS = 250
GLIMPSES = 8
SCENES = 1000
BASELINES = ("random", "raster", "saliency", "oracle")
RULES = {"perception": "locate", "canvas": CANVAS, "glimpses": GLIMPSES}
TRAINING = {"train_glimpses": 400_000, "reward": "gain", "grpo.gamma": 0.7}


def measure_agent(world: World, agent: Agent, scenes: Scenes) -> dict[str, Any]:
    """Return the row of an agent: the median distance and the mean IoU over scenes, after each glimpse."""
    generator = torch.Generator().manual_seed(agent.seed)
    with torch.no_grad():
        begun = world.start(scenes)
    steps = list(rollout(world, agent, begun, generator=generator, greedy=True))
    answers = [steps[0].before.outcome.prediction, *[step.after.outcome.prediction for step in steps]]
    return {
        "agent": agent.name,
        "seed": agent.seed,
        "median": [round(distance(answer[:, :2], scenes.box).median().item(), 4) for answer in answers],
        "iou": [round(iou(answer, scenes.box).mean().item(), 4) for answer in answers],
    }


def measure_all() -> list[dict[str, Any]]:
    """Return the rows of all agents and seeds."""
    paths = train_policies(FOLDER / "locate", "grpo", {**RULES, **TRAINING})
    world = make_world(**RULES, split="test", precision="auto")
    scenes = world.scenes(torch.arange(SCENES))
    agents = (*baselines(world, BASELINES, seeds=SEEDS), *[load_agent(path, world) for path in paths])
    return [measure_agent(world, agent, scenes) for agent in agents]


def measure() -> dict[str, Any]:
    """Return the median distance in sides of the target, of GRPO and of the baselines."""
    rows = measured_once(FOLDER / "locate.json", measure_all)
    median = {
        name: round(float(np.mean([row["median"][-1] for row in rows if row["agent"] == name])), 4)
        for name in dict.fromkeys(row["agent"] for row in rows)
    }
    return {"locate_median_over_size": median["grpo"], "locate_median": median, "locate": rows}
