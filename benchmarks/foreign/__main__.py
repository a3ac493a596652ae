"""GRPO on CircleSquare-v0 of ap_gym, with at most a million steps: its sensor, our memory and head. Needs `bench`.

``python -m benchmarks.foreign`` trains and tests all seeds, or those of ``--seeds``, and keeps what is done in
runs/benchmarks/foreign. ``--report`` makes the page again from results/foreign.json.
"""

import argparse
import importlib.metadata
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.files import RUNS, measured_once, read_results, write_results
from benchmarks.foreign.report import report

FOLDER = RUNS / "foreign"

PLAN: dict[str, Any] = {
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
    done = None
    for done in learn(Plan(**PLAN), seed):
        print(f"seed {seed}: {done[2]}", flush=True)
        rounds.append(done[2])
    assert done is not None  # a plan has rounds
    world, agent, _ = done
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
    """Measure, and make the page."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.foreign", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(SEEDS)))
    parser.add_argument("--report", action="store_true", help="make the page from the results alone")
    chosen = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    if not chosen.report:
        rows = [
            measured_once(FOLDER / f"circle_square-{seed}.json", lambda seed=seed: measure(seed))
            for seed in chosen.seeds
        ]
        about = {"command": "python -m benchmarks.foreign", "plan": PLAN, "test_episodes": EPISODES}
        versions = {name: importlib.metadata.version(name) for name in ("ap-gym", "gymnasium", "torch")}
        write_results("foreign", {**about, "versions": versions, "rows": rows})
    report(read_results("foreign"))


if __name__ == "__main__":
    main()
