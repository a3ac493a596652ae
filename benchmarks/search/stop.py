"""How long to look: accuracy against mean glimpses, over costs of a glimpse."""

from functools import partial
from typing import Any

import numpy as np

from benchmarks.evaluation import evaluate_in_batches
from benchmarks.files import measured_once
from benchmarks.search.training import FOLDER, train_policies
from foveal_agents.policy_files import load_agent
from foveal_agents.results import row
from foveal_env.make import make_world

COSTS = (0.01, 0.03, 0.1)  # nats
GLIMPSES = 6
TRAINING = {"train_glimpses": 400_000, "reward": "gain", "grpo.gamma": 0.3}
SCENES = {"validation": 1800, "test": 1800}
LOSS = 0.01  # of accuracy that stopping may take, on validation scenes


def measure_cost(cost: float | None) -> list[dict[str, Any]]:
    """Return the rows of five policies for which a glimpse has this cost, or None: that cannot stop."""
    folder = FOLDER / "stop" / ("full" if cost is None else f"cost-{cost}")
    rules = {"glimpses": GLIMPSES, **({} if cost is None else {"stop": True, "glimpse_cost": cost})}
    paths = train_policies(folder, "grpo", {**rules, **TRAINING})
    rows = []
    for split, scenes in SCENES.items():
        world = make_world(split=split, precision="auto", **rules)
        found = [
            row(agent, evaluate_in_batches(world, agent, scenes)) for agent in (load_agent(p, world) for p in paths)
        ]
        rows += [{"glimpse_cost": cost, "split": split, "glimpses": float(GLIMPSES), **entry} for entry in found]
    return rows


def curve_of(rows: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """Return the mean accuracy and the mean number of glimpses at each cost, those that cannot stop first."""
    points = []
    for cost in (None, *COSTS):
        own = [row for row in rows if row["glimpse_cost"] == cost and row["split"] == split]
        points.append(
            {
                "glimpse_cost": cost,
                "accuracy": round(float(np.mean([row["accuracy"][-1] for row in own])), 4),
                "glimpses": round(float(np.mean([row["glimpses"] for row in own])), 3),
            }
        )
    return points


def measure() -> dict[str, Any]:
    """Return the curve over costs; the cost is chosen on validation scenes, its share of glimpses is of the test."""
    rows = [
        entry
        for cost in (None, *COSTS)
        for entry in measured_once(FOLDER / "stop" / f"{cost}.json", partial(measure_cost, cost))
    ]
    curve = {split: curve_of(rows, split) for split in SCENES}
    least = curve["validation"][0]["accuracy"] - LOSS
    good = [number for number, point in enumerate(curve["validation"]) if point["accuracy"] >= least]
    chosen = min(good, key=lambda number: curve["validation"][number]["glimpses"])
    whole, point = curve["test"][0], curve["test"][chosen]
    return {
        "stop_glimpse_share": round(point["glimpses"] / GLIMPSES, 4),
        "stop_glimpse_cost": point["glimpse_cost"],
        "stop_accuracy_lost_points": round(100 * (whole["accuracy"] - point["accuracy"]), 2),
        "stop_curve": curve,
        "stop": rows,
    }
