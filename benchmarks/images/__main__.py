"""Any image at constant cost: time, error and memory of glimpses, from 28 px to a gigapixel, beside what people use.

Needs the extra `bench` (`pip install -e ".[bench]"`) and Imagenette-160 under FOVEAL_DATA. Takes about ten minutes.
"""

import argparse
import json
import sys
from datetime import datetime, timezone
from typing import Any

import torch

from benchmarks import RESULTS, ROOT, publish
from benchmarks.images import DEVICE
from benchmarks.images.accuracy import accuracy_by_scale, accuracy_of_averages
from benchmarks.images.gigapixel import gigapixel
from benchmarks.images.plain_vit import beside_a_plain_vit
from benchmarks.images.preparation import preparation
from benchmarks.images.report import plot, table_of
from benchmarks.images.speed import beside_ap_gym, glimpse_times
from foveal_env.checkpoint import write_json

PARTS = {
    "time": glimpse_times,
    "ap_gym": beside_ap_gym,
    "error": accuracy_of_averages,
    "preparation": preparation,
    "gigapixel": lambda: {"gigapixel": gigapixel()},
    "vit": lambda: {"vit": beside_a_plain_vit()},
    "scale": accuracy_by_scale,
}


def main() -> None:
    """Measure everything, or the parts named, and publish it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    chosen = parser.parse_args()
    unknown = set(chosen.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    name = "images_gpu" if DEVICE == "cuda" else "images"
    path = RESULTS / f"{name}.json"
    results: dict[str, Any] = json.loads(path.read_text()) if chosen.parts and path.is_file() else {}
    results |= {
        "command": "python -m benchmarks.images",
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    for number, part in enumerate(chosen.parts or PARTS, start=1):
        print(f"{number} of {len(chosen.parts or PARTS)}: {part}", file=sys.stderr, flush=True)
        results |= PARTS[part]()
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        results["measured"] = {**results.get("measured", {}), part: now}
        write_json(path, results)
    if DEVICE == "cuda":
        print(json.dumps(results, indent=2))
        return
    plot(results, ROOT / "docs" / "cost.png")
    publish(name, results, table_of(results))


if __name__ == "__main__":
    main()
