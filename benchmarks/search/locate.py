"""Where is it, and how large? The distance of the answer from the target, glimpse by glimpse."""

from typing import Any

import numpy as np
import torch

from benchmarks.search import FOLDER, agents, policies, remembered
from foveal_agents.base import rollout
from foveal_env.make import make_world
from foveal_env.tasks.locate import distance, iou

CANVAS = 250
GLIMPSES = 8
SCENES = 1000
BASELINES = ("random", "raster", "saliency", "oracle")
TRAINING = ["--train_glimpses", "400000", "--reward", "gain", "--grpo.discount", "0.7"]


def measure_all() -> list[dict[str, Any]]:
    """Return the rows of all agents and seeds: the median over scenes after each look."""
    rules = {"perception": "locate", "canvas": CANVAS, "glimpses": GLIMPSES, "precision": "auto"}
    asked = [word for name, value in rules.items() if name != "precision" for word in (f"--{name}", str(value))]
    trained = policies(FOLDER / "locate", ["grpo"], *asked, *TRAINING)
    world, rows = make_world(**rules, split="test"), []
    scenes = world.scenes(torch.arange(SCENES))
    for agent in agents(world, BASELINES, trained):
        generator = torch.Generator().manual_seed(agent.seed)
        with torch.no_grad():
            begun = world.start(scenes)
        steps = list(rollout(world, agent, begun, generator=generator, greedy=True))
        answers = [steps[0].before.outcome.prediction, *[step.after.outcome.prediction for step in steps]]
        rows.append(
            {
                "agent": agent.name,
                "seed": agent.seed,
                "median": [round(distance(answer[:, :2], scenes.box).median().item(), 4) for answer in answers],
                "iou": [round(iou(answer, scenes.box).mean().item(), 4) for answer in answers],
            }
        )
    return rows


def measure() -> dict[str, Any]:
    """Return the median distance in sides of the target, of GRPO and of the baselines."""
    rows = remembered(FOLDER / "locate.json", measure_all)
    median = {
        name: round(float(np.mean([row["median"][-1] for row in rows if row["agent"] == name])), 4)
        for name in dict.fromkeys(row["agent"] for row in rows)
    }
    return {"locate_median_over_size": median["grpo"], "locate_median": median, "locate": rows}
