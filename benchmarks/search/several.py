"""One perception for several questions against one perception for each of them."""

from pathlib import Path
from typing import Any

import numpy as np

from agents.base import load_agent
from benchmarks import call
from benchmarks.search import FOLDER, judged, policies, remembered
from foveal_env.sources.questions import QUESTIONS
from foveal_env.world import make_world

FEATURE_STEPS = 2500  # of the classifier whose encoder all of them begin with
STEPS = 3000  # of stage 1 for each question; the perception that answers all of them has as many for each
ENCODER = (
    "--multizoom.patch 12 --multizoom.zooms 4 --multizoom.zoom_range [0,2.4] --multizoom.frequencies 3 "
    "--multizoom.width 128 --multizoom.heads 4 --multizoom.state_tokens 4"
)
FEATURES = (
    "--source ladder --ladder.of digits --ladder.canvases [180] --ladder.clutter 4 --ladder.augment "
    f"{ENCODER} --looks 4 --spread 0.3 --beside point"
)
STAGE1 = f"--source questions --task several --questions.augment {ENCODER} --looks 7 --spread 0.3 --learning_rate 1e-3"
GLIMPSES = 6
TRAINING = ["--reward", "gain", "--grpo.discount", "0.7"]
BUDGET = 200_000  # glimpses of training for each question
SCENES = 1000


def pretrained(folder: Path, *options: str) -> Path:
    """Return the perception in a folder; trained with these options where it is not there yet."""
    if not (folder / "perception.safetensors").is_file():
        resume = ["--resume"] if (folder / "training.safetensors").is_file() else []
        call("pretrain", *options, "--out", str(folder), *resume)
    return folder / "perception.safetensors"


def perception(question: str | None) -> Path:
    """Return the perception of one question, or None: of all."""
    features = pretrained(FOLDER / "several" / "features", *FEATURES.split(), "--steps", str(FEATURE_STEPS))
    ask = [] if question is None else ["--questions.ask", question]
    steps = STEPS if question else STEPS * len(QUESTIONS)
    options = [*STAGE1.split(), *ask, "--features", str(features), "--steps", str(steps)]
    return pretrained(FOLDER / "several" / f"perception-{question or 'all'}", *options)


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
    worst = max(100 * (entry["own"] - entry["shared"]) for entry in table.values())
    return {"multitask_worst_points": round(worst, 2), "multitask": table, "several": found}
