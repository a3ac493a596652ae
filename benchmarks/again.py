"""Scripted agents measured again, in results that trained agents were measured for too: if an agent's default changes.

``python -m benchmarks.again oracle`` puts new rows of the oracle in place of the old ones in results/agents.json,
environments.json and search.json, and makes the tables anew. Nothing is trained; scenes and seeds are the same.
``--check`` changes nothing, and says which figures do not come out again.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.agents.report import report as report_agents
from benchmarks.environments import __main__ as environments
from benchmarks.environments.report import report as report_environments
from benchmarks.evaluation import evaluate_in_batches
from benchmarks.files import read_results, write_results
from benchmarks.search import ladder, locate, several
from benchmarks.search.report import report as report_search
from foveal_agents.base import make_agent
from foveal_agents.results import gap_closed, row
from foveal_agents.rollout import evaluate
from foveal_env.make import make_world
from foveal_env.world import World

Rows = list[dict[str, Any]]


def rows_again(rows: Rows, name: str, world: World, scenes: int) -> Rows:
    """Return the rows of a comparison with those of one agent measured again."""
    found = []
    for old in rows:
        if old["agent"] == name:
            agent = make_agent(name, world, seed=old["seed"])
            old = row(agent, evaluate(world, agent, scenes=scenes, seed=old["seed"]))
        found.append(old)
    return found


def agents_again(name: str) -> dict[str, Any]:
    """Return results/agents.json with an agent measured again."""
    found = read_results("agents")
    world = make_world(split="test", reward="probability", precision="auto")
    rows = rows_again(found["rows"], name, world, found["scenes"])
    closed = {learner: gap_closed(rows, learner) for learner in found["gap_closed"]}
    shares = {learner: None if share is None else round(share, 3) for learner, share in closed.items()}
    return {**found, "rows": rows, "gap_closed": shares}


def environments_again(name: str) -> dict[str, Any]:
    """Return results/environments.json with an agent measured again."""
    found = read_results("environments")
    options = {key: environments.OPTIONS[key] for key in ("perception", "glimpses", "precision")}
    world, about = make_world(split="test", **options), found[environments.ID]
    return {environments.ID: {**about, "rows": rows_again(about["rows"], name, world, about["scenes"])}}


def search_again(name: str) -> dict[str, Any]:
    """Return results/search.json with an agent measured again: on the ladder, and where it locates and answers."""
    found = read_results("search")
    found["ladder"] = [
        ladder.measure_agent(world := ladder.world_of(old["canvas"]), make_agent(name, world, seed=old["seed"]),
                             old["canvas"], old["scenes"])
        if old["agent"] == name else old
        for old in found["ladder"]
    ]  # fmt: skip
    for canvas in map(str, ladder.CANVASES):
        for key in ("success", "spl"):
            values = ladder.by_agent_on(found["ladder"], int(canvas), key).get(name)
            if values:
                found[key][canvas][name] = ladder.mean_and_deviation(values)
    world = make_world(**locate.RULES, split="test", precision="auto")
    scenes = world.scenes(torch.arange(locate.SCENES))
    found["locate"] = [
        locate.measure_agent(world, make_agent(name, world, seed=old["seed"]), scenes) if old["agent"] == name else old
        for old in found["locate"]
    ]
    median = [entry["median"][-1] for entry in found["locate"] if entry["agent"] == name]
    if median:
        found["locate_median"][name] = round(float(np.mean(median)), 4)
    for question, known in found["several"]["baselines"].items():
        if name in known:  # on the shipped perception: its weights are those of the benchmark's, in float16
            asked = make_world(
                perception="questions", split="test", task=question, glimpses=several.GLIMPSES, precision="auto"
            )
            known[name] = evaluate_in_batches(asked, make_agent(name, asked), several.SCENES).accuracy[-1]
    return found


PARTS = {"agents": agents_again, "environments": environments_again, "search": search_again}
REPORTS = {"agents": report_agents, "search": report_search}


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Return where two results differ, with both values; entries that only the new one has do not count."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for key in old for line in differences(old[key], new.get(key), f"{place}/{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for number, (one, other) in pairs for line in differences(one, other, f"{place}/{number}")]
    return [] if old == new else [f"{place}: {old}, now {new}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure an agent again, and make tables and plots."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.again", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("agent", help="name of a scripted agent")
    parser.add_argument("--check", action="store_true", help="only say which figures do not come out again")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="which results")
    chosen = parser.parse_args(arguments)
    for part in chosen.parts:
        old, new = read_results(part), PARTS[part](chosen.agent)
        print(f"{part}:", *differences(old, new), sep="\n  ", flush=True)
        if not chosen.check:
            write_results(part, new)
            REPORTS.get(part, lambda found: None)(new)
    if not chosen.check:
        report_environments()  # of all parts


if __name__ == "__main__":
    main()
