"""What matters on `cluttered60`: short trainings that differ from the first of them in one setting each.

``python -m benchmarks.literature.ablations`` trains what is missing under runs/benchmarks/ablations, on training scenes, judges on
validation scenes alone, and writes results/ablations.json and the table in benchmarks/README.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, ROOT, call, put_in
from benchmarks.literature.run import FOLDER as ROW_FOLDER
from benchmarks.literature.run import ROWS, options
from foveal_env.checkpoint import write_json
from foveal_env.perception import Perception

ROW = ROWS["cluttered60"]
FOLDER = ROOT / "runs" / "benchmarks" / "ablations"
PERCEPTION = ROW_FOLDER / "cluttered60" / "perception-0" / "round-0" / "perception.safetensors"
STEPS = 2000  # updates of stage 1
BUDGET = 200_000  # glimpses of stage 2
SCENES = 6000  # of the validation split, all that it has

STAGE_1: dict[str, dict[str, Any]] = {
    "the row, seed 0": {},
    "the row, seed 1": {"seed": 1},
    "the row, seed 2": {"seed": 2},
    "gaze law: uniform": {"near": 0.0},
    "gaze law: near the target alone": {"near": 1.0},
    "gaze law: from all near to 30 %": {"near": 1.0, "last_near": 0.3},
    "gaze law: near with a deviation of 0.4 sides": {"spread": 0.4},
    "no head that points at the target": {"beside": None},
    "state back-propagated through time": {"through_time": True},
    "state tokens: 1": {"multizoom.state_tokens": 1},
    "state tokens: 8": {"multizoom.state_tokens": 8},
    "zooms: 60 and 24 px windows as 16 px": {
        "multizoom.patch": 16, "multizoom.zooms": 2, "multizoom.zoom_range": [0, 1.3219],
    },
    "zooms: 120 and 24 px windows as 16 px": {
        "multizoom.patch": 16, "multizoom.zooms": 2, "multizoom.zoom_range": [-1, 1.3219],
    },
    "foveal grid: 2 x 2 patches of 12 px in place of one of 24": {
        "multizoom.patch": 12, "multizoom.zooms": 0, "multizoom.grid": 2, "multizoom.grid_zoom": 2.3219,
    },
    "stem: twice as many filters": {"multizoom.filters": 64},
    "width 64": {"multizoom.width": 64},
    "width 256": {"multizoom.width": 256},
    "depth 1": {"multizoom.depth": 1},
    "depth 4": {"multizoom.depth": 4},
    "no augmentation": {"mnist.augment": False},
    "weights averaged over updates, 0.99": {"averaging": 0.99},
}  # fmt: skip
STAGE_2: dict[str, dict[str, Any]] = {
    "the row, seed 0": {},
    "the row, seed 1": {"seed": 1},
    "the row, seed 2": {"seed": 2},
    "a single Gaussian": {"grpo.mixtures": 1},
    "2 Gaussians": {"grpo.mixtures": 2},
    "groups of 2, 256 scenes": {"grpo.group": 2, "grpo.scenes": 256},
    "groups of 16, 32 scenes": {"grpo.group": 16, "grpo.scenes": 32},
    "discount 0": {"grpo.discount": 0.0},
    "discount 1": {"grpo.discount": 1.0},
    "reward probability": {"reward": "probability"},
    "reward correct": {"reward": "correct"},
    "deviation 0.1 to 0.05": {"grpo.first_deviation": 0.1},
    "grid of 16 x 16 Gaussians": {"grpo.grid": 16},
    "weights not averaged": {"grpo.averaging": 0.0},
}


def folder_of(stage: str, name: str) -> Path:
    """Return where the training of an ablation is."""
    return FOLDER / stage / "".join(letter if letter.isalnum() else "-" for letter in name)


def policy(folder: Path, perception: str, changes: dict[str, Any]) -> dict[str, float]:
    """Train a policy on a perception and judge it and its baselines, if that is not done; return their accuracies."""
    if not (folder / "results.json").is_file():
        chosen = {"reward": ROW.reward, "seed": 0, "grpo.discount": ROW.agent_options["grpo"]["discount"], **changes}
        call(
            f"compare --perception {perception} --glimpses {ROW.glimpses} --precision auto --seeds 1 "
            f"--split validation --scenes {SCENES} --train_glimpses {BUDGET} --learners grpo "
            "--baselines random oracle --oracle.spread 0.15",
            *options("", chosen),
            *["--out", str(folder)],
        )
    rows = json.loads((folder / "results.json").read_text())["rows"]
    return {row["agent"]: row["accuracy"][-1] for row in rows}


def stage_1(name: str) -> dict[str, float]:
    """Return what a short stage 1 and a short stage 2 on it lead to, trained if need be."""
    folder = folder_of("stage-1", name)
    path = folder / "perception.safetensors"
    if not path.is_file():
        row = {
            **{f"mnist.{key}": value for key, value in ROW.source_options.items()},
            **{f"multizoom.{key}": value for key, value in ROW.encoder.items()},
            **ROW.rounds[0],
        }
        chosen = {**row, "steps": STEPS, "seed": 0, **STAGE_1[name]}
        chosen = {key: value for key, value in chosen.items() if value is not None}
        resume = ["--resume"] if (folder / "training.safetensors").is_file() else []
        call("pretrain --source mnist", *options("", chosen), "--out", str(folder), *resume)
    perception = Perception.load(path)
    return {
        **policy(folder / "policy", str(path), {}),
        "cpu_minutes": round(perception.spec["spent"]["cpu_seconds"] / 60, 1),
        "parameters": sum(parameter.numel() for parameter in perception.parameters()),
    }


def stage_2(name: str) -> dict[str, float]:
    """Return what a short stage 2 on the row's perception after its first round leads to, trained if need be."""
    return policy(folder_of("stage-2", name), str(PERCEPTION), STAGE_2[name])


