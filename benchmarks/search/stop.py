"""How long to look: accuracy against mean glimpses, over prices of a glimpse."""

from typing import Any

import numpy as np

from benchmarks import judged
from benchmarks.search import FOLDER, policies, remembered
from foveal_agents.base import load_agent
from foveal_agents.results import row
from foveal_env.make import make_world

PRICES = (0.01, 0.03, 0.1)
GLIMPSES = 6
TRAINING = ["--train_glimpses", "400000", "--reward", "gain", "--grpo.discount", "0.3"]
SCENES = {"validation": 1800, "test": 1800}


def measure_price(price: float | None) -> list[dict[str, Any]]:
    """Return the rows of five policies that pay this for a glimpse, or None: that cannot stop."""
    folder = FOLDER / "stop" / ("full" if price is None else f"price-{price}")
    stopping = [] if price is None else ["--stop", "--price", str(price)]
    paths = policies(folder, ["grpo"], "--glimpses", str(GLIMPSES), *TRAINING, *stopping)["grpo"]
    rows = []
    for split, scenes in SCENES.items():
        world = make_world(split=split, glimpses=GLIMPSES, precision="auto", stop=price is not None, price=price or 0.0)
        found = [row(agent, judged(world, agent, scenes)) for agent in (load_agent(path, world) for path in paths)]
        rows += [{"price": price, "split": split, "glimpses": float(GLIMPSES), **entry} for entry in found]
    return rows


def measure() -> dict[str, Any]:
    """Return the curve over prices; the price is chosen on validation scenes, its share of glimpses is of the test."""
    rows = [
        row
        for price in (None, *PRICES)
        for row in remembered(FOLDER / "stop" / f"{price}.json", lambda price=price: measure_price(price))
    ]
    curve = {
        split: [
            {
                "price": price,
                "accuracy": round(float(np.mean([row["accuracy"][-1] for row in own])), 4),
                "glimpses": round(float(np.mean([row["glimpses"] for row in own])), 3),
            }
            for price in (None, *PRICES)
            if (own := [row for row in rows if row["price"] == price and row["split"] == split])
        ]
        for split in SCENES
    }
    full = curve["validation"][0]["accuracy"]
    good = [number for number, point in enumerate(curve["validation"]) if point["accuracy"] >= full - 0.01]
    chosen = min(good, key=lambda number: curve["validation"][number]["glimpses"])
    whole, point = curve["test"][0], curve["test"][chosen]
    return {
        "stop_glimpse_share": round(point["glimpses"] / GLIMPSES, 4),
        "stop_price": point["price"],
        "stop_accuracy_lost_points": round(100 * (whole["accuracy"] - point["accuracy"]), 2),
        "stop_curve": curve,
        "stop": rows,
    }
