"""Speed of the environment: the native batch against singles, time outside the encoder, time to import.

Takes about ten minutes. ``--report`` makes the page again from results/throughput.json.
"""

import argparse
import platform
import statistics
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.files import read_results, write_results
from benchmarks.throughput.environment import (
    PROCESSES,
    ROUNDS,
    native_over_sync,
    shares_of_mixed_sizes,
    shares_of_processes,
)
from benchmarks.throughput.programs import import_seconds, main_job
from benchmarks.throughput.report import report

LIMITS = {  # what each figure should be, for whoever changes a hot path
    "native_over_sync_64": {"at_least": 10},
    "outside_encoder_share_256": {"at_most": 0.15},
    "outside_encoder_share_256_mixed_sizes": {"at_most": 0.15},
    "main_job_seconds": {"at_most": 180},
    "main_job_peak_gb": {"at_most": 2},
    "import_seconds": {"at_most": 0.3},
}


def measure() -> dict[str, Any]:
    """Measure everything."""
    ratio, imports, shares, mixed = (
        native_over_sync(64),
        import_seconds(),
        shares_of_processes(),
        shares_of_mixed_sizes(),
    )
    job = main_job()
    return {
        "command": "python -m benchmarks.throughput",
        "native_over_sync_64": round(ratio["ratio"], 1),
        "native_over_sync_64_range": [round(ratio["ratio_min"], 1), round(ratio["ratio_max"], 1)],
        "native_steps_per_second_64": round(ratio["native_steps_per_second"]),
        "sync_steps_per_second_64": round(ratio["sync_steps_per_second"]),
        "outside_encoder_share_256": round(statistics.median(shares), 3),
        "outside_encoder_share_256_range": [round(min(shares), 3), round(max(shares), 3)],
        "outside_encoder_share_256_mixed_sizes": round(statistics.median(mixed["within"]), 3),
        "outside_encoder_share_256_mixed_sizes_reading_included": round(statistics.median(mixed["all"]), 3),
        "main_job_seconds": job["seconds"],
        "main_job_peak_gb": job["peak_gb"],
        "import_seconds": round(statistics.median(imports), 4),
        "rounds": ROUNDS,
        "processes": PROCESSES,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "limits": LIMITS,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and make the page."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.throughput", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", action="store_true", help="make the page from the results alone")
    if not parser.parse_args(arguments).report:
        write_results("throughput", measure())
    report(read_results("throughput"))


if __name__ == "__main__":
    main()
