"""How a row is made: pretraining, policies, tests and what each costs; whatever is done already is not done again."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.command_line import run_command, with_prefix
from benchmarks.evaluation import baselines, evaluate_in_batches
from benchmarks.files import RUNS, as_typed, measured_once, write_results
from benchmarks.literature.full_image import full_image_entries
from benchmarks.literature.rows import Row
from foveal_agents.base import Agent
from foveal_agents.policy_files import load_agent
from foveal_agents.results import results
from foveal_agents.results import row as entry_of
from foveal_encoders.base import Glimpse
from foveal_env import checkpoint
from foveal_env.checkpoint import write_json
from foveal_env.make import make_world
from foveal_env.perception import Perception
from foveal_env.world import World

FOLDER = RUNS / "literature"


def pretrain(name: str, row: Row, seed: int) -> Path:
    """Pretrain a perception in all rounds, as far as that is not done; return its path."""
    before: Path | None = None
    folders = [Path(as_typed(FOLDER)) / name / f"perception-{seed}" / f"round-{n}" for n in range(len(row.rounds))]
    for number, (folder, settings) in enumerate(zip(folders, row.rounds, strict=True)):
        if not (folder / "perception.safetensors").is_file():
            run_command(
                "pretrain",
                {
                    "source": row.source,
                    **with_prefix(row.source, row.source_options),
                    **with_prefix("multizoom", row.encoder),
                    **settings,
                    "seed": seed + 100 * number,  # other scenes than in the round before
                    **({} if before is None else start_of_round(row, before, seed)),
                    "out": folder,
                    "resume": (folder / "training.safetensors").is_file(),
                },
            )
        before = folder
    return folders[-1] / "perception.safetensors"


def start_of_round(row: Row, before: Path, seed: int) -> dict[str, Any]:
    """Train the policy that a round follows, if that is not done; return what the round starts from."""
    perception, folder = before / "perception.safetensors", before / "policy"
    if not (folder / "results.json").is_file():
        run_command(
            "compare",
            {
                **{"learners": ("grpo",), "baselines": ("random", "oracle"), "seed": seed, "seeds": 1},
                **{"split": "validation", "scenes": 1800, "train_glimpses": row.between, "resume": True},
                **policy_training(row, perception, ("grpo", "random", "oracle")),
                "out": folder,
            },
        )
    return {"start": perception, "policy": folder / f"grpo-{seed}" / "policy.safetensors"}


def policy_training(row: Row, perception: Path, agents: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of policy training: those that all agents share, and those of each."""
    rules = {"glimpses": row.glimpses, "reward": row.reward, "first_look": row.first_look}
    own = [with_prefix(agent, row.agent_options.get(agent, {})) for agent in agents]
    shared = {"perception": perception, **rules, "precision": "auto"}
    return {**shared, **{name: value for options in own for name, value in options.items()}}


def compare(row: Row, seed: int, perception: Path) -> dict[str, Any]:
    """Train and test all agents on one perception; return the results."""
    folder = perception.parent.parent / "agents"
    learners, done = row.learners if seed == 0 else row.learners[:1], folder / "done.json"
    if not done.is_file() or json.loads(done.read_text()) != list(learners):
        run_command(
            "compare",
            {
                **{"learners": learners, "baselines": row.baselines, "seeds": row.policies, "scenes": row.scenes},
                **{"train_glimpses": row.budget, "curve_points": 20, "resume": True},
                **policy_training(row, perception, (*row.baselines, *learners)),
                "out": folder,
            },
        )
        write_json(done, list(learners))
    return json.loads((folder / "results.json").read_text())


def compare_on_canvases(row: Row, perception: Path) -> dict[str, Any]:
    """Train on all canvases at once and test all agents on each; return the results, whose rows have a "canvas"."""
    folder = perception.parent.parent / "agents"
    if not (folder / "results.json").is_file():
        run_command(
            "compare",
            {
                **{"learners": row.learners, "baselines": ("random", "oracle"), "seeds": row.policies, "resume": True},
                **{"split": "validation", "scenes": 1800, "train_glimpses": row.budget, "curve_points": 20},
                **policy_training(row, perception, ("oracle", *row.learners)),
                "out": folder,
            },
        )
    trained = {
        (entry["agent"], entry["seed"]): entry for entry in json.loads((folder / "results.json").read_text())["rows"]
    }
    rows: list[dict[str, Any]] = []
    for canvas in row.canvases:
        world = make_world(
            perception=str(perception), canvas=canvas, split="test", glimpses=row.glimpses, precision="auto"
        )
        for entry in measured_once(folder / f"canvas-{canvas}.json", partial(test, row, world, canvas, folder)):
            own = trained.get((entry["agent"], entry["seed"]), {})
            rows.append({**entry, **{key: own[key] for key in ("curve", "train_cpu_seconds") if key in own}})
    made = {"perception": str(perception), "source": row.source}
    found = results(world, rows, command="", seed=0, scenes=row.scenes, made=made)
    return {**found, "canvas": list(row.canvases)}


