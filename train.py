"""The command line: `python train.py` alone runs the main job, `python train.py COMMAND --help` explains each command.

This file composes sources, perceptions, worlds and agents, and holds no logic of theirs. A command is a function; its
options are the function's parameters and those of the classes that it names, read from their signatures.
"""

import argparse
import inspect
import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any, NoReturn

import torch
from docstring_parser import parse as parse_docstring
from jsonargparse import ActionYesNo, ArgumentParser
from tqdm import tqdm

from foveal_agents import AGENTS
from foveal_agents.base import RULES_BEFORE, Agent, Evaluation, collapse, evaluate, load_agent, make_agent, rollout
from foveal_agents.plots import plot_accuracy, save_figure, scan_paths
from foveal_agents.results import gap_closed, results, row, table, write_results
from foveal_agents.training import read_curve, saving, session, train_agent
from foveal_env import checkpoint
from foveal_env.checkpoint import find, write_json
from foveal_env.data import Scenes
from foveal_env.devices import check_device, keep_freed_memory
from foveal_env.make import load_frozen, make_source, make_world
from foveal_env.perception import ENCODERS, OF_SCENES, Perception
from foveal_env.pretraining import Pretraining, random_gaze
from foveal_env.retina import extract
from foveal_env.sources import SOURCES
from foveal_env.sources.pictures import MAX_PIXELS, Unlabelled
from foveal_env.world import World

MAIN = ["policy", "--reward", "probability", "--precision", "auto", "--out", "runs/main"]


def policy_command(
    world: dict[str, Any],
    agents: dict[str, dict[str, Any]],
    *,
    command: str,
    agent: str = "grpo",
    train_glimpses: int = 680_000,
    baselines: list[str] | None = None,
    scenes: int = 1800,
    resume: bool = False,
    seed: int = 0,
    out: str = "runs/policy",
) -> None:
    """Train a policy on a frozen perception (stage 2), then evaluate it beside baselines on fixed test scenes.

    Args:
        world: options of the world.
        agents: options of each agent.
        command: what was typed, for the record, less --resume.
        agent: name of the agent, or module:Class.
        train_glimpses: glimpses of training in all.
        baselines: agents evaluated beside it (default: random centre raster oracle).
        scenes: number of test scenes.
        resume: go on from the policy in the output folder.
        seed: of training.
        out: output folder.
    """
    folder = Path(out)
    training, test = make_world(**world, split="train"), make_world(**world, split="test")
    learner = make_agent(agent, training, seed=seed, **agents.get(agent, {}))
    if resume:
        learner = resumed(learner, folder / "policy.safetensors", train_glimpses)
    if learner.is_trainable:
        train_agent(learner, train_glimpses, folder, validation=make_world(**world, split="validation"))
    rows, evaluations = [], {}
    names = [name for name in (baselines if baselines is not None else default_baselines(test)) if name != agent]
    others = [make_agent(name, test, seed=seed, **agents.get(name, {})) for name in names]
    for judged in tqdm([*others, learner], desc="evaluate"):
        evaluations[judged.name] = evaluate(test, judged, scenes=scenes, seed=seed)
        warn_of_collapse(judged, evaluations[judged.name])
        rows.append(row(judged, evaluations[judged.name]))
    finish(folder, test, rows, evaluations[learner.name], command=command, seed=seed, scenes=scenes)
    conclude(rows, learner.name, folder)


