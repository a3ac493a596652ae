"""Agents on the shipped perception `digits`: GRPO, PPO and A2C at equal numbers of glimpses, with every baseline.

Other options are passed on to `train.py compare`: ``python -m benchmarks.agents --resume`` goes on after an
interruption. ``--report`` makes the tables and the plot again from results/agents.json.
"""

import argparse
import json
import sys
from collections.abc import Sequence

import torch

from benchmarks.agents.report import report
from benchmarks.command_line import words_of
from benchmarks.files import RUNS, read_results, write_results
from foveal_agents.commands import main as train
from foveal_agents.results import gap_closed

FOLDER = RUNS / "agents"
LEARNERS = ("grpo", "ppo", "a2c")
BASELINES = ("random", "centre", "raster", "spiral", "oracle", "greedy_oracle")
SEEDS = 3


def measure(more: Sequence[str]) -> None:
    """Run the comparison, with more options of it, and write its results."""
    options = {"reward": "probability", "precision": "auto", "seeds": SEEDS, "out": FOLDER}
    train(["compare", *words_of({**options, "learners": LEARNERS, "baselines": BASELINES}), *more])
    contents = json.loads((FOLDER / "results.json").read_text())
    closed = {name: gap_closed(contents["rows"], name) for name in LEARNERS}
    contents["command"], contents["threads"] = "python -m benchmarks.agents", torch.get_num_threads()
    contents["gap_closed"] = {name: None if share is None else round(share, 3) for name, share in closed.items()}
    write_results("agents", contents)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and make page and plot."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.agents", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", action="store_true", help="make tables and plot from the results alone")
    chosen, more = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    if not chosen.report:
        measure(more)
    report(read_results("agents"))


if __name__ == "__main__":
    main()
