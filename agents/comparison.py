"""Agents on the same fixed scenes: what `policy`, `evaluate` and `compare` have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from foveal_agents import rollout
from foveal_agents.base import Agent
from foveal_agents.plots import BOUNDS, first_scan_paths, plot_accuracy, save_figure, spoken
from foveal_agents.policy_files import Policy
from foveal_agents.results import label_of, metrics_of, results, row, summarise, tables, write_results
from foveal_env.tasks.base import Metric
from foveal_env.world import World

FILES = ("results.json", "results.csv", "accuracy.png", "scan_paths.png", "policy.safetensors", "run.json")
GAZES = {"random": "looking at random", "oracle": "looking near the known target"}  # of agents, in words


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison of agents on the same fixed scenes, and where its files go.

    Args:
        baselines: scripted agents to compare with (default: random, centre, raster, and oracle if the target is known
            and the task asks for it).
        scenes: number of scenes to evaluate on.
        seed: seed of training, and of agents that draw their gaze; the first one of several.
        out: output folder.

    Raises ValueError if `scenes` is out of range, or a baseline is named twice.
    """

    baselines: list[str] | None = None
    scenes: int = 1800
    seed: int = 0
    out: str = "runs/evaluate"

    def __post_init__(self):
        at_least_one(scenes=self.scenes)
        each_once(self.baselines or ())

    def names(self, world: World) -> list[str]:
        """Return the names of the baselines in a world."""
        if self.baselines is not None:
            return self.baselines
        is_bounded = world.source.knows_target and world.perception.task.asks_for_target
        return ["random", "centre", "raster", *(["oracle"] if is_bounded else [])]

    def evaluate(
        self, world: World, agent: Agent, seed: int, **named: Any
    ) -> tuple[dict[str, Any], rollout.Evaluation]:
        """Evaluate an agent, and name a policy that has collapsed.

        Args:
            world: world to look at.
            agent: agent that looks.
            seed: seed of what it draws.
            named: `label` and `policy` of its row.

        Returns:
            The row of results.json, and all of it.
        """
        evaluation = rollout.evaluate(world, agent, scenes=world.source.at_most(self.scenes), seed=seed)
        fault = rollout.collapse(evaluation.gazes[:, 1:]) if agent.is_trainable else None
        entry = row(agent, evaluation, **named)
        if fault:
            tqdm.write(f"warning: the policy of {label_of(entry)}, seed {agent.seed}, has {fault}")
        return entry, evaluation

    def report(
        self,
        world: World,
        rows: list[dict[str, Any]],
        shown: tuple[Agent, rollout.Evaluation],
        *,
        made: dict[str, Any],
        command: str,
    ) -> None:
        """Write results.json, results.csv and pictures; print the tables, and what they say of each learned policy."""
        folder = Path(self.out)
        scenes = world.source.at_most(self.scenes)
        contents = results(world, rows, command=command, seed=self.seed, scenes=scenes, made=made)
        notes = beaten_bounds(contents, asks_for_target=world.perception.task.asks_for_target)
        write_results(folder, {**contents, "notes": notes})
        plot_accuracy(folder / "accuracy.png", contents)
        agent, evaluation = shown
        save_figure(folder / "scan_paths.png", first_scan_paths(world, evaluation, agent))
        where = f"on {world.source.sample_text(scenes)}"
        for heading, text in tables(contents).items():
            print(f"\n{heading[0].upper()}{heading[1:]} after each glimpse {where}; 0 is the first look:\n")
            print(text)
        print()
        for name in learned(contents):
            print(sentence(contents, name))
        for note in notes:
            print(note)
        print(f"Files in {folder}: {', '.join(name for name in FILES if (folder / name).is_file())}.")


def label_policies(names: Sequence[str], policies: Sequence[Policy]) -> list[str]:
    """Return what tables call each policy: as it was named; those that differ in the seed alone share a label.

    Args:
        names: paths or names.
        policies: what was read there.

    Raises ValueError if one is named twice.
    """
    each_once(names)
    kinds = [policy.kind or name for name, policy in zip(names, policies, strict=True)]
    seeds = {kind: [p.header["seed"] for k, p in zip(kinds, policies, strict=True) if k == kind] for kind in kinds}
    groups = [
        kind if len(set(seeds[kind])) == len(seeds[kind]) else name for kind, name in zip(kinds, names, strict=True)
    ]
    labels = []
    for group in groups:
        count, first = groups.count(group), names[groups.index(group)]
        labels.append(first if count == 1 else f"{first} and {count - 1} more")
    return labels


