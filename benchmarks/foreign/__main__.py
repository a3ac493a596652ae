"""GRPO on CircleSquare-v0 of ap_gym, with at most a million steps: its sensor, our memory and head. Needs `bench`.

``python -m benchmarks.foreign`` trains and tests all seeds, or those of ``--seeds``, and keeps what is done in
runs/benchmarks/foreign. ``--report`` writes results and page again from what was measured.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.files import RUNS, measured_once, write_results
from benchmarks.foreign.report import report
from foveal_agents.results import versions

PLAN = {
    "name": "CircleSquare-v0",
    "explored": 65_536,
    "rounds": 8,
    "steps": 40_960,
    "updates": 300,
    "options": {
        "num_scenes": 32,
        "group_size": 8,
        "gamma": 0.9,
        "batch_size": 1024,
        "n_epochs": 3,
        "ema_decay": 0.5,
    },
}
EPISODES = 4096  # of a test
SEEDS = 3


def measure(seed: int) -> dict[str, Any]:
    """Train and test one seed."""
    from benchmarks.foreign.learning import Plan, accuracy, learn  # needs ap_gym

    torch.set_num_threads(1)
    started, rounds = time.process_time(), []
    for world, agent, log in learn(Plan(**PLAN), seed):
        print(f"seed {seed}: {log}", flush=True)
        rounds.append(log)
    seconds = time.process_time() - started
    drawn, greedy = (accuracy(world, agent, EPISODES, greedy=greedy) for greedy in (False, True))
    return {
        "seed": seed,
        "steps": world.steps,
        "train_cpu_seconds": round(seconds),
        "accuracy": drawn,
        "accuracy_greedy": greedy,
        "rounds": rounds,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was not measured, and write results and page."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.foreign", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(SEEDS)))
    parser.add_argument("--report", action="store_true", help="write results and page from what was measured")
    chosen = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    paths = {seed: RUNS / "foreign" / f"circle_square-{seed}.json" for seed in chosen.seeds}
    rows = [
        measured_once(path, lambda seed=seed: measure(seed))
        for seed, path in paths.items()
        if path.is_file() or not chosen.report
    ]
    contents = {"command": "python -m benchmarks.foreign", "plan": PLAN, "test_episodes": EPISODES, "rows": rows}
    write_results("foreign", {**contents, "versions": versions()})
    report(contents)


if __name__ == "__main__":
    main()
