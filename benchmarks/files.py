"""Where results, pages and trainings lie, and what is not measured twice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foveal_env.checkpoint import write_json

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"  # of all benchmarks, in the repository
RUNS = ROOT / "runs" / "benchmarks"  # trainings and unfinished measurements, not in the repository
DOCS = ROOT / "docs"  # plots
PAGES = DOCS / "results"


def read_results(name: str) -> dict[str, Any]:
    """Return results/NAME.json; an empty dictionary if nothing was measured."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def write_results(name: str, contents: dict[str, Any]) -> None:
    """Write results/NAME.json."""
    write_json(RESULTS / f"{name}.json", contents)


def measured_once(path: Path, measure: Callable[[], Any]) -> Any:
    """Return what was measured before and left at `path`, or measure it and leave it there; JSON."""
    if not path.is_file():
        write_json(path, measure())
    return json.loads(path.read_text())


def as_typed(path: Path) -> str:
    """Return a path as a command line has it: relative to the working folder if it is below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
