"""Prompts, search, and tasks in which looking decides: measures all parts, or those named.

Each part goes on where it was interrupted, and writes its figures into results/search.json and its section of
docs/results/search.md. ``--report`` makes page and plots again from results/search.json; the drawing of scan paths
also needs the policies that were trained for it.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.files import read_results, write_results
from benchmarks.search import ladder, locate, prompts, several, spatial, stop
from benchmarks.search.report import report
from benchmarks.search.training import SEEDS

PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "ladder": ladder.measure,
    "prompts": prompts.measure,
    "stop": stop.measure,
    "locate": locate.measure,
    "several": several.measure,
    "spatial": spatial.measure,
}


def measure(parts: Sequence[str], words: Sequence[str]) -> None:
    """Measure parts, and write the results after each."""
    contents = read_results("search")
    for name in parts:
        contents |= PARTS[name]()
        command = shlex.join(["python", "-m", "benchmarks.search", name])
        contents["commands"] = {**contents.get("commands", {}), name: command}
        contents |= {"seeds": SEEDS, "threads": torch.get_num_threads(), "arguments": list(words)}
        write_results("search", contents)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and make page and plots."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        "python -m benchmarks.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--report", action="store_true", help="make page and plots from the results alone")
    chosen = parser.parse_args(words)
    unknown = set(chosen.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    if not chosen.report:
        measure(chosen.parts or list(PARTS), words)
    report(read_results("search"))


if __name__ == "__main__":
    main()
