"""README's table of the environments."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.entries import by_agent
from benchmarks.files import ROOT, read_results
from benchmarks.markdown import put_in, table
from benchmarks.statistics import with_interval
from foveal_env import IDS, QUESTIONS

BOUND, POLICY, RANDOM = "oracle", "grpo", "random"
NO_RULES = {BOUND, POLICY, RANDOM, "greedy_oracle", "ppo", "a2c", "exhaustive"}  # all else is a rule


class Scores(NamedTuple):
    """What the agents of an environment reach, by seed, in hundredths."""

    figure: str  # what is counted
    values: Mapping[str, Sequence[float]]  # of each agent


def scores() -> dict[str, Scores]:
    """Return the scores on each id, from the results of the benchmarks that measured them."""
    search = read_results("search")
    several = search["several"]
    ladder = by_agent([entry for entry in search["ladder"] if entry["canvas"] == 250])
    questions = {
        name: [float(np.mean([several["baselines"][question][name] for question in several["baselines"]]))]
        for name in several["baselines"]["large"]
    }
    questions[POLICY] = np.mean([several["all"][question] for question in several["all"]], axis=0).tolist()
    reconstruct = by_agent(read_results("environments")["foveal_env/Reconstruct-v0"]["rows"])
    return {
        "foveal_env/Classify-v0": Scores("accuracy", last(by_agent(read_results("agents")["rows"]), "accuracy")),
        "foveal_env/Search-v0": Scores("success", last(ladder, "accuracy")),
        "foveal_env/Locate-v0": Scores("mean IoU", last(by_agent(search["locate"]), "iou")),
        "foveal_env/Reconstruct-v0": Scores(
            "variance explained",
            {name: [1 - entry["loss"][-1] for entry in entries] for name, entries in reconstruct.items()},
        ),
        "foveal_env/Questions-v0": Scores("accuracy", questions),
    }


def last(entries_of: Mapping[str, Sequence[Mapping[str, Any]]], key: str) -> dict[str, list[float]]:
    """Return a figure after the last glimpse, of each agent and seed."""
    return {name: [entry[key][-1] for entry in entries] for name, entries in entries_of.items()}


def report() -> None:
    """Write the table into README."""
    lines = []
    for name, (figure, values) in scores().items():
        rule = max(set(values) - NO_RULES, key=lambda agent: float(np.mean(values[agent])))
        cells = {agent: with_interval(values[agent], scale=100) for agent in (RANDOM, rule, POLICY, BOUND)}
        page = f"[`{name.partition('/')[2]}`](docs/environments/{name.partition('/')[2]}.md)"
        lines.append(
            [
                page,
                QUESTIONS[name],
                f"{IDS[name].get('glimpses', 4)} glimpses" + (", or success" if "Search" in name else ""),
                figure,
                cells[RANDOM],
                f"{cells[rule]} ({rule})",
                cells[POLICY],
                cells[BOUND],
            ]
        )
    heads = ["id `foveal_env/...`", "question", "episode", "figure, %", "random", "best rule", "GRPO", "bound"]
    caption = (
        "After the last glimpse, on test scenes. ±: half width of the 95 % interval over seeds. A rule learns nothing. "
        "The bound looks near the target, because it knows where it is. "
        "`python -m benchmarks.environments` makes it again."
    )
    put_in(ROOT / "README.md", "environments", f"{table(heads, lines)}\n\n{caption}")
    print(table(heads, lines))
