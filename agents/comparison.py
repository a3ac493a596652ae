"""Agents on the same fixed scenes: what `policy`, `evaluate` and `compare` have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from foveal_agents import AGENTS, rollout
from foveal_agents.base import Agent
from foveal_agents.plots import plot_accuracy, save_figure, scan_paths
from foveal_agents.results import results, row, summarise, table, write_results
from foveal_env.world import World

FILES = ("results.json", "results.csv", "accuracy.png", "scan_paths.png", "policy.safetensors", "run.json")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison of agents on the same fixed scenes, and where its files go.

    Args:
        baselines: scripted agents to compare with (default: random, centre, raster, and oracle if the target is known).
        scenes: number of scenes to evaluate on.
        seed: seed of training, and of agents that draw their gaze; the first one of several.
        out: output folder.

    Raises ValueError if `scenes` is out of range.
    """

    baselines: list[str] | None = None
    scenes: int = 1800
    seed: int = 0
    out: str = "runs/evaluate"

    def __post_init__(self):
        at_least_one(scenes=self.scenes)

    def names(self, world: World) -> list[str]:
        """Return the names of the baselines in a world."""
        if self.baselines is not None:
            return self.baselines
        return ["random", "centre", "raster", *(["oracle"] if world.source.knows_target else [])]

    def evaluate(self, world: World, agent: Agent, seed: int) -> tuple[dict[str, Any], rollout.Evaluation]:
        """Evaluate an agent, and name a policy that has collapsed; return the row of results.json, and all of it."""
        evaluation = rollout.evaluate(world, agent, scenes=world.source.at_most(self.scenes), seed=seed)
        fault = rollout.collapse(evaluation.gazes[:, 1:]) if agent.is_trainable else None
        if fault:
            tqdm.write(f"warning: the policy of {agent.name}, seed {agent.seed}, has {fault}")
        return row(agent, evaluation), evaluation

    def report(
        self,
        world: World,
        rows: list[dict[str, Any]],
        shown: tuple[Agent, rollout.Evaluation],
        *,
        made: dict[str, Any],
        command: str,
    ) -> None:
        """Write results.json, results.csv and pictures; print the table, and what it says of each learned policy."""
        folder = Path(self.out)
        scenes = world.source.at_most(self.scenes)
        contents = results(world, rows, command=command, seed=self.seed, scenes=scenes, made=made)
        write_results(folder, contents)
        plot_accuracy(folder / "accuracy.png", contents)
        agent, evaluation = shown
        figure = scan_paths(world, evaluation, range(min(8, scenes)), agent=agent)
        save_figure(folder / "scan_paths.png", figure)
        print(f"\nAccuracy (%) after each glimpse on {world.source.sample_text(scenes)}; 0 is the first look:\n")
        print(table(contents), end="\n\n")
        for name in dict.fromkeys(entry["agent"] for entry in rows if entry["train_glimpses"]):
            print(sentence(contents, name))
        print(f"Files in {folder}: {', '.join(name for name in FILES if (folder / name).is_file())}.")


def sentence(contents: dict[str, Any], name: str) -> str:
    """Say in words how often an agent is right at the end, and how often with gazes that are not learned."""
    summary = summarise(contents["rows"])
    share = {agent: f"{100 * mean[-1]:.1f} %" for agent, (mean, _, _) in summary.items()}
    seeds = summary[name][2]
    known = {"random": "looking at random", "oracle": "looking near the known target"}
    others = ", ".join(f"{words} {share[agent]}" for agent, words in known.items() if agent in share and agent != name)
    return (
        f"{name.upper() if name in AGENTS else name} answers {share[name]} of {contents['scenes']:,} "
        f"{contents['split']} scenes right after {contents['glimpses']} glimpses"
        f"{f' (mean of {seeds} seeds)' if seeds > 1 else ''}{'; ' if others else ''}{others}."
    )


def at_least_one(**counts: int) -> None:
    """Raise ValueError unless each count is at least 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