def learned(contents: dict[str, Any]) -> list[str]:
    """Return the labels of the agents that have learned."""
    return list(dict.fromkeys(label_of(entry) for entry in contents["rows"] if entry["train_glimpses"]))


def sentence(contents: dict[str, Any], name: str) -> str:
    """Say in words what an agent reaches at the end, and what gazes reach that are not learned."""
    metrics, rows = metrics_of(contents), contents["rows"]
    seeds = summarise(rows)[name][2]
    said = spoken(name) if any(entry["agent"] == name for entry in rows) else name
    where = f"{contents['scenes']:,} {contents['split']} scenes"
    at_most = "at most " if any("glimpses" in entry for entry in rows) else ""
    after = f"after {at_most}{contents['glimpses']} glimpses{f' (mean of {seeds} seeds)' if seeds > 1 else ''}"
    others = {other: words for other, words in GAZES.items() if other in summarise(rows) and other != name}
    if list(metrics) == ["accuracy"]:
        reached = {label: _reached(rows, label, "accuracy", metrics["accuracy"]) for label in (name, *others)}
        told = [f"{words} {reached[other]}" for other, words in others.items()]
        return (
            "; ".join([f"{said} answers {reached[name]} of {where} right {after}", *filter(None, [", ".join(told)])])
            + "."
        )
    told = [f"{said} on {where} {after}: {_figures(rows, name, metrics)}"]
    return "; ".join([*told, *(f"{words}: {_figures(rows, other, metrics)}" for other, words in others.items())]) + "."


def _figures(rows: list[dict[str, Any]], name: str, metrics: dict[str, Metric]) -> str:
    """Return all figures of an agent after the last glimpse, with their titles and units."""
    found = {metric.title: _reached(rows, name, key, metric) for key, metric in metrics.items()}
    return ", ".join(f"{title} {value}" for title, value in found.items() if value)


def _reached(rows: list[dict[str, Any]], name: str, key: str, metric: Metric) -> str:
    """Return a figure of an agent after the last glimpse, with its unit; "" if it is not known."""
    last = summarise(rows, key)[name][0][-1]
    return "" if np.isnan(last) else f"{metric.written(last)} {metric.unit}".rstrip()


def beaten_bounds(contents: dict[str, Any], *, asks_for_target: bool) -> list[str]:
    """Say which learned policies are better than a bound, and why that can be; nothing if none is.

    Args:
        contents: those of results.json.
        asks_for_target: whether the task asks for the target.
    """
    bounds = {label_of(entry): entry for entry in contents["rows"] if label_of(entry) in BOUNDS}
    notes = []
    for bound, name in product(bounds, learned(contents)):
        better = []
        for key, metric in metrics_of(contents).items():
            summary = summarise(contents["rows"], key)
            mine, theirs = (summary[label][0][-1] for label in (name, bound))
            if (mine - theirs) * (-1) ** metric.falls > 0 and metric.written(mine) != metric.written(theirs):
                figures = f"{metric.title} {metric.written(mine)} against {metric.written(theirs)} {metric.unit}"
                better += [figures.rstrip()] if metric.by_look else []
        if better:
            notes.append(
                f"{name} is better than {bound} ({', '.join(better)}): {_why(bounds[bound], asks_for_target)}."
            )
    return notes


def _why(bound: dict[str, Any], asks_for_target: bool) -> str:
    """Say why a bound can be beaten."""
    if bound["agent"] == "greedy_oracle":
        return "that bound looks one step ahead at a few gazes, and a policy can plan further"
    if not asks_for_target:
        return "it looks near the target, and this task asks for more than the target: it is no bound here"
    return (
        f"it draws each gaze near the centre of the target (a deviation of {bound['options']['deviation']:g} sides; "
        "of a count that is the whole image), whatever was seen by then; a policy can look where the encoder needs it"
    )


def each_once(names: Sequence[str]) -> None:
    """Raise ValueError if a name is there twice: only runs that differ in the seed are averaged."""
    for name in names:
        if list(names).count(name) > 1:
            raise ValueError(f"{name} is named twice")


def at_least_one(**counts: int) -> None:
    """Raise ValueError unless each count is at least 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
