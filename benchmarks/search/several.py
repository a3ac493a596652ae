"""One perception for several questions against one perception for each of them."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import run_command, with_prefix
from benchmarks.evaluation import evaluate_in_batches
from benchmarks.files import measured_once
from benchmarks.search.training import FOLDER, train_policies
from foveal_agents.base import make_agent
from foveal_agents.policy_files import load_agent
from foveal_env.make import make_world
from foveal_env.sources.questions import QUESTIONS
from foveal_env.world import World

STEPS = 2500  # updates of pretraining for each question; the perception that answers all of them has as many for each
ENCODER = {  # that of `search`, whose features all of them begin with
    "patch": 12, "zooms": 5, "zoom_range": [0, 4], "frequencies": 5, "width": 128, "heads": 4, "state_tokens": 4,
}  # fmt: skip
PRETRAINING = {
    **{"source": "questions", "task": "several", "questions.augment": True, "features": "search"},
    **with_prefix("multizoom", ENCODER),
    **{"glimpses": 6, "near_deviation": 0.3, "learning_rate": 1e-3},
}
GLIMPSES = 6
TRAINING = {"glimpses": GLIMPSES, "reward": "gain", "grpo.gamma": 0.7}
BUDGET = 100_000  # glimpses of training for each question
SCENES = 1000
BASELINES = ("random", "raster", "saliency", "oracle")


def perception_of(question: str | None) -> Path:
    """Return the perception of one question, or None: of all; pretrained if it is not there yet."""
    folder = FOLDER / "several" / f"perception-{question or 'all'}"
    if not (folder / "perception.safetensors").is_file():
        asked = {"steps": STEPS, "questions.ask": question} if question else {"steps": STEPS * len(QUESTIONS)}
        resume = (folder / "training.safetensors").is_file()
        run_command("pretrain", {**PRETRAINING, **asked, "out": folder, "resume": resume})
    return folder / "perception.safetensors"


def world_of(perception: Path, question: str) -> World:
    """Return the world of test scenes in which a perception is asked one question."""
    return make_world(perception=str(perception), split="test", task=question, glimpses=GLIMPSES, precision="auto")


def measure_policies(question: str | None) -> dict[str, list[float]]:
    """Return the accuracy of five policies after the last glimpse, by question."""
    perception, folder = perception_of(question), FOLDER / "several" / (question or "all")
    asked = [question] if question else list(QUESTIONS)
    options = {"perception": perception, **TRAINING, "train_glimpses": BUDGET * len(asked)}
    paths = train_policies(folder, "grpo", options)
    found = {}
    for name in asked:
        world = world_of(perception, name)
        found[name] = [evaluate_in_batches(world, load_agent(path, world), SCENES).accuracy[-1] for path in paths]
    return found


def measure_baselines() -> dict[str, dict[str, float]]:
    """Return the accuracy of baselines on the shared perception, by question: after the first look, and at the end."""
    perception, found = perception_of(None), {}
    for name in QUESTIONS:
        world = world_of(perception, name)
        runs = {agent: evaluate_in_batches(world, make_agent(agent, world), SCENES).accuracy for agent in BASELINES}
        found[name] = {"the first look alone": runs["random"][0]}
        found[name] |= {agent: curve[-1] for agent, curve in runs.items()}
    return found


def measure() -> dict[str, Any]:
    """Return the accuracy of both by question, and the most points that the shared perception loses on one."""
    folder = FOLDER / "several"
    found: dict[str, Any] = {
        question or "all": measured_once(folder / f"{question or 'all'}.json", partial(measure_policies, question))
        for question in (None, *QUESTIONS)
    }
    table = {
        name: {who: round(float(np.mean(found[key][name])), 4) for who, key in (("shared", "all"), ("own", name))}
        for name in QUESTIONS
    }
    found["baselines"] = measured_once(folder / "baselines.json", measure_baselines)
    worst = max(100 * (entry["own"] - entry["shared"]) for entry in table.values())
    return {"multitask_worst_points": round(worst, 2), "multitask": table, "several": found}