def evaluate_command(
    world: dict[str, Any],
    agents: dict[str, dict[str, Any]],
    *,
    command: str,
    policies: list[str] | None = None,
    baselines: list[str] | None = None,
    scenes: int = 1800,
    split: str = "test",
    seed: int = 0,
    out: str = "runs/evaluate",
) -> None:
    """Evaluate saved policies and scripted agents on the same fixed scenes.

    Args:
        world: options of the world.
        agents: options of each agent.
        command: what was typed, for the record, less --resume.
        policies: saved policies, paths or names of shipped ones.
        baselines: scripted agents (default: random centre raster oracle).
        scenes: number of scenes.
        split: train, validation or test.
        seed: of agents that draw their gaze.
        out: output folder.
    """
    judged_in = make_world(**world, split=split)
    names = baselines if baselines is not None else default_baselines(judged_in)
    judged = [make_agent(name, judged_in, seed=seed, **agents.get(name, {})) for name in names]
    judged += [load_agent(path, judged_in) for path in policies or []]
    if not judged:
        raise ValueError("nothing to evaluate: name --policies or --baselines")
    rows = []
    for agent in tqdm(judged, desc="evaluate"):
        evaluation = evaluate(judged_in, agent, scenes=scenes, seed=seed)
        warn_of_collapse(agent, evaluation)
        rows.append(row(agent, evaluation))
    finish(Path(out), judged_in, rows, evaluation, command=command, seed=seed, scenes=scenes)


def compare_command(
    world: dict[str, Any],
    agents: dict[str, dict[str, Any]],
    *,
    command: str,
    learners: list[str] | None = None,
    baselines: list[str] | None = None,
    seeds: int = 3,
    train_glimpses: int = 680_000,
    scenes: int = 1800,
    split: str = "test",
    curve: int = 0,
    resume: bool = False,
    seed: int = 0,
    out: str = "runs/compare",
) -> None:
    """Compare agents over several seeds, on the same perception and scenes and at equal numbers of glimpses.

    Args:
        world: options of the world.
        agents: options of each agent.
        command: what was typed, for the record, less --resume.
        learners: agents that learn (default: grpo ppo a2c).
        baselines: scripted agents (default: random centre raster oracle).
        seeds: number of seeds of each.
        train_glimpses: glimpses of training in all, the same for each.
        scenes: number of scenes to evaluate on.
        split: the scenes of the table; choose settings on validation, and report on test once.
        curve: points of the learning curve of each training, on validation scenes; 0 for none.
        resume: go on with the trainings that are in the output folder, finished or not.
        seed: the first of the seeds.
        out: output folder.
    """
    folder = Path(out)
    training, judged_in = make_world(**world, split="train"), make_world(**world, split=split)
    validation = make_world(**world, split="validation") if curve else None
    learners = learners if learners is not None else ["grpo", "ppo", "a2c"]
    names = baselines if baselines is not None else default_baselines(judged_in)
    rows, last = [], None
    for number in range(seed, seed + seeds):
        for name in [*names, *learners]:
            agent = make_agent(name, training, seed=number, **agents.get(name, {}))
            if not (agent.is_trainable or agent.is_stochastic or number == seed):
                continue  # the same for every seed
            if agent.is_trainable:
                saved = folder / f"{name}-{number}" / "policy.safetensors"
                agent = resumed(agent, saved, train_glimpses) if resume and saved.is_file() else agent
                train_agent(agent, train_glimpses, saved.parent, validation=validation, curve=curve)
            evaluation = evaluate(judged_in, agent, scenes=scenes, seed=number)
            warn_of_collapse(agent, evaluation)
            last = evaluation if agent.is_trainable or last is None else last
            rows.append(row(agent, evaluation))
            if agent.is_trainable and curve:
                rows[-1] |= {"train_cpu_seconds": round(agent.cpu_seconds, 1), "curve": read_curve(saved.parent)}
    finish(folder, judged_in, rows, last, command=command, seed=seed, scenes=scenes)
    for name in learners:
        closed = gap_closed(rows, name)
        if closed is not None:
            print(f"{name} closes {closed:.0%} of the distance from random to near-the-target gaze at the last glimpse")


