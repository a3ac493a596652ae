"""Prompts, search, and tasks where looking decides: ``python -m benchmarks.search`` measures all parts, or those named.

Each part goes on where it was interrupted, and writes its figures into results/search.json and docs/search.md.
"""

import argparse
import json
import shlex
import sys

import torch

from benchmarks import RESULTS
from benchmarks.search import SEEDS, ladder, locate, prompts, several, stop
from benchmarks.search.report import report
from foveal_env.checkpoint import write_json

PARTS = {"ladder": ladder, "prompts": prompts, "stop": stop, "locate": locate, "several": several}


def main() -> None:
    """Measure, and write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--report", action="store_true", help="only make the page again from results/search.json")
    chosen = parser.parse_args()
    unknown = set(chosen.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    path = RESULTS / "search.json"
    contents = json.loads(path.read_text()) if path.is_file() else {}
    for name in [] if chosen.report else chosen.parts or PARTS:
        contents |= PARTS[name].measure()
        command = shlex.join(["python", "-m", "benchmarks.search", name])
        contents["commands"] = {**contents.get("commands", {}), name: command}
        contents |= {"seeds": SEEDS, "threads": torch.get_num_threads(), "arguments": sys.argv[1:]}
        write_json(path, contents)
    report(contents)


if __name__ == "__main__":
    main()
