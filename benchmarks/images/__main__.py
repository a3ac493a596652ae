"""Any image at constant cost: time, error and memory of glimpses, from 64 px to a slide of 607 megapixels.

Needs the extra `bench` (`pip install -e ".[bench]"`) and Imagenette-160 under FOVEAL_DATA. Takes about ten minutes.
``--report`` makes page and plot again from results/images.json.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

import torch

from benchmarks.files import read_results, write_results
from benchmarks.images.accuracy import accuracy_of_averages
from benchmarks.images.enlarged import accuracy_by_scale
from benchmarks.images.gigapixel import gigapixel
from benchmarks.images.inputs import DEVICE
from benchmarks.images.plain_vit import beside_a_plain_vit
from benchmarks.images.preparation import preparation
from benchmarks.images.report import report
from benchmarks.images.speed import beside_ap_gym, glimpse_times

PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "time": glimpse_times,
    "ap_gym": beside_ap_gym,
    "error": accuracy_of_averages,
    "preparation": preparation,
    "gigapixel": lambda: {"gigapixel": gigapixel()},
    "vit": lambda: {"vit": beside_a_plain_vit()},
    "scale": accuracy_by_scale,
}
LIMITS = {  # what each figure should be, for whoever changes a hot path
    "time_16384_over_64": {"at_most": 1.1},
    "time_16384_over_1024": {"at_most": 1.1},
    "mixed_over_uniform": {"at_most": 1.2},
    "patches_per_second_224": {"at_least": 500_000},
    "crops_over_ap_gym_224": {"at_least": 20},
    "error_mean": {"at_most": round(0.5 / 255, 6)},
    "error_p999": {"at_most": round(4 / 255, 6)},
    "memory_over_decoded": {"at_most": 1.5},
    "prepare_over_decode": {"at_most": 0.5},
    "gigapixel": {"peak_mb": {"at_most": 500}, "first_ms": {"at_most": 200}, "warm_ms": {"at_most": 20}},
    "accuracy_by_scale": {"apart_at_most": 0.01},
}


def measure(parts: Sequence[str]) -> None:
    """Measure the parts named, or all of them, and write the results after each."""
    name = "images_gpu" if DEVICE == "cuda" else "images"
    contents = read_results(name) if parts else {}
    contents |= {
        "command": "python -m benchmarks.images",
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "limits": LIMITS,
    }
    for number, part in enumerate(parts or PARTS, start=1):
        print(f"{number} of {len(parts or PARTS)}: {part}", file=sys.stderr, flush=True)
        contents |= PARTS[part]()
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        contents["measured"] = {**contents.get("measured", {}), part: now}
        write_results(name, contents)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and make page and plot; those are of a CPU, the figures of a GPU are printed."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.images", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--report", action="store_true", help="make page and plot from the results alone")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    if not chosen.report:
        measure(chosen.parts)
    if DEVICE == "cuda" and not chosen.report:
        print(json.dumps(read_results("images_gpu"), indent=2))
    else:
        report(read_results("images"))


if __name__ == "__main__":
    main()
