"""Does the test suite see a fault? Core lines are changed one at a time, and the tests of their module must fail.

The mutants are drawn at random, with a seed. Each one is written into a copy of the project. What was found stays in
a file of JSON lines, and a second run goes on from there. So a survivor is run again when its line is taken out.
"""

import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.files import ROOT, RUNS
from benchmarks.reliability.mutations import Mutation, mutations
from benchmarks.reliability.suite import Suite

SEED = 18
FOUND = RUNS / "reliability" / "mutants.jsonl"
NEEDED = ("agents", "benchmarks", "docs", "encoders", "foveal_env", "tests", "tutorials")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "train.py", "mkdocs.yml", "Makefile")
OTHERS = "render gaze_law agents grpo scripted results search_scenes training commands"  # what a survivor meets, too
SKIPPED = (
    r"monotonic|process_time|seconds|prefetch|tqdm|_show\b|_has_screen|render_mode|gym\.logger|\.compiled|_compiled"
)


class Module(NamedTuple):
    """A file whose lines are changed."""

    mutants: int  # how many are drawn
    tests: str  # test files that cover it, the quick ones first
    only: str = ""  # pattern of its functions


CORE = {
    "foveal_env/world.py": Module(10, "world rules rollout scripted env"),
    "foveal_env/env.py": Module(10, "env rules"),
    "foveal_env/retina.py": Module(5, "retina world render"),
    "foveal_env/batch.py": Module(2, "batch rules env"),
    "foveal_env/perception.py": Module(4, "perception world pretraining"),
    "foveal_env/pretraining.py": Module(7, "pretraining gaze_law"),
    "foveal_env/gaze_law.py": Module(4, "gaze_law pretraining"),
    "foveal_env/randomness.py": Module(1, "pretraining grpo agents"),
    "foveal_env/checkpoint.py": Module(4, "checkpoint perception pretraining agents"),
    "foveal_env/kernels/box_averages.py": Module(5, "kernels retina", "in_tensors|_weights|check"),
    "foveal_env/kernels/pyramid.py": Module(3, "kernels images", "levels$|pyramid_length|in_tensors"),
    "foveal_env/kernels/crops.py": Module(2, "kernels", "in_tensors"),
    "foveal_env/kernels/hashing.py": Module(2, "kernels sources", "scramble|shuffled|in_tensors|_shift"),
    "foveal_env/images/batch.py": Module(4, "images retina kernels sources"),
    "foveal_env/tasks/classify.py": Module(1, "tasks"),
    "foveal_env/tasks/locate.py": Module(4, "tasks render"),
    "foveal_env/tasks/search.py": Module(4, "tasks"),
    "foveal_env/tasks/several.py": Module(1, "tasks"),
    "foveal_env/tasks/point.py": Module(1, "tasks"),
    "foveal_env/sources/base.py": Module(1, "sources"),
    "agents/grpo.py": Module(9, "grpo agents"),
    "agents/mixture.py": Module(6, "mixture grpo"),
    "agents/rollout.py": Module(4, "rollout agents scripted grpo"),
    "agents/base.py": Module(2, "agents"),
    "encoders/base.py": Module(2, "encoders retina perception"),
    "encoders/multizoom.py": Module(2, "encoders perception"),
}


def drawn() -> list[tuple[str, Mutation]]:
    """Return the mutants with their files."""
    chosen = []
    for path, module in CORE.items():
        known = [m for m in mutations((ROOT / path).read_text(), skip=SKIPPED, only=module.only) if m.before != "0.0"]
        chosen += [(path, m) for m in random.Random(f"{SEED} {path}").sample(known, module.mutants)]
    return chosen


def copied(folder: Path) -> Path:
    """Copy what the tests need to a folder; return it."""
    for name in NEEDED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.gif", "*.png"))
    for name in FILES:
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".links").mkdir()
    for name in ("agents", "encoders"):
        (folder / ".links" / f"foveal_{name}").symlink_to(f"../{name}")
    return folder


def missing(chosen: list[tuple[str, Mutation]]) -> Iterator[tuple[str, Mutation]]:
    """Yield the mutants that were not run yet."""
    done = {(entry["path"], entry["name"]) for entry in found()}
    yield from (entry for entry in chosen if (entry[0], entry[1].name) not in done)


def found() -> list[dict[str, Any]]:
    """Return what was found so far."""
    return [json.loads(line) for line in FOUND.read_text().splitlines()] if FOUND.is_file() else []


def measure() -> dict[str, Any]:
    """Run all mutants that were not run yet; return the figures, with the survivors."""
    chosen = drawn()
    FOUND.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        left, folder = list(missing(chosen)), copied(Path(name) / "project")
        suite = Suite(folder)
        tests = " ".join(sorted({name for path, _ in left for name in CORE[path].tests.split()}))
        outcome = suite.outcome(tests) if left else "passed"
        if outcome != "passed":
            raise RuntimeError(f"without any mutant, these tests do not pass: {tests}: {outcome}")
        for path, mutation in left:
            started, original = time.monotonic(), (folder / path).read_text()
            (folder / path).write_text(mutation.source)
            outcome = suite.outcome(CORE[path].tests)
            if outcome == "passed":
                outcome = suite.outcome(OTHERS)
            (folder / path).write_text(original)
            entry = {"path": path, "line": mutation.line, "kind": mutation.kind, "name": mutation.name}
            entry |= {"outcome": outcome, "seconds": round(time.monotonic() - started, 1)}
            print(json.dumps(entry), flush=True)
            with FOUND.open("a") as file:
                file.write(json.dumps(entry) + "\n")
    wanted = {(path, mutation.name) for path, mutation in chosen}
    entries = [entry for entry in found() if (entry["path"], entry["name"]) in wanted]
    return {
        "mutants": len(entries),
        "mutants_caught": sum(entry["outcome"] != "passed" for entry in entries),
        "mutants_survived": [f"{e['path']}: {e['name']}" for e in entries if e["outcome"] == "passed"],
        "mutants_by_kind": {
            kind: [
                sum(e["kind"] == kind and e["outcome"] != "passed" for e in entries),
                sum(e["kind"] == kind for e in entries),
            ]
            for kind in sorted({e["kind"] for e in entries})
        },
    }