def tables(contents: dict[str, Any]) -> str:
    """Return the tables in Markdown, one for each stage of which anything is done."""
    lines = []
    if contents["stage 1"]:
        lines += [
            f"| stage 1, {STEPS:,} updates; GRPO {BUDGET:,} glimpses | random | GRPO | near the target, 0.15 | CPU min "
            "| parameters |",
            "|---|---|---|---|---|---|",
        ]
    for name, found in contents["stage 1"].items():
        accuracies = " | ".join(f"{100 * found[agent]:.1f}" for agent in ("random", "grpo", "oracle"))
        lines.append(f"| {name} | {accuracies} | {found['cpu_minutes']:.1f} | {found['parameters']:,} |")
    if contents["stage 2"]:
        lines += ["", f"| stage 2 after the first round of `cluttered60`, {BUDGET:,} glimpses | GRPO |", "|---|---|"]
    lines += [f"| {name} | {100 * found['grpo']:.1f} |" for name, found in contents["stage 2"].items()]
    return "\n".join(lines).strip()


def main() -> None:
    """Train what is missing, of the ablations named or of all, and write the table of all that are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage1", nargs="*", metavar="NAME", choices=list(STAGE_1), help="only these of stage 1")
    parser.add_argument("--stage2", nargs="*", metavar="NAME", choices=list(STAGE_2), help="only these of stage 2")
    chosen = parser.parse_args()
    everything = chosen.stage1 is None and chosen.stage2 is None
    for name in STAGE_1 if everything else chosen.stage1 or []:
        stage_1(name)
    for name in STAGE_2 if everything else chosen.stage2 or []:
        stage_2(name)
    contents = {
        "command": "python -m benchmarks.literature.ablations",
        "split": "validation",
        "scenes": SCENES,
        "stage 1": {name: stage_1(name) for name in STAGE_1 if is_done("stage-1", name)},
        "stage 2": {name: stage_2(name) for name in STAGE_2 if is_done("stage-2", name)},
    }
    write_json(RESULTS / "ablations.json", contents)
    put_in(ROOT / "benchmarks" / "README.md", "ablations", tables(contents))
    print(tables(contents))


def is_done(stage: str, name: str) -> bool:
    """Return whether an ablation has its results."""
    folder = folder_of(stage, name)
    return (folder / "policy" / "results.json" if stage == "stage-1" else folder / "results.json").is_file()


if __name__ == "__main__":
    main()
