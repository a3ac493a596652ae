"""The trained policies that all parts need: of five seeds, trained if they are not there yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.command_line import run_command
from benchmarks.files import RUNS

FOLDER = RUNS / "search"
SEEDS = 5  # of policies, and of baselines that draw their gaze


def policy_paths(folder: Path, learner: str, seeds: int = SEEDS) -> list[Path]:
    """Return where the policies of all seeds are, or will be."""
    return [folder / f"{learner}-{seed}" / "policy.safetensors" for seed in range(seeds)]


def train_policies(folder: Path, learner: str, options: Mapping[str, Any], *, seeds: int = SEEDS) -> list[Path]:
    """Train the policies of all seeds that are not trained yet; return their paths."""
    if not (folder / "results.json").is_file():
        run_command(
            "compare",
            {
                **{"learners": (learner,), "baselines": ("random",), "seeds": seeds, "precision": "auto"},
                **{"split": "validation", "scenes": 500, "resume": True},
                **options,
                "out": folder,
            },
        )
    return policy_paths(folder, learner, seeds)
