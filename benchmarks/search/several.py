"""One perception for several questions against one perception for each of them."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import call, judged
from benchmarks.search import FOLDER, policies, remembered
from foveal_agents.base import load_agent, make_agent
from foveal_env.make import make_world
from foveal_env.sources.questions import QUESTIONS

STEPS = 2500  # of stage 1 for each question; the perception that answers all of them has as many for each
ENCODER = (  # that of `search`, whose features all of them begin with
    "--multizoom.patch 12 --multizoom.zooms 5 --multizoom.zoom_range [0,4] --multizoom.frequencies 5 "
    "--multizoom.width 128 --multizoom.heads 4 --multizoom.state_tokens 4"
)
STAGE1 = (
    f"--source questions --task several --questions.augment {ENCODER} --features search --looks 7 --spread 0.3 "
    "--learning_rate 1e-3"
)
GLIMPSES = 6
TRAINING = ["--reward", "gain", "--grpo.discount", "0.7"]
BUDGET = 100_000  # glimpses of training for each question
SCENES = 1000
BASELINES = ("random", "raster", "saliency", "oracle")


def perception(question: str | None) -> Path:
    """Return the perception of one question, or None: of all; trained where it is not there yet."""
    folder = FOLDER / "several" / f"perception-{question or 'all'}"
    if not (folder / "perception.safetensors").is_file():
        ask = [] if question is None else ["--questions.ask", question]
        steps = STEPS if question else STEPS * len(QUESTIONS)
        resume = ["--resume"] if (folder / "training.safetensors").is_file() else []
        call(f"pretrain {STAGE1} --steps {steps}", *ask, "--out", str(folder), *resume)
    return folder / "perception.safetensors"


def measure_one(question: str | None) -> dict[str, list[float]]:
    """Return the accuracy of five policies after the last glimpse, by question."""
    seen, folder = perception(question), FOLDER / "several" / (question or "all")
    asked = [question] if question else list(QUESTIONS)
    rules = ["--perception", str(seen), "--glimpses", str(GLIMPSES), "--train_glimpses", str(BUDGET * len(asked))]
    paths = policies(folder, ["grpo"], *rules, *TRAINING)["grpo"]
    found = {}
    for name in asked:
        world = make_world(perception=str(seen), split="test", task=name, glimpses=GLIMPSES, precision="auto")
        found[name] = [judged(world, load_agent(path, world), SCENES).accuracy[-1] for path in paths]
    return found


def measure_controls() -> dict[str, dict[str, float]]:
    """Return the accuracy of baselines on the shared perception, by question: after the first look, and at the end."""
    seen, found = perception(None), {}
    for name in QUESTIONS:
        world = make_world(perception=str(seen), split="test", task=name, glimpses=GLIMPSES, precision="auto")
        runs = {baseline: judged(world, make_agent(baseline, world), SCENES).accuracy for baseline in BASELINES}
        found[name] = {"the first look alone": runs["random"][0]}
        found[name] |= {baseline: curve[-1] for baseline, curve in runs.items()}
    return found


def measure() -> dict[str, Any]:
    """Return the accuracy of both by question, and the most points that the shared perception loses on one."""
    found = {
        question or "all": remembered(
            FOLDER / "several" / f"{question or 'all'}.json", lambda question=question: measure_one(question)
        )
        for question in (None, *QUESTIONS)
    }
    table = {
        name: {who: round(float(np.mean(found[key][name])), 4) for who, key in (("shared", "all"), ("own", name))}
        for name in QUESTIONS
    }
    found["baselines"] = remembered(FOLDER / "several" / "baselines.json", measure_controls)
    worst = max(100 * (entry["own"] - entry["shared"]) for entry in table.values())
    return {"multitask_worst_points": round(worst, 2), "multitask": table, "several": found}
