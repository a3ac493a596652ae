"""The evidence: rows of the glimpse literature, from stage 1 to the test table, each with its baselines and seeds.

``python -m benchmarks.literature.run --row cluttered60`` makes a row from the data under FOVEAL_DATA and writes
results/cluttered60.json; it goes on where it was interrupted. ``--report`` makes every table and plot again from the
files in results/.
"""

import argparse
import json
import math
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import RESULTS, ROOT, call, judged
from benchmarks.literature.full_image import ConvNet, ViT, accuracy_full_image, train_full_image
from foveal_agents.base import Agent, load_agent, make_agent
from foveal_agents.results import results
from foveal_agents.results import row as entry_of
from foveal_encoders.base import Glimpse
from foveal_env import checkpoint
from foveal_env.checkpoint import write_json
from foveal_env.make import make_source, make_world
from foveal_env.perception import Perception
from foveal_env.world import World

FOLDER = ROOT / "runs" / "benchmarks" / "glimpses"
AGENT_OPTIONS = {
    "oracle": {"spread": 0.15},
    "grpo": {"discount": 0.7},
    "ppo": {"gamma": 0.7},
    "a2c": {"gamma": 0.7},
    "sac": {"gamma": 0.7},
}
BASELINES = ("random", "centre", "raster", "oracle", "greedy_oracle")


@dataclass(frozen=True)
class Row:
    """How a row is made; every setting was chosen on validation scenes.

    Args:
        source: name of the source.
        source_options: its options, those of the training split included.
        encoder: options of the multi-zoom encoder.
        rounds: stage 1: options of `train.py pretrain` of each round; between two rounds a policy is trained, which
            the next round follows (the stages alternate).
        between: glimpses of training of that policy.
        glimpses: glimpses after the first look.
        first_look: "centre", or None for no first look: then the glimpses are all there is, as in the papers.
        budget: glimpses of training of each policy.
        learners: agents that learn on the first perception; on the others it is the first of them alone.
        reward: of the environment, for all learners.
        agent_options: options of each agent, by its name.
        full_image: makes the nets that read the whole image, by name; one seed of each.
        full_image_minutes: CPU minutes of their training, at most; without it as many as stage 1 took.
        side: side of the image that those read, in px; where there are several canvases, they learn on this one.
        scenes: test scenes, of each canvas.
        canvases: sides in px that everything is tested on, where the source has several.
        perceptions: seeds of stage 1.
        policies: seeds of stage 2.
        to_beat: what the literature has, in words.
    """

    source: str
    source_options: dict[str, Any]
    encoder: dict[str, Any]
    rounds: tuple[dict[str, Any], ...]
    glimpses: int
    budget: int
    to_beat: str
    side: int
    full_image: dict[str, Callable[[], torch.nn.Module]] = field(default_factory=dict)
    full_image_minutes: float = math.inf
    learners: tuple[str, ...] = ("grpo", "ppo", "a2c", "sac")
    between: int = 400_000
    reward: str = "gain"
    first_look: str | None = "centre"
    agent_options: dict[str, dict[str, Any]] = field(default_factory=lambda: AGENT_OPTIONS)
    baselines: tuple[str, ...] = BASELINES
    scenes: int = 10_000
    canvases: tuple[int, ...] = ()
    perceptions: int = 2
    policies: int = 5