def pretrain_command(
    source: dict[str, Any],
    encoder_options: dict[str, Any],
    training: dict[str, Any],
    *,
    command: str,
    source_name: str,
    encoder: str = "multizoom",
    task: str = "classify",
    start: str | None = None,
    features: str | None = None,
    policy: str | None = None,
    half: bool = False,
    resume: bool = False,
    device: str = "cpu",
    seed: int = 0,
    out: str = "runs/pretrain",
) -> None:
    """Train a perception: encoder and task head under random gaze (stage 1).

    Args:
        source: options of the source.
        encoder_options: options of the encoder.
        training: options of the training.
        command: what was typed, for the record, less --resume.
        source_name: name of the source, or module:Class.
        encoder: name of the encoder, or module:Class.
        task: name of the task, or module:Class.
        start: begin with the weights of this perception, made with the same options; a shipped one by name, or a path.
        features: begin with those weights of this perception's encoder that fit, whatever its task and prompt are; the
            encoder's options are the same.
        policy: path of a policy trained on `start`: a share `--follow` of the scenes is looked at as it does (the
            stages alternate). It sees the states of `start`, whatever has been learned since.
        half: round the weights of perception.safetensors to float16, so that it is half as large.
        resume: go on from the checkpoint in the output folder.
        device: torch device.
        seed: of weights, scenes and gazes.
        out: output folder; perception.safetensors in it can be named in gym.make and --perception.
    """
    check_device(device)
    folder = Path(out)
    scenes, validation = (make_source(source_name, split, **source) for split in ("train", "validation"))
    if start is not None and features is not None:
        raise ValueError("--start and --features exclude each other")
    begun = None if start is None and features is None else Perception.load(start or features)
    measured = {} if begun is None else begun.spec["encoder_config"]  # the other scenes may be brighter or darker
    kept = {name: measured[name] for name in ("pixel_mean", "pixel_deviation") if name in measured}
    perception = Perception.build(scenes, encoder=encoder, task=task, seed=seed, **encoder_options, **kept).to(device)
    if start is not None:
        perception.check_kind(begun.spec, start)
        perception.load_state_dict(begun.state_dict())
    elif features is not None:
        new = perception.take_features(begun, features)
        print(f"took over the features of {features}" + (f"; new: {', '.join(new)}" if new else ""))
    if policy is not None and start is None:
        raise ValueError("--policy needs --start, the perception that it was trained on")
    rules = {"looks": training["looks"], "device": device, "precision": training["precision"]}
    traces = follow_policy(policy, scenes, start, **rules) if policy else None
    job = Pretraining(perception, scenes, seed=seed, traces=traces, **training)
    if resume:
        job.load(folder / "training.safetensors")
    with session(folder, resume=resume) as writer:
        looks = tqdm(total=job.steps, initial=job.done, desc="pretrain", unit="update")
        with looks, saving(job.save, folder / "training.safetensors") as updated:
            while job.done < job.steps:
                logs = job.update()
                looks.update()
                updated()
                if job.done % 20 == 0 or job.done == job.steps:
                    looks.set_postfix(loss=f"{logs['loss'][-1]:.3f}", accuracy=f"{logs['accuracy'][-1]:.3f}")
                    writer.add_scalar("train/loss", logs["loss"].mean(), job.done)
                    writer.add_scalar("train/accuracy", logs["accuracy"].mean(), job.done)
                if job.done % 1000 == 0 or job.done == job.steps:
                    for law, near in laws(validation):
                        accuracy = validate(job, validation, near=near)
                        writer.add_scalar(f"validation/{law}", accuracy[-1], job.done)
                        tqdm.write(f"{job.done} updates, {law} gaze: {' '.join(f'{a:.3f}' for a in accuracy)}")
    portable = {name: value for name, value in source.items() if name not in ("root", "download")}
    origin = {"source": source_name, "source_options": portable, "training": {**training, "seed": seed}}
    spent = {"seconds": round(job.seconds, 1), "cpu_seconds": round(job.cpu_seconds, 1)}
    if begun is not None:
        before = begun.spec.get("spent", {})
        spent = {key: round(value + before.get(key, 0.0), 1) for key, value in spent.items()}
        origin["start" if start else "features"] = begun.spec.get("command", start or features)
    job.trained.spec = {**perception.spec, **origin, "spent": spent, "command": command}
    job.trained.save(folder / "perception.safetensors", half=half)
    print(f"saved {folder / 'perception.safetensors'}; use it with --perception, or gym.make(..., perception=PATH)")


