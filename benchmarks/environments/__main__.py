"""What a gaze is worth on each environment: random, the best rule that learns nothing, GRPO, and the bound.

Most ids have benchmarks of their own, whose results are read: `benchmarks.agents` and `benchmarks.search`. This one
measures `Reconstruct-v0`, and writes results/environments.json and README's table. ``--report`` makes the table again
from the results alone.
"""

import argparse
import json
from collections.abc import Sequence

from benchmarks.command_line import run_command
from benchmarks.environments.report import report
from benchmarks.files import RUNS, write_results

ID = "foveal_env/Reconstruct-v0"
FOLDER = RUNS / "environments" / "Reconstruct-v0"
BASELINES = ("random", "centre", "raster", "spiral", "saliency", "oracle", "greedy_oracle")
OPTIONS = {
    "perception": "reconstruct",
    "glimpses": 8,
    "precision": "auto",
    "learners": ("grpo",),
    "seeds": 5,
    "train_glimpses": 400_000,
    "baselines": BASELINES,
    "scenes": 1000,
    "resume": True,
    "out": FOLDER,
}


def measure() -> None:
    """Train and evaluate on `Reconstruct-v0`, with GRPO's default settings; nothing was tuned for it."""
    if not (FOLDER / "results.json").is_file():
        run_command("compare", OPTIONS)
    contents = json.loads((FOLDER / "results.json").read_text())
    contents["command"] = "python -m benchmarks.environments"
    write_results("environments", {ID: contents})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and make the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.environments", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", action="store_true", help="make the table from the results alone")
    if not parser.parse_args(arguments).report:
        measure()
    report()


if __name__ == "__main__":
    main()