ROWS: dict[str, Row] = {
    "cluttered60": Row(
        source="mnist",
        source_options={"canvas": 60, "clutter": 4, "augment": True},
        encoder={
            "patch": 24, "zooms": 1, "zoom_range": [1.3219, 1.3219], "width": 128, "heads": 4, "state_tokens": 4,
        },
        rounds=(
            {"steps": 30_000, "looks": 6, "spread": 0.2, "beside": "point"},
            {"steps": 10_000, "looks": 6, "spread": 0.2, "beside": "point", "learning_rate": 1e-3},
        ),
        glimpses=5,
        budget=400_000,
        side=60,
        to_beat="2.13 (mean of ten passes; 3,456 px)",
        full_image={"conv net": lambda: ConvNet(1, 10)},
        full_image_minutes=17,
    ),
    "cluttered100": Row(
        source="mnist",
        source_options={"canvas": 100, "clutter": 8, "augment": True},
        encoder={
            "patch": 16, "zooms": 2, "zoom_range": [0.474, 2.0589], "width": 128, "heads": 4, "state_tokens": 4,
        },
        rounds=(
            {"steps": 14_000, "looks": 5, "spread": 0.2, "beside": "point"},
            {"steps": 20_000, "looks": 5, "spread": 0.2, "beside": "point", "learning_rate": 1e-3},
        ),
        glimpses=4,
        budget=400_000,
        side=100,
        to_beat="1.71 (2,880 px)",
        full_image={"conv net": lambda: ConvNet(1, 10)},
        full_image_minutes=23,
    ),
    "ladder": Row(
        source="ladder",
        source_options={"augment": True, "approach": 0.5},
        encoder={
            "patch": 12, "zooms": 6, "zoom_range": [0, 5], "frequencies": 6, "contrast": True, "keypoints": 16,
            "width": 128, "heads": 4, "state_tokens": 4,
        },
        rounds=(
            {"steps": 6_000, "looks": 7, "spread": 0.2, "beside": "search"},
            {
                "ladder.canvases": [60, 100, 250, 250, 500, 500, 1000, 1000], "steps": 4_500, "looks": 9,
                "spread": 0.2, "beside": "search", "beside_weight": 1, "learning_rate": 1e-3,
            },
        ),
        between=600_000,
        glimpses=11,
        budget=600_000,
        side=100,
        to_beat="250 px: 12.2 (6,400 px); 1000 px: twice the error at 100 px",
        full_image={"conv net": lambda: ConvNet(1, 10)},
        full_image_minutes=5,
        learners=("grpo",),
        agent_options={
            "oracle": {"spread": 0.15},
            "greedy_oracle": {"grid": 4},
            "grpo": {
                "discount": 0.7, "grid": 16, "scenes": 64, "group": 8, "minibatch": 512, "entropy_weight": 0.02,
                "inhibition": 0.1, "imitation": 1,
            },
        },
        scenes=1000,
        canvases=(60, 100, 250, 500, 1000),
        perceptions=1,
    ),
    "imagenette": Row(
        source="imagenette",
        source_options={"augment": True},
        encoder={"patch": 16, "zooms": 2, "zoom_range": [1.5, 2.5], "width": 128, "heads": 4, "state_tokens": 8},
        rounds=({"steps": 4_500, "looks": 8, "first_look": None},),
        glimpses=8,
        first_look=None,
        budget=400_000,
        side=160,
        to_beat="random baseline + 3.3 points; ViT of the same width, depth and budget - 2 points",
        full_image={
            "ViT": lambda: ViT(3, 10, side=160, width=128, depth=2, heads=4),
            "conv net": lambda: ConvNet(3, 10),
        },
        learners=("grpo",),
        agent_options={"grpo": {"discount": 0.7, "grid": 8, "inhibition": 0.3}},
        baselines=("random", "centre", "raster", "spiral", "greedy_oracle"),
        scenes=3925,
        perceptions=1,
    ),
}  # fmt: skip


def options(prefix: str, chosen: dict[str, Any]) -> list[str]:
    """Return command-line options."""
    arguments = []
    for name, value in chosen.items():
        option = f"--{prefix}{name}"
        if value is not False:
            arguments += (
                [option]
                if value is True
                else [option, json.dumps(value) if value is None or isinstance(value, list) else str(value)]
            )
    return arguments


def pretrain(name: str, row: Row, seed: int) -> Path:
    """Run stage 1 for one seed, whatever of it is not done yet; return the perception's path."""
    shown = str(FOLDER.relative_to(Path.cwd())) if FOLDER.is_relative_to(Path.cwd()) else str(FOLDER)
    common = [*options(f"{row.source}.", row.source_options), *options("multizoom.", row.encoder)]
    before: Path | None = None
    for number, settings in enumerate(row.rounds):
        folder = Path(shown) / name / f"perception-{seed}" / f"round-{number}"
        perception = folder / "perception.safetensors"
        if not perception.is_file():
            arguments = ["--source", row.source, *common, *options("", settings)]
            arguments += ["--seed", str(seed + 100 * number)]  # other scenes than in the round before
            if before is not None:
                policy = before / "policy" / f"grpo-{seed}" / "policy.safetensors"
                if not (before / "policy" / "results.json").is_file():
                    call(
                        f"compare --learners grpo --baselines random oracle --seed {seed} --seeds 1 --split validation "
                        f"--scenes 1800 --resume --train_glimpses {row.between}",
                        *stage_two(row, before / "perception.safetensors", ("grpo", "random", "oracle")),
                        *["--out", str(before / "policy")],
                    )
                arguments += ["--start", str(before / "perception.safetensors"), "--policy", str(policy)]
            resume = ["--resume"] if (folder / "training.safetensors").is_file() else []
            call("pretrain", *arguments, "--out", str(folder), *resume)
        before = folder
    return perception


