"""README's table of the environments."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.files import ROOT, read_results
from benchmarks.markdown import put_in, table
from benchmarks.statistics import with_interval
from foveal_env import IDS, QUESTIONS

POLICY, RANDOM = "grpo", "random"
BOUNDS = ("oracle", "greedy_oracle")  # they know the truth
PLACES = {"foveal_env/Find-v0": "500 px", "foveal_env/Crowd-v0": "crowd of 36"}  # of benchmarks.search.spatial
NO_BASELINES = {*BOUNDS, POLICY, RANDOM, "ppo", "a2c", "exhaustive"}  # all others are baselines


class Scores(NamedTuple):
    """What the agents of an environment reach, by seed, in hundredths."""

    figure: str  # what is counted
    values: Mapping[str, Sequence[float]]  # of each agent


def scores() -> dict[str, Scores]:
    """Return the scores on each id, from the results of the benchmarks that measured them."""
    search = read_results("search")
    several = search["several"]
    on_250_px = [entry for entry in search["ladder"] if entry["canvas"] == 250]
    questions = {
        name: [float(np.mean([several["baselines"][question][name] for question in several["baselines"]]))]
        for name in several["baselines"]["large"]
    }
    questions[POLICY] = np.mean([several["all"][question] for question in several["all"]], axis=0).tolist()
    losses = last(read_results("environments")["foveal_env/Reconstruct-v0"]["rows"], "loss")
    return {
        "foveal_env/Classify-v0": Scores("accuracy", last(read_results("agents")["rows"], "accuracy")),
        "foveal_env/Search-v0": Scores("success", last(on_250_px, "accuracy")),
        **{name: Scores("success", on_spatial(search, place)) for name, place in PLACES.items() if "spatial" in search},
        "foveal_env/Locate-v0": Scores("mean IoU", last(search["locate"], "iou")),
        "foveal_env/Reconstruct-v0": Scores(
            "variance explained",
            {name: [1 - loss for loss in values] for name, values in losses.items()},
        ),
        "foveal_env/Questions-v0": Scores("accuracy", questions),
    }


def on_spatial(search: Mapping[str, Any], place: str) -> dict[str, list[float]]:
    """Return the declared success of each agent in a place, by seed."""
    return {name: own["success"] for name, own in search["spatial"][place]["declared"].items()}


def last(entries: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[float]]:
    """Return a figure after the last glimpse, of each agent, by seed."""
    values: dict[str, list[float]] = {}
    for entry in entries:
        values.setdefault(entry["agent"], []).append(entry[key][-1])
    return values


def report() -> None:
    """Write the table into README."""
    lines = []
    for name, (figure, values) in scores().items():
        short = name.partition("/")[2]
        baseline = best(set(values) - NO_BASELINES, values)
        bound = best(set(values) & set(BOUNDS), values)
        cells = {agent: with_interval(values[agent], scale=100) for agent in (RANDOM, baseline, POLICY, bound)}
        page = f"[{short}](docs/environments/{short}.md)"
        early = " or declared" if name in PLACES else " or success" if "Search" in name else ""
        episode = f"{IDS[name].get('glimpses', 4)} glimpses{early}"
        facts = [page, QUESTIONS[name], "gaze", "gain", episode, figure]
        lines.append([*facts, cells[RANDOM], f"{cells[baseline]} {baseline}", cells[POLICY], f"{cells[bound]} {bound}"])
    heads = ["id", "question", "action", "reward", "episode", "figure, %", "random", "best baseline", "GRPO", "bound"]
    caption = (
        "After the last glimpse, on test scenes; ±: half width of the 95 % interval over 2 to 5 seeds. "
        "Baselines learn nothing. The bound knows target or label. "
        "`python -m benchmarks.agents`, `.search` and `.environments` make it again."
    )
    put_in(ROOT / "README.md", "environments", f"{table(heads, lines)}\n\n{caption}")
    print(table(heads, lines))


def best(names: set[str], values: Mapping[str, Sequence[float]]) -> str:
    """Return the agent with the highest mean."""
    return max(names, key=lambda name: float(np.mean(values[name])))
