"""Prompts, search, and tasks where looking decides: what the parts of ``python -m benchmarks.search`` share."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import ROOT, call
from foveal_agents.base import Agent, load_agent, make_agent
from foveal_env.checkpoint import write_json
from foveal_env.world import World

FOLDER = ROOT / "runs" / "benchmarks" / "search"
SEEDS = 5  # of policies, and of baselines that draw their gaze


def policy_paths(folder: Path, learner: str) -> list[Path]:
    """Return where the policies of all seeds are, or will be."""
    return [folder / f"{learner}-{seed}" / "policy.safetensors" for seed in range(SEEDS)]


def policies(folder: Path, learners: Sequence[str], *options: str) -> dict[str, list[Path]]:
    """Train the policies of all seeds, those that are not trained yet; return their paths, by learner."""
    paths = {name: policy_paths(folder, name) for name in learners}
    if not (folder / "results.json").is_file():
        call(
            f"compare --split validation --scenes 500 --precision auto --resume --seeds {SEEDS} --baselines random "
            f"--learners {' '.join(learners)}",
            *options,
            *["--out", str(folder)],
        )
    return paths


def agents(world: World, baselines: Sequence[str], trained: dict[str, list[Path]]) -> Iterator[Agent]:
    """Yield the baselines, those that draw their gaze once for each seed, and the trained policies."""
    for name in baselines:
        for seed in range(SEEDS):
            agent = make_agent(name, world, seed=seed)
            if agent.is_stochastic or seed == 0:
                yield agent
    yield from (load_agent(path, world) for paths in trained.values() for path in paths)


def remembered(path: Path, measure: Callable[[], Any]) -> Any:
    """Return what was measured before and left at `path`, or measure it."""
    if not path.is_file():
        write_json(path, measure())
    return json.loads(path.read_text())