def stage_two(row: Row, perception: Path, agents: Sequence[str]) -> list[str]:
    """Return the options of stage 2: those that all agents share, and those of each."""
    rules = options("", {"glimpses": row.glimpses, "reward": row.reward, "first_look": row.first_look})
    rules += ["--precision", "auto"]
    own = [word for agent in agents for word in options(f"{agent}.", row.agent_options.get(agent, {}))]
    return ["--perception", str(perception), *rules, *own]


def compare(row: Row, seed: int, perception: Path) -> dict[str, Any]:
    """Train and test all agents on one perception; return the results."""
    folder = perception.parent.parent / "agents"
    learners, done = row.learners if seed == 0 else row.learners[:1], folder / "done.json"
    if not done.is_file() or json.loads(done.read_text()) != list(learners):
        call(
            f"compare --learners {' '.join(learners)} "
            f"--baselines {' '.join(row.baselines)} --seeds {row.policies} --scenes {row.scenes} --resume "
            f"--train_glimpses {row.budget} --curve 20",
            *stage_two(row, perception, (*row.baselines, *learners)),
            *["--out", str(folder)],
        )
        write_json(done, list(learners))
    return json.loads((folder / "results.json").read_text())


def compare_canvases(row: Row, seed: int, perception: Path) -> dict[str, Any]:
    """Train on all canvases at once and test all agents on each; return the results, whose rows have a "canvas"."""
    folder = perception.parent.parent / "agents"
    if not (folder / "results.json").is_file():
        call(
            f"compare --learners {' '.join(row.learners)} --baselines random oracle --seeds {row.policies} --resume "
            f"--split validation --scenes 1800 --train_glimpses {row.budget} --curve 20",
            *stage_two(row, perception, ("oracle", *row.learners)),
            *["--out", str(folder)],
        )
    trained = {
        (entry["agent"], entry["seed"]): entry for entry in json.loads((folder / "results.json").read_text())["rows"]
    }
    rows: list[dict[str, Any]] = []
    for canvas in row.canvases:
        path = folder / f"canvas-{canvas}.json"
        world = make_world(
            perception=str(perception), canvas=canvas, split="test", glimpses=row.glimpses, precision="auto"
        )
        if not path.is_file():
            found = [tested(world, agent, canvas, row.scenes) for agent in agents_of(row, world, folder)]
            write_json(path, found)
        for entry in json.loads(path.read_text()):
            own = trained.get((entry["agent"], entry["seed"]), {})
            kept = {key: own[key] for key in ("curve", "train_cpu_seconds") if key in own}
            rows.append({**entry, **kept})
    return {**results(world, rows, command="", seed=seed, scenes=row.scenes), "canvas": list(row.canvases)}


def agents_of(row: Row, world: World, folder: Path) -> Iterator[Agent]:
    """Yield the baselines of a row, those that draw their gaze once for each seed, and its trained policies."""
    for seed in range(row.policies):
        for name in row.baselines:
            agent = make_agent(name, world, seed=seed, **row.agent_options.get(name, {}))
            if agent.is_stochastic or seed == 0:
                yield agent
        for name in row.learners:
            yield load_agent(folder / f"{name}-{seed}" / "policy.safetensors", world)


def tested(world: World, agent: Agent, canvas: int, scenes: int) -> dict[str, Any]:
    """Return the entry of an agent on one canvas."""
    entry = {"canvas": canvas, **entry_of(agent, judged(world, agent, scenes))}
    print(f"{canvas} px, {agent.name} {agent.seed}: {entry['accuracy'][-1]:.2%}", flush=True)
    return entry