def test(row: Row, world: World, canvas: int, folder: Path) -> list[dict[str, Any]]:
    """Return the entries of all agents on one canvas."""
    policies = [
        load_agent(folder / f"{name}-{seed}" / "policy.safetensors", world)
        for seed in range(row.policies)
        for name in row.learners
    ]
    scripted = baselines(world, row.baselines, seeds=row.policies, options=row.agent_options)
    return [test_agent(row, world, canvas, agent) for agent in (*scripted, *policies)]


def test_agent(row: Row, world: World, canvas: int, agent: Agent) -> dict[str, Any]:
    """Return the entry of an agent on one canvas."""
    entry = {"canvas": canvas, **entry_of(agent, evaluate_in_batches(world, agent, row.scenes))}
    print(f"{canvas} px, {agent.name} {agent.seed}: {entry['accuracy'][-1]:.2%}", flush=True)
    return entry


def cost(perception: Perception) -> dict[str, int]:
    """Return the parameters of encoder and head, and the FLOPs of one glimpse of one image."""
    encoder, layout = perception.encoder, perception.encoder.layout
    patches = torch.zeros(1, layout.patches, encoder.inputs.channels, layout.patch, layout.patch)
    prompt = torch.zeros(1, encoder.inputs.prompt_size) if encoder.inputs.prompt_size else None
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        state = encoder.initial(1, prompt)
        perception.task(encoder.step(state, Glimpse(patches, torch.zeros(1, layout.patches, 3))))
    parameters = sum(parameter.numel() for parameter in perception.parameters())
    return {"parameters": parameters, "flops_per_glimpse": counter.get_total_flops()}


def seconds_between_rounds(perception: Path) -> float:
    """Return the CPU seconds of the policies that the rounds of pretraining have followed."""
    paths = perception.parent.parent.glob("round-*/policy/*/policy.safetensors")
    return sum(checkpoint.load(path, "policy")[1]["spent"]["cpu_seconds"] for path in paths)


def make_row(name: str, row: Row, command: str) -> None:
    """Make a row, or what is missing of it, and write its results."""
    rows: list[dict[str, Any]] = []
    contents: dict[str, Any] = {}
    for seed in range(row.perceptions):
        path = pretrain(name, row, seed)
        about = about_perception(path, seed)
        found = compare_on_canvases(row, path) if row.canvases else compare(row, seed, path)
        contents = contents or found
        rows += [{**entry, **about} for entry in found["rows"]]
        if seed == 0:
            minutes = min(row.full_image_minutes, about["stage1_cpu_seconds"] / 60)
            for net in row.full_image:
                place = FOLDER / name / f"{net}-{seed}.json"
                measure = partial(full_image_entries, row, net, seed=seed, minutes=minutes)
                rows += [{**about, **entry} for entry in measured_once(place, measure)]
    write_results(
        name,
        {
            **contents,
            "command": command,
            "perception": f"{row.perceptions} seeds",
            "first_look": row.first_look,
            "sensor_pixels": contents["sensor_pixels_per_glimpse"] * (row.glimpses + (row.first_look is not None)),
            "to_beat": row.to_beat,
            "agent_options": row.agent_options,
            "threads": torch.get_num_threads(),
            "rows": rows,
        },
    )


def about_perception(path: Path, seed: int) -> dict[str, Any]:
    """Return what each entry says of its perception: seed, command and cost."""
    perception = Perception.load(path)
    spent = perception.spec["spent"]
    return {
        "perception_seed": seed,
        "stage1_seconds": spent["seconds"],
        "stage1_cpu_seconds": round(spent["cpu_seconds"] + seconds_between_rounds(path), 1),
        "stage1_command": perception.spec["command"],
        **cost(perception),
    }
