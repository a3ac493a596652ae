"""Does the test suite see a fault? Core lines are changed one at a time, and the tests of their module must fail.

The mutants are drawn at random, with a seed. Each one is written into a copy of the project. What was found stays in
a file of JSON lines, and a second run goes on from there. A survivor whose outcome
there is changed to "again" is run again.
"""

import json
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.files import ROOT, RUNS
from benchmarks.reliability.mutations import Mutation, mutations
from benchmarks.reliability.suite import Suite

SEED = 18
AGAIN = "again"  # outcome by which a survivor is run again, once there is a test for it
FOUND = RUNS / "reliability" / "mutants.jsonl"
NEEDED = ("agents", "benchmarks", "docs", "encoders", "foveal_env", "tests", "tutorials")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "train.py", "mkdocs.yml", "Makefile")
OTHERS = "render gaze_law grpo scripted results search_scenes sb3"  # what a survivor meets, too
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
    "foveal_env/randomness.py": Module(1, "randomness pretraining grpo"),
    "foveal_env/checkpoint.py": Module(4, "checkpoint perception pretraining agents"),
    "foveal_env/kernels/box_averages.py": Module(5, "kernels retina", "in_tensors|_weights|check"),
    "foveal_env/kernels/pyramid.py": Module(3, "kernels images", "levels$|pyramid_length|in_tensors"),
    "foveal_env/kernels/crops.py": Module(2, "kernels", "in_tensors"),
    "foveal_env/kernels/hashing.py": Module(2, "kernels sources", "scramble|shuffled|in_tensors|_shift"),
    "foveal_env/images/batch.py": Module(4, "images retina kernels sources slides"),
    "foveal_env/tasks/classify.py": Module(1, "tasks"),
    "foveal_env/tasks/locate.py": Module(4, "tasks render"),
    "foveal_env/tasks/search.py": Module(4, "tasks"),
    "foveal_env/tasks/several.py": Module(1, "tasks device"),
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
    """Return the mutants with their files: those that were run before and still exist, then others at random."""
    chosen, done = [], found()
    for path, module in CORE.items():
        known = list(mutations((ROOT / path).read_text(), skip=SKIPPED, only=module.only))
        known.sort(key=lambda m: ((path, m.name) not in done, random.Random(f"{SEED} {path} {m.name}").random()))
        chosen += [(path, mutation) for mutation in known[: module.mutants]]
    return chosen


def files_of(names: str) -> list[str]:
    """Return the test files of some names."""
    return [f"tests/test_{name}.py" for name in names.split()]


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


def found() -> dict[tuple[str, str], dict[str, Any]]:
    """Return what was found last of each mutant, by file and name."""
    entries = [json.loads(line) for line in FOUND.read_text().splitlines()] if FOUND.is_file() else []
    return {(entry["path"], entry["name"]): entry for entry in entries}


def run(suite: Suite, path: str, mutation: Mutation) -> None:
    """Run the tests on a mutant, and note what became of it."""
    file, started = suite.folder / path, time.monotonic()
    original = file.read_text()
    file.write_text(mutation.source)
    outcome = suite.outcome(files_of(CORE[path].tests))
    if outcome == "passed":
        outcome = suite.outcome(files_of(OTHERS))
    file.write_text(original)
    entry = {"path": path, "line": mutation.line, "kind": mutation.kind, "name": mutation.name}
    note(entry | {"outcome": outcome, "seconds": round(time.monotonic() - started, 1)})


def note(entry: dict[str, Any]) -> None:
    """Add to what was found, and say it."""
    print(json.dumps(entry), flush=True)
    with FOUND.open("a") as notes:
        notes.write(json.dumps(entry) + "\n")


def measure() -> dict[str, Any]:
    """Run all mutants that were not run yet; return the figures, with the survivors."""
    chosen = drawn()
    FOUND.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder, done = copied(Path(name) / "project"), found()
        suite = Suite(folder)
        for path, mutation in chosen:
            if done.get((path, mutation.name), {}).get("outcome", AGAIN) == AGAIN:
                run(suite, path, mutation)
        done = found()
        entries = [done[path, mutation.name] for path, mutation in chosen]
        failed = sorted({e["outcome"].partition(": ")[2] for e in entries if e["outcome"].startswith("failed: tests")})
        broken = suite.failures(failed) if failed else []
    for entry in entries:
        if entry["outcome"].partition(": ")[2] in broken:  # it fails without any mutant, too
            entry["outcome"] = AGAIN
            note(entry)
    return figures(entries)


def figures(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of what was found, with the survivors."""
    kinds = sorted({entry["kind"] for entry in entries})
    caught = [entry for entry in entries if entry["outcome"] not in ("passed", AGAIN)]
    return {
        "mutants": len(entries),
        "mutants_caught": len(caught),
        "mutants_survived": [f"{e['path']}: {e['name']}" for e in entries if e not in caught],
        "mutants_by_kind": {k: [sum(e["kind"] == k for e in some) for some in (caught, entries)] for k in kinds},
    }