def full_image_rows(name: str, row: Row, seed: int, minutes: float) -> list[dict[str, Any]]:
    """Train and test the nets that see the whole image, each in the CPU time of stage 1."""
    rows = []
    for baseline, make in row.full_image.items():
        path = FOLDER / name / f"{baseline}-{seed}.json"
        if not path.is_file():
            own = [{"canvas": canvas} for canvas in row.canvases]
            source = make_source(
                row.source, "train", **row.source_options, **({"canvas": row.side} if row.canvases else {})
            )
            torch.manual_seed(seed)
            net = make()
            spent = train_full_image(net, source, side=row.side, minutes=minutes, seed=seed)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                net(torch.zeros(1, source.channels, row.side, row.side))
            entry = {
                "agent": baseline,
                "seed": seed,
                "train_glimpses": 0,
                "train_seconds": spent["cpu_seconds"],
                "steps": spent["steps"],
                "parameters": sum(p.numel() for p in net.parameters()),
                "flops": counter.get_total_flops(),
            }
            found = []
            for canvas in own or [{}]:
                shown = make_source(row.source, "test", **row.source_options, **canvas)
                accuracy = accuracy_full_image(net, shown, side=canvas.get("canvas", row.side), scenes=row.scenes)
                found.append({**canvas, **entry, "accuracy": [round(accuracy, 4)] * (row.glimpses + 1)})
            write_json(path, found)
        rows += json.loads(path.read_text())
    return rows


def cost(perception: Perception) -> dict[str, int]:
    """Return the parameters of encoder and head, and the FLOPs of one glimpse of one image."""
    encoder, layout = perception.encoder, perception.encoder.layout
    patches = torch.zeros(1, layout.patches, encoder.channels, layout.patch, layout.patch)
    prompt = torch.zeros(1, encoder.prompt_size) if encoder.prompt_size else None
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        state = encoder.initial(1, prompt)
        perception.task(encoder.step(state, Glimpse(patches, torch.zeros(1, layout.patches, 3))))
    parameters = sum(parameter.numel() for parameter in perception.parameters())
    return {"parameters": parameters, "flops_per_glimpse": counter.get_total_flops()}


def between_rounds(perception: Path) -> float:
    """Return the CPU seconds of the policies that the rounds of stage 1 have followed."""
    headers = [
        checkpoint.load(path, "policy")[1]
        for path in perception.parent.parent.glob("round-*/policy/*/policy.safetensors")
    ]
    return sum(header.get("cpu_seconds", header["seconds"]) for header in headers)


def make(name: str, row: Row, command: str) -> None:
    """Make a row, or what is missing of it, and write its results."""
    rows: list[dict[str, Any]] = []
    contents: dict[str, Any] = {}
    for seed in range(row.perceptions):
        path = pretrain(name, row, seed)
        perception = Perception.load(path)
        spent = perception.spec["spent"]
        about = {
            "perception_seed": seed,
            "stage1_seconds": spent["seconds"],
            "stage1_cpu_seconds": round(spent["cpu_seconds"] + between_rounds(path), 1),
            "stage1_command": perception.spec["command"],
            **cost(perception),
        }
        found = compare_canvases(row, seed, path) if row.canvases else compare(row, seed, path)
        contents = contents or found
        rows += [{**entry, **about} for entry in found["rows"]]
        if seed == 0:
            minutes = min(row.full_image_minutes, about["stage1_cpu_seconds"] / 60)
            rows += [{**about, **entry} for entry in full_image_rows(name, row, seed, minutes)]
    contents = {
        **contents,
        "command": command,
        "perception": f"{row.perceptions} seeds",
        "first_look": row.first_look,
        "sensor_pixels": contents["sensor_pixels_per_glimpse"] * (row.glimpses + (row.first_look is not None)),
        "to_beat": row.to_beat,
        "agent_options": row.agent_options,
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    write_json(RESULTS / f"{name}.json", contents)


def main() -> None:
    """Make a row, or all tables and plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", choices=list(ROWS), help="the row to make")
    parser.add_argument("--stage1", type=int, metavar="SEED", help="only stage 1 of the row, with this seed")
    parser.add_argument("--perceptions", type=int, help="seeds of stage 1, by default as many as the row has")
    parser.add_argument("--learners", nargs="+", help="agents that learn, by default those of the row")
    parser.add_argument("--report", action="store_true", help="make the tables and plots of all rows in results/")
    chosen = parser.parse_args()
    if chosen.row:
        row, command = ROWS[chosen.row], shlex.join(["python", "-m", "benchmarks.literature.run", *sys.argv[1:]])
        changes = {"perceptions": chosen.perceptions, "learners": chosen.learners and tuple(chosen.learners)}
        row = replace(row, **{name: value for name, value in changes.items() if value})
    if chosen.row and chosen.stage1 is not None:
        pretrain(chosen.row, row, chosen.stage1)
        return
    if chosen.row:
        make(chosen.row, row, command)
    if chosen.row or chosen.report:
        from benchmarks.literature.report import report

        report()
    else:
        parser.print_help()


if __name__ == "__main__":
    main()
