"""The comparison of agents on the shipped perception: GRPO, PPO and A2C at equal glimpses, beside every baseline.

Options are passed on to `train.py compare`: ``python -m benchmarks.agents --resume`` goes on after an interruption.
"""

import json
import shutil
import sys

import torch

import train
from benchmarks import ROOT, publish
from foveal_agents.results import gap_closed, table

FOLDER = ROOT / "runs" / "benchmarks" / "agents"
LEARNERS = ("grpo", "ppo", "a2c")
BASELINES = ("random", "centre", "raster", "spiral", "oracle", "greedy_oracle")
SEEDS = 3


def main() -> None:
    """Run the comparison and publish it."""
    arguments = ["compare", "--reward", "probability", "--precision", "auto", "--seeds", str(SEEDS)]
    train.main([*arguments, "--learners", *LEARNERS, "--baselines", *BASELINES, "--out", str(FOLDER), *sys.argv[1:]])
    results = json.loads((FOLDER / "results.json").read_text())
    results["command"] = "python -m benchmarks.agents"
    closed = {name: gap_closed(results["rows"], name) for name in LEARNERS}
    results["gap_closed"] = {name: round(share, 3) for name, share in closed.items()}
    pixels = results["sensor_pixels_per_glimpse"]
    spent = sorted({entry["train_glimpses"] for entry in results["rows"] if entry["train_glimpses"]})
    budget = " to ".join(f"{glimpses:,}" for glimpses in dict.fromkeys((spent[0], spent[-1])))
    runs = {seed: [e for e in results["rows"] if e["seed"] == seed or not e["train_glimpses"]] for seed in range(SEEDS)}
    by_seed = ", ".join(
        f"{gap_closed(runs[entry['seed']], 'grpo'):.0%} in {entry['train_seconds']:.0f} s"
        for entry in results["rows"]
        if entry["agent"] == "grpo"
    )
    notes = [
        f"Mean ± half width of the 95 % interval over {SEEDS} seeds, {results['scenes']} test scenes on a canvas of "
        f"{results['canvas']} px, {pixels} sensor pixels a glimpse ({pixels / results['canvas'] ** 2:.1%} of the "
        f"image), {budget} glimpses of training for each learner, whose updates are of different sizes; "
        f"{torch.get_num_threads()} CPU threads. At the last glimpse "
        + ", ".join(f"{name} closes {share:.0%}" for name, share in closed.items())
        + f" of the distance from `random` to `oracle` (the seeds of grpo: {by_seed}). `oracle` looks near the target "
        "because it knows where it is; `greedy_oracle` knows the label as well: bounds, not competitors. "
        "`python -m benchmarks.agents` makes it again.",
        "![Accuracy against glimpses](docs/accuracy.png)",
    ]
    (ROOT / "docs").mkdir(exist_ok=True)
    shutil.copy(FOLDER / "accuracy.png", ROOT / "docs" / "accuracy.png")
    publish("agents", results, "\n\n".join([table(results), *notes]))


if __name__ == "__main__":
    main()
