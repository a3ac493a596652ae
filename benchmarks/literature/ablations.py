"""What matters on `cluttered60`: short trainings that differ from the first of them in one setting each.

``python -m benchmarks.literature.ablations`` trains what is missing on training scenes, scores it on validation scenes
alone, and writes results/ablations.json and the tables of docs/notebook/ablations.md. ``--report`` makes the tables
again from the results.
"""

import argparse
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.command_line import run_command, with_prefix
from benchmarks.files import DOCS, RUNS, read_results, write_results
from benchmarks.literature.rows import ROWS
from benchmarks.literature.run import FOLDER as ROW_FOLDER
from benchmarks.markdown import put_in, table
from foveal_env.perception import Perception

ROW = ROWS["cluttered60"]
FOLDER = RUNS / "ablations"
PAGE = DOCS / "notebook" / "ablations.md"
PERCEPTION = ROW_FOLDER / "cluttered60" / "perception-0" / "round-0" / "perception.safetensors"
STEPS = 2000  # updates of pretraining
BUDGET = 200_000  # glimpses of policy training
SCENES = 6000  # of the validation split, all that it has

STAGE_1: dict[str, dict[str, Any]] = {
    "the row, seed 0": {},
    "the row, seed 1": {"seed": 1},
    "the row, seed 2": {"seed": 2},
    "gaze law: uniform": {"near_target": 0.0},
    "gaze law: near the target alone": {"near_target": 1.0},
    "gaze law: `near_deviation` 0.4 sides": {"near_deviation": 0.4},
    "no head that points at the target": {"auxiliary_task": None},
    "state back-propagated through time": {"backprop_through_time": True},
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
}  # fmt: skip
STAGE_2: dict[str, dict[str, Any]] = {
    "the row, seed 0": {},
    "the row, seed 1": {"seed": 1},
    "the row, seed 2": {"seed": 2},
    "`components` 1: a single Gaussian": {"grpo.components": 1},
    "`components` 2": {"grpo.components": 2},
    "`group_size` 2, `num_scenes` 256": {"grpo.group_size": 2, "grpo.num_scenes": 256},
    "`group_size` 16, `num_scenes` 32": {"grpo.group_size": 16, "grpo.num_scenes": 32},
    "`gamma` 0": {"grpo.gamma": 0.0},
    "`gamma` 1": {"grpo.gamma": 1.0},
    "reward `probability`": {"reward": "probability"},
    "reward `correct`": {"reward": "correct"},
    "`std_start` 0.1: deviation 0.1 to 0.05": {"grpo.std_start": 0.1},
    "`grid` 16: 16 x 16 Gaussians": {"grpo.grid": 16},
    "`ema_decay` 0: weights not averaged": {"grpo.ema_decay": 0.0},
}
DELETED = ("gaze law: from all near to 30 %", "weights averaged over updates, 0.99")  # whose options are no more


def folder_of(stage: str, name: str) -> Path:
    """Return where the training of an ablation is."""
    return FOLDER / stage / "".join(letter if letter.isalnum() else "-" for letter in name)


def measure_policy(folder: Path, perception: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Train a policy on a perception, if that is not done; return accuracies, also of its baselines, and the date."""
    if not (folder / "results.json").is_file():
        run_command(
            "compare",
            {
                **{"perception": perception, "glimpses": ROW.glimpses, "precision": "auto", "seeds": 1},
                **{"split": "validation", "scenes": SCENES, "train_glimpses": BUDGET, "learners": ("grpo",)},
                **{"baselines": ("random", "oracle"), "reward": ROW.reward, "seed": 0, "resume": True},
                **with_prefix("grpo", ROW.agent_options["grpo"]),
                **changes,
                "out": folder,
            },
        )
    path = folder / "results.json"
    rows, day = json.loads(path.read_text())["rows"], date.fromtimestamp(path.stat().st_mtime)
    return {**{row["agent"]: row["accuracy"][-1] for row in rows}, "date": day.isoformat()}


def measure_stage_1(name: str) -> dict[str, Any]:
    """Return what a short pretraining and a short policy training on it lead to, trained if need be."""
    folder = folder_of("stage-1", name)
    path = folder / "perception.safetensors"
    if not path.is_file():
        row = {**with_prefix("mnist", ROW.source_options), **with_prefix("multizoom", ROW.encoder), **ROW.rounds[0]}
        chosen = {"source": "mnist", **row, "steps": STEPS, "seed": 0, **STAGE_1[name]}
        chosen = {key: value for key, value in chosen.items() if value is not None}
        resume = (folder / "training.safetensors").is_file()
        run_command("pretrain", {**chosen, "out": folder, "resume": resume})
    perception = Perception.load(path)
    return {
        **measure_policy(folder / "policy", path, {}),
        "cpu_minutes": round(perception.spec["spent"]["cpu_seconds"] / 60, 1),
        "parameters": sum(parameter.numel() for parameter in perception.parameters()),
    }


def measure_stage_2(name: str) -> dict[str, Any]:
    """Return what a short policy training on the row's perception after its first round leads to."""
    return measure_policy(folder_of("stage-2", name), PERCEPTION, STAGE_2[name])


def stage_1_table(found: dict[str, dict[str, Any]]) -> str:
    """Return the table of the ablations of pretraining."""
    heads = ["date", "the one change", "random", "GRPO", "near the target", "CPU min", "parameters"]
    lines = []
    for name, entry in found.items():
        accuracies = [f"{100 * entry[agent]:.1f}" for agent in ("random", "grpo", "oracle")]
        shown = f"{name} (option since deleted)" if name in DELETED else name
        lines.append([entry["date"], shown, *accuracies, f"{entry['cpu_minutes']:.1f}", f"{entry['parameters']:,}"])
    return table(heads, lines)


def stage_2_table(found: dict[str, dict[str, Any]]) -> str:
    """Return the table of the ablations of policy training."""
    lines = [[entry["date"], name, f"{100 * entry['grpo']:.1f}"] for name, entry in found.items()]
    return table(["date", "the one change", "GRPO"], lines)


def report(contents: dict[str, Any]) -> None:
    """Put the tables into the page."""
    for name, text in (
        ("stage-1", stage_1_table(contents["stage 1"])),
        ("stage-2", stage_2_table(contents["stage 2"])),
    ):
        put_in(PAGE, f"literature.ablations.{name}", text)
        print(f"{text}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, of the ablations named or of all, and write the tables of all that are done."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.literature.ablations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for stage, what, known in (("1", "pretraining", STAGE_1), ("2", "policy training", STAGE_2)):
        parser.add_argument(
            f"--stage{stage}", nargs="*", metavar="NAME", choices=list(known), help=f"only these of {what}"
        )
    parser.add_argument("--report", action="store_true", help="make the tables from the results alone")
    chosen = parser.parse_args(arguments)
    if not chosen.report:
        everything = chosen.stage1 is None and chosen.stage2 is None
        contents = read_results("ablations")
        contents |= {"command": "python -m benchmarks.literature.ablations", "split": "validation", "scenes": SCENES}
        for stage, names, measure in (
            ("stage 1", STAGE_1 if everything else chosen.stage1 or (), measure_stage_1),
            ("stage 2", STAGE_2 if everything else chosen.stage2 or (), measure_stage_2),
        ):
            contents[stage] = {**contents.get(stage, {}), **{name: measure(name) for name in names}}
        write_results("ablations", contents)
    report(read_results("ablations"))


if __name__ == "__main__":
    main()
