"""What the project survives: kills, faults of the machine, damaged files, long use; and what its tests see.

Parts: kills, environment, checkpoints, pictures, growth, mutants; none is all of them, which takes about an hour. Parts
that are not measured keep their figures. ``--report`` makes the page again from results/reliability.json.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.files import read_results, write_results
from benchmarks.reliability import environment, files, growth, kills, mutants
from benchmarks.reliability.report import report

PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "environment": environment.measure,
    "kills": kills.measure,
    "checkpoints": files.measure_checkpoints,
    "pictures": files.measure_pictures,
    "growth": growth.measure,
    "mutants": mutants.measure,
}
LIMITS = {  # what each figure should be
    "kills": {"at_least": 60},
    "kills_equal": {"at_least": 60},
    "tensorboard_doubles": {"at_most": 0},
    "tensorboard_missing": {"at_most": 0},
    "lost_seconds_max": {"at_most": 60},
    "environment_faults": {"at_most": 0},
    "checkpoints": {"at_least": 1000},
    "checkpoints_silent": {"at_most": 0},
    "checkpoints_crashed": {"at_most": 0},
    "pictures": {"at_least": 1000},
    "pictures_crashed": {"at_most": 0},
    "pictures_hung": {"at_most": 0},
    "growth_mb": {"at_most": 50},
    "mutants": {"at_least": 100},
    "mutants_caught": {"at_least": 95},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts, and make the page."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.reliability", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *PARTS], help="parts to measure")
    parser.add_argument("--report", action="store_true", help="make the page from the results alone")
    chosen = parser.parse_args(arguments)
    for name in [] if chosen.report else chosen.parts or PARTS:
        figures = PARTS[name]()
        write_results(
            "reliability",
            {"command": "python -m benchmarks.reliability", "limits": LIMITS}
            | {
                **{
                    key: value for key, value in read_results("reliability").items() if key not in ("command", "limits")
                },
                **figures,
            },
        )
    report(read_results("reliability"))


if __name__ == "__main__":
    main()