def follow_policy(
    path: str, source: Any, perception: str, *, looks: int, device: str, precision: str
) -> Callable[[Scenes, torch.Generator], torch.Tensor]:
    """Return what maps scenes to the gazes [B, looks, 2] of a saved policy, drawn as in its training.

    The first look is in the centre; where the policy stopped, the gazes are NaN.
    """
    if looks < 2:
        raise ValueError(f"to follow a policy needs at least 2 looks, got {looks}")
    _, header = checkpoint.load(find(path, package="foveal_agents.pretrained", kind="policy"), "policy")
    chosen = {name: header[name] for name in (*RULES_BEFORE, "clock") if name in header}
    seen = load_frozen(perception, device=device, precision=precision)
    world = World(source, seen, glimpses=looks - 1, **chosen)
    agent = load_agent(path, world)

    def traces(scenes: Scenes, generator: torch.Generator) -> torch.Tensor:
        *_, last = rollout(world, agent, world.start(scenes), generator=generator, greedy=False)
        return last.after.gazes[..., :2]

    return traces


def show_command(
    world: dict[str, Any],
    agents: dict[str, dict[str, Any]],
    *,
    command: str,
    images: list[str],
    agent: str | None = None,
    policy: str = "runs/main/policy.safetensors",
    max_pixels: int = MAX_PIXELS,
    seed: int = 0,
    out: str = "runs/show",
) -> None:
    """Draw the scan path of a policy on picture files.

    Args:
        world: options of the world.
        agents: options of each agent.
        command: what was typed, for the record, less --resume.
        images: picture files of any size and kind; of tiled ones (.svs, OME-TIFF, BigTIFF) only what is looked at is
            read.
        agent: a scripted agent in place of a saved policy.
        policy: a saved policy, its path or the name of a shipped one.
        max_pixels: refuse pictures with more px than that, before they are decoded; tiled ones have no limit.
        seed: of an agent that draws its gaze.
        out: output folder.
    """
    if agent is None and policy.endswith(".safetensors") and not Path(policy).is_file():
        raise FileNotFoundError(f"no policy at {policy}: run `python train.py` first, or choose --agent spiral")
    folder, seen = Path(out), load_frozen(world["perception"], device=world["device"], precision=world["precision"])
    if "classes" not in seen.spec["task_config"]:
        raise ValueError(f"show needs a perception that names classes; the task of this one is {seen.spec['task']}")
    channels, classes = seen.encoder.channels, seen.spec["task_config"]["classes"]
    source = Unlabelled(images, channels=channels, classes=classes, max_pixels=max_pixels)
    rules = {name: world[name] for name in ("glimpses", "first_look", "clock", "stop", "zoom", "zoom_reach")}
    place = World(source, seen, **rules)
    looker = make_agent(agent, place, seed=seed, **agents.get(agent, {})) if agent else load_agent(policy, place)
    evaluation = evaluate(place, looker, scenes=len(images), seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(images):
        target = folder / f"scan-{number}-{Path(path).stem}.png"
        save_figure(target, scan_paths(place, evaluation, [number], columns=1, truth_known=False, width=9))
        print(f"{path}: the answer is {source.classes[int(evaluation.prediction[number])]}; scan path in {target}")


def resumed(agent: Agent, path: Path, glimpses: int) -> Agent:
    """Return the agent that was saved at `path`, or `agent` where that one has to begin again.

    Raises ValueError unless both were made alike.
    """
    saved = load_agent(path, agent.world)
    for what in ("name", "seed", "options"):
        if getattr(saved, what) != getattr(agent, what):
            raise ValueError(
                f"{path} cannot go on: its {what} is {getattr(saved, what)}, the command line's {getattr(agent, what)}"
            )
    if not saved.can_resume and saved.glimpses < glimpses:
        print(f"{path}: {agent.name} cannot go on without its replay buffer, which is not saved; it begins again")
        return agent
    return saved


def default_baselines(world: World) -> list[str]:
    """Return the names of the baselines, without the oracle where the target is not known."""
    return ["random", "centre", "raster", *(["oracle"] if world.source.knows_target else [])]


def laws(source: Any) -> list[tuple[str, float]]:
    """Return the laws of gaze that a perception is validated under."""
    return [("random", 0.0), *([("near-the-target", 1.0)] if source.knows_target else [])]


@torch.no_grad()
def validate(job: Pretraining, source: Any, *, near: float, scenes: int = 900) -> list[float]:
    """Return the accuracy of what a training has come to, after each look."""
    perception = job.trained.eval()
    generator = torch.Generator().manual_seed(0)
    device = next(perception.parameters()).device
    shown = source.scenes(torch.arange(scenes)).to(device)
    state, accuracy = perception.initial(shown), []
    for look in range(job.looks):
        gaze = random_gaze(shown, shown.box, generator, near=near, spread=0.4)
        gaze = gaze * 0 if look == 0 and job.first_look == "centre" else gaze
        state = perception.step(state, extract(shown.images, gaze, perception.encoder.layout))
        accuracy.append(perception.score(state, shown).correct.float().mean().item())
    return accuracy


def finish(
    folder: Path, world: World, rows: list[dict[str, Any]], shown: Evaluation, *, command: str, seed: int, scenes: int
) -> None:
    """Write results.json, results.csv and the pictures, and print the table."""
    contents = results(world, rows, command=command, seed=seed, scenes=scenes)
    write_results(folder, contents)
    plot_accuracy(folder / "accuracy.png", contents)
    save_figure(folder / "scan_paths.png", scan_paths(world, shown, range(min(8, scenes))))
    print(f"\nAccuracy (%) after each look on {scenes} {world.source.split} scenes; look 0 is the first one:\n")
    print(table(contents))


def warn_of_collapse(agent: Agent, evaluation: Evaluation) -> None:
    """Say in words if a learned policy looks at the same spots whatever it sees, or is stuck in a corner."""
    fault = collapse(evaluation.gazes[:, 1:]) if agent.is_trainable else None
    if fault:
        tqdm.write(f"warning: the policy of {agent.name}, seed {agent.seed}, has {fault}")


def conclude(rows: list[dict[str, Any]], name: str, folder: Path) -> None:
    """Say in words what was learned, and where the files are."""
    accuracy = {entry["agent"]: entry["accuracy"][-1] for entry in rows}
    print(f"\n{name}: {accuracy[name]:.1%} right at the last glimpse", end="")
    print(f", random gaze {accuracy['random']:.1%}" if "random" in accuracy else "", end="")
    closed = gap_closed(rows, name)
    print(f"; it closes {closed:.0%} of the distance to near-the-target gaze" if closed is not None else "")
    print(f"files in {folder}: results.json, results.csv, accuracy.png, scan_paths.png, policy.safetensors, run.json")
    print(f"watch the training: tensorboard --logdir {folder}")


COMMANDS: dict[str, Callable[..., None]] = {
    "policy": policy_command,
    "pretrain": pretrain_command,
    "evaluate": evaluate_command,
    "compare": compare_command,
    "show": show_command,
}
GROUPED = {"world", "agents", "source", "encoder_options", "training", "command", "source_name"}  # not options by name
MADE_HERE = {"perception", "source", "seed", "traces"}  # of the training
MAY_CHANGE = {  # when a run is resumed: how long and where it is, and what is judged
    *("out", "device", "perception", "train_glimpses", "steps", "scenes", "baselines", "learners", "seeds", "curve"),
    *("start", "policy", "features", "half"),
}
COUNTS = ("scenes", "seeds", "train_glimpses")  # at least 1, checked before anything is done
NOT_OF_WORLD = {
    "show": {"split", "source", "canvas", "source_options", "reward", "price", "task", "task_options"}
}  # the others choose a split themselves


class OneLineParser(ArgumentParser):
    """A parser whose errors are one line that names the choices."""

    def error(self, message: str, ex: Exception | None = None) -> None:
        """Exit with the message, and where an option is not known, with those that are."""
        if "unrecognized arguments" in message.lower():
            known = sorted(option for option in self._option_string_actions if option.startswith("--"))
            message += f"; known: {' '.join(known)}"
        fail(message)


def fail(message: object) -> NoReturn:
    """Exit with a one-line error."""
    raise SystemExit(f"train.py: error: {' '.join(str(message).split())}")


def add_options(parser: ArgumentParser, function: Callable, *, group: str | None = None, skip: Set[str] = frozenset()):
    """Add the parameters of a function or class as options, with their documentation and defaults.

    What jsonargparse does, but that a flag needs no value (`--resume`, `--no_resume`), a list no brackets
    (`--baselines random raster`), and a list without a default is positional.
    """
    target = function.__init__ if isinstance(function, type) else function
    owners = reversed(function.__mro__) if isinstance(function, type) else [function]
    documented = {
        entry.arg_name: entry.description for owner in owners for entry in parse_docstring(owner.__doc__ or "").params
    }
    own = set()
    for name, parameter in inspect.signature(target).parameters.items():
        option = f"--{group}.{name}" if group else f"--{name}"
        meaning = documented.get(name, "")
        if name in skip:
            continue
        if parameter.annotation is bool and parameter.default is False:
            parser.add_argument(option, action=ActionYesNo(yes_prefix="", no_prefix="no_"), default=False, help=meaning)
            own.add(name)
        elif parameter.annotation in (list[str], list[str] | None):
            option = name if parameter.default is parameter.empty else option
            parser.add_argument(option, nargs="+", type=str, help=meaning)
            own.add(name)
    if isinstance(function, type):
        parser.add_class_arguments(function, group, skip={*skip, *own})
    else:
        parser.add_function_arguments(function, group, skip={*skip, *own})


def command_parser(command: str, named: argparse.Namespace) -> ArgumentParser:
    """Return the parser of a command; the classes named on the command line add their options."""
    function = COMMANDS[command]
    parser = OneLineParser(prog=f"train.py {command}", description=parse_docstring(function.__doc__).short_description)
    if command == "pretrain":
        plugins = [(SOURCES, named.source, {"split"}), (ENCODERS, named.encoder, OF_SCENES)]
        parser.add_argument("--source", default="digits", help=f"one of {', '.join(SOURCES)}, or module:Class")
        add_options(parser, Pretraining, skip=MADE_HERE)
    else:
        plugins = [(AGENTS, name, {"world", "seed"}) for name in dict.fromkeys(named.agents)]
        add_options(parser, make_world, skip=NOT_OF_WORLD.get(command, {"split"}))
    add_options(parser, function, skip=GROUPED)
    for registry, name, skip in plugins:
        kind = registry.resolve(name)
        if set(inspect.signature(kind).parameters) - skip:
            add_options(parser, kind, group=group_name(name), skip=skip)
    return parser


def group_name(name: str) -> str:
    """Return the prefix of a plug-in's options: its short name, or its class in lower case."""
    return name.rpartition(":")[2].lower()


def run(command: str, options: dict[str, Any], named: argparse.Namespace, typed: str) -> None:
    """Call a command with its options, after they were written to run.json in the output folder."""
    for name in COUNTS:
        if options.get(name) is not None and options[name] < 1:
            raise ValueError(f"{name} must be at least 1, got {options[name]}")
    repeatable = {name: value for name, value in options.items() if name not in ("resume", "config")}
    record = Path(options["out"]) / "run.json"
    if options.get("resume") and record.is_file():
        check_goes_on(read_config([str(record)]), command, repeatable, record)
    write_json(record, {command: repeatable})
    own = {name: options[name] for name in inspect.signature(COMMANDS[command]).parameters if name in options}
    if command == "pretrain":
        names = set(inspect.signature(Pretraining).parameters) - MADE_HERE
        groups = {
            "source": {k: v for k, v in options.get(group_name(named.source), {}).items() if v is not None},
            "encoder_options": options.get(group_name(named.encoder), {}),
            "training": {name: options[name] for name in names},
            "source_name": named.source,
        }
        return COMMANDS[command](command=typed, **{**own, **groups})
    world = {name: options[name] for name in inspect.signature(make_world).parameters if name in options}
    world.pop("split", None)
    agents = {name: options.get(group_name(name), {}) for name in named.agents}
    return COMMANDS[command](command=typed, world=world, agents=agents, **own)


def check_goes_on(before: tuple[str, dict[str, Any]], command: str, options: dict[str, Any], record: Path) -> None:
    """Raise ValueError unless a command with `--resume` is the one that `record` tells of, or only more of it."""
    there, then = before
    if there != command:
        raise ValueError(f"--resume: {record} is of {there!r}, not of {command!r}")
    for name in options.keys() & then.keys() - MAY_CHANGE:
        if json.loads(json.dumps(options[name])) != then[name]:
            raise ValueError(
                f"--resume goes on with the run of {record}, whose {name} is {then[name]}, not {options[name]}; "
                "begin a new one in another --out"
            )


def names_in(command: str, arguments: list[str], config: dict[str, Any]) -> argparse.Namespace:
    """Find the plug-ins that a command line names, before the options that they add can be parsed."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.error = fail
    agent = {"policy": "grpo"}.get(command)
    for option, default in (("agent", agent), ("source", "digits"), ("encoder", "multizoom")):
        peek.add_argument(f"--{option}", default=config.get(option) or default)
    learners = ["grpo", "ppo", "a2c"] if command == "compare" else []
    for option, default in (("learners", learners), ("baselines", [])):
        peek.add_argument(f"--{option}", nargs="+", default=config.get(option) or default)
    named, _ = peek.parse_known_args(arguments)
    named.agents = [*([named.agent] if named.agent else []), *named.baselines, *named.learners]
    return named


def main(arguments: list[str] | None = None) -> None:
    """Run a command line; `arguments` default to those of the process, and without a command it is the main job's."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    typed = shlex.join(["python", "train.py", *(word for word in arguments if word != "--resume")])
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--config")):
        arguments = [*MAIN, *arguments]
    warnings.filterwarnings("ignore", message=".*GPU.*MlpPolicy.*")
    keep_freed_memory()
    try:
        config: dict[str, Any] = {}
        if arguments[0] == "--config":
            command, config = read_config(arguments[1:2])
            arguments = [command, *arguments[2:]]
        command, rest = arguments[0], arguments[1:]
        if command in ("-h", "--help"):
            print(overview())
            return
        if command not in COMMANDS:
            raise ValueError(f"unknown command {command!r}; known: {', '.join(COMMANDS)}")
        named = names_in(command, rest, config)
        parser = command_parser(command, named)
        known = {action.dest: action for action in parser._actions}
        parser.set_defaults(dict(flat(config, set(known))))
        for positional in [action for action in known.values() if action.dest in config and not action.option_strings]:
            rest = [*config[positional.dest], *rest]
        options = parser.parse_args(rest)
        run(command, options.as_dict(), named, typed)
    except (ValueError, TypeError, OSError, ImportError) as error:
        if os.environ.get("FOVEAL_DEBUG"):
            raise
        fail(error)
    except KeyboardInterrupt:
        raise SystemExit("stopped") from None


def read_config(paths: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the command and the options of a run.json."""
    if not paths:
        raise ValueError("--config needs the path of a run.json")
    content = json.loads(Path(paths[0]).read_text())
    if not isinstance(content, dict) or len(content) != 1 or not isinstance(next(iter(content.values())), dict):
        raise ValueError(f"{paths[0]} is no run.json: it holds one command with its options")
    return next(iter(content.items()))


def flat(options: dict[str, Any], known: set[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of the nested options that a parser knows; groups of other plug-ins are left out."""
    for key, value in options.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and any(other.startswith(f"{name}.") for other in known):
            yield from flat(value, known, f"{name}.")
        elif name in known:
            yield name, value
        elif not isinstance(value, dict):
            raise ValueError(f"run.json has an unknown option {name!r}")


def overview() -> str:
    """Return the help of the whole program."""
    lines = [(__doc__ or "").splitlines()[0], "", "usage: python train.py [COMMAND] [options]", ""]
    lines += [f"  {'':10} Without a command: {shlex.join(MAIN)}, and the options given"]
    for name, function in COMMANDS.items():
        lines.append(f"  {name:10} {parse_docstring(function.__doc__).short_description}")
    lines += ["", "  --config runs/NAME/run.json   repeat a run; further options change it"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
