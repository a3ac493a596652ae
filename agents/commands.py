"""Learn where to look: pretrain perceptions, train policies on them, evaluate, compare and show these.

A command composes sources, perceptions, worlds and agents, runs them, and reports. It holds no logic of theirs. Its
options are its parameters, and those of what the annotations below name.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import torch
from tqdm import tqdm

from foveal_agents import AGENTS, rollout, training
from foveal_agents.base import Agent, make_agent
from foveal_agents.comparison import Comparison, at_least_one, each_once, label_policies
from foveal_agents.plots import answer_in_words, save_figure, scan_paths
from foveal_agents.policy_files import read_policy, resume_agent
from foveal_agents.show import policy_for, read_named, unlabelled
from foveal_env.cli import Program
from foveal_env.devices import check_device, keep_freed_memory
from foveal_env.images.decode import MAX_PIXELS
from foveal_env.make import load_frozen, make_source, make_world
from foveal_env.options import Options, PlugIns
from foveal_env.perception import ENCODERS, OF_MACHINE, OF_SCENES, Perception
from foveal_env.pretraining import Pretraining
from foveal_env.registry import build
from foveal_env.sources import SOURCES
from foveal_env.sources.base import Source
from foveal_env.world import Rules, World

MAIN_JOB = ("policy", "--reward", "probability", "--precision", "auto", "--out", "runs/main")
MAY_CHANGE = {  # when a run is resumed: how long and where it is, and what is evaluated
    *("out", "device", "perception", "train_glimpses", "steps", "scenes", "split", "baselines", "learners", "seeds"),
    *("curve_points", "start", "policy", "features", "float16", "acts_only", "trust"),
}
ADDING = {"show"}  # commands whose files do not replace each other

WorldOptions = Annotated[dict[str, Any], Options((make_world, Rules), skip={"split"})]
ShowOptions = Annotated[
    dict[str, Any], Options((make_world, Rules), only={"perception", "device", "precision", "trust", "first_look"})
]
AgentOptions = Annotated[
    dict[str, dict[str, Any]], PlugIns(AGENTS, ("agent", "baselines", "learners"), skip={"world", "seed"})
]
SourceOptions = Annotated[dict[str, dict[str, Any]], PlugIns(SOURCES, ("source",), skip={"split"})]
EncoderOptions = Annotated[dict[str, dict[str, Any]], PlugIns(ENCODERS, ("encoder",), skip=OF_SCENES)]
JobOptions = Annotated[dict[str, Any], Options((Pretraining,), skip={"perception", "source", "seed", "policy_gazes"})]


def policy(
    world: WorldOptions,
    agents: AgentOptions,
    comparison: Comparison = Comparison(out="runs/policy"),
    *,
    command: str,
    agent: str = "grpo",
    train_glimpses: int = 680_000,
    split: str = "validation",
    acts_only: bool = False,
    resume: bool = False,
) -> None:
    """Train a policy on a frozen perception (stage 2), then evaluate it beside baselines on fixed scenes.

    Args:
        world: options of the world.
        agents: options of each agent.
        comparison: what is evaluated at the end.
        command: line that was typed, for the record.
        agent: name of the agent, or module:Class.
        train_glimpses: glimpses of training in all.
        split: scenes of the evaluation; choose settings on validation, and report on test once.
        acts_only: save what acting needs alone in the end, rounded to float16; training cannot go on from it.
        resume: go on from the policy in the output folder.
    """
    at_least_one(train_glimpses=train_glimpses)
    folder, seed = Path(comparison.out), comparison.seed
    train, there = make_world(**world, split="train"), make_world(**world, split=split)
    learner = make_agent(agent, train, seed=seed, **agents.get(agent, {}))
    if resume:
        learner = resumed(learner, folder, train_glimpses)
    if learner.is_trainable:
        training.train_agent(learner, train_glimpses, folder, validation=make_world(**world, split="validation"))
    if learner.is_trainable and acts_only:
        learner.save(folder / "policy.safetensors", acts_only=True)
        learner = read_policy(folder / "policy.safetensors").agent(train)
    names = [name for name in comparison.names(there) if name != agent]
    baselines = [make_agent(name, there, seed=seed, **agents.get(name, {})) for name in names]
    judged = tqdm([*baselines, learner], desc="evaluate", disable=None)
    rows, evaluations = zip(*[comparison.evaluate(there, each, seed) for each in judged], strict=True)
    comparison.report(there, list(rows), (learner, evaluations[-1]), made=world, command=command)
    if learner.is_trainable:
        print(f"To see how it learned: tensorboard --logdir {folder}")


def evaluate(
    world: WorldOptions,
    agents: AgentOptions,
    comparison: Comparison = Comparison(out="runs/evaluate"),
    *,
    command: str,
    policies: list[str] | None = None,
    split: str = "test",
) -> None:
    """Evaluate saved policies and scripted agents on the same fixed scenes.

    Args:
        world: options of the world.
        agents: options of each agent.
        comparison: what is evaluated.
        command: line that was typed, for the record.
        policies: saved policies: paths, or names of shipped ones. Each has its row; those that differ in the seed of
            their training alone are averaged.
        split: train, validation or test.
    """
    seed, there, names = comparison.seed, make_world(**world, split=split), policies or []
    saved = [read_policy(name, trust=world["trust"]) for name in names]
    labels = label_policies(names, saved)
    baselines = [make_agent(name, there, seed=seed, **agents.get(name, {})) for name in comparison.names(there)]
    judged: list[tuple[Agent, dict[str, Any]]] = [(agent, {}) for agent in baselines]
    for name, label, policy in zip(names, labels, saved, strict=True):
        judged.append((policy.agent(there), {"label": label, "policy": name}))
    if not judged:
        raise ValueError("nothing to evaluate: name --policies or --baselines")
    bar = tqdm(judged, desc="evaluate", disable=None)
    rows, evaluations = zip(*[comparison.evaluate(there, each, seed, **named) for each, named in bar], strict=True)
    comparison.report(there, list(rows), (judged[-1][0], evaluations[-1]), made=world, command=command)


def compare(
    world: WorldOptions,
    agents: AgentOptions,
    comparison: Comparison = Comparison(out="runs/compare"),
    *,
    command: str,
    learners: Sequence[str] = ("grpo", "ppo", "a2c"),
    seeds: int = 3,
    train_glimpses: int = 680_000,
    split: str = "test",
    curve_points: int = 0,
    resume: bool = False,
) -> None:
    """Compare agents over several seeds, on the same perception and scenes and at equal numbers of glimpses.

    Args:
        world: options of the world.
        agents: options of each agent.
        comparison: what is evaluated.
        command: line that was typed, for the record.
        learners: agents that learn.
        seeds: number of seeds of each agent.
        train_glimpses: glimpses of training in all, the same for each.
        split: scenes of the table; choose settings on validation, and report on test once.
        curve_points: points of the learning curve of each training, on validation scenes; 0 for none.
        resume: go on with the trainings that are in the output folder, finished or not.
    """
    at_least_one(seeds=seeds, train_glimpses=train_glimpses)
    first, train, there = comparison.seed, make_world(**world, split="train"), make_world(**world, split=split)
    each_once([*comparison.names(there), *learners])
    validation = make_world(**world, split="validation") if curve_points else None
    rows, shown = [], None
    for seed, name in product(range(first, first + seeds), [*comparison.names(there), *learners]):
        agent = make_agent(name, train, seed=seed, **agents.get(name, {}))
        if seed > first and not (agent.is_trainable or agent.is_stochastic):
            continue  # the same for every seed
        folder = Path(comparison.out) / f"{name}-{seed}"
        if agent.is_trainable:
            if resume and (folder / "policy.safetensors").is_file():
                agent = resumed(agent, folder, train_glimpses)
            training.train_agent(agent, train_glimpses, folder, validation=validation, curve_points=curve_points)
        entry, evaluation = comparison.evaluate(there, agent, seed)
        if agent.is_trainable and curve_points:
            cpu_seconds = round(agent.spent.cpu_seconds, 1)
            entry |= {"train_cpu_seconds": cpu_seconds, "curve": training.read_curve(folder)}
        rows.append(entry)
        shown = (agent, evaluation) if agent.is_trainable or shown is None else shown
    if shown is None:
        raise ValueError("nothing to compare: name --learners or --baselines")
    comparison.report(there, rows, shown, made=world, command=command)


def pretrain(
    sources: SourceOptions,
    encoders: EncoderOptions,
    options: JobOptions,
    *,
    command: str,
    source: str = "digits",
    encoder: str = "multizoom",
    task: str = "classify",
    start: str | None = None,
    features: str | None = None,
    policy: str | None = None,
    float16: bool = False,
    trust: bool = False,
    resume: bool = False,
    device: str = "cpu",
    seed: int = 0,
    out: str = "runs/pretrain",
) -> None:
    """Train a perception: encoder and task head under random gaze (stage 1).

    Args:
        sources: options of the source.
        encoders: options of the encoder.
        options: options of the training.
        command: line that was typed, for the record.
        source: name of the source, or module:Class.
        encoder: name of the encoder, or module:Class.
        task: name of the task, or module:Class.
        start: perception whose weights it begins with, made with the same options; a shipped one by name, or a path.
        features: perception whose encoder it begins with, as far as the weights fit. Task and prompt may be others; the
            encoder's options are the same.
        policy: path of a policy that was trained on `start`. The share `--policy_share` of the scenes is looked at as
            it does: the stages alternate. It sees the states of `start`, whatever has been learned since.
        float16: round the weights of perception.safetensors to float16; the file is then half as large.
        trust: whether the files of `start`, `features` and `policy` may name any code to run, as a script does.
        resume: go on from the checkpoint in the output folder.
        device: torch device.
        seed: seed of weights, scenes and gazes.
        out: output folder; perception.safetensors in it can be named in gym.make and --perception.
    """
    check_device(device)
    if start and features:
        raise ValueError("--start and --features exclude each other")
    if policy and not start:
        raise ValueError("--policy needs --start, the perception that it was trained on")
    own = {name: value for name, value in sources.get(source, {}).items() if value is not None}
    scenes, validation = (make_source(source, split, **own) for split in ("train", "validation"))
    made = {"encoder": encoder, "task": task, "seed": seed, **encoders.get(encoder, {})}
    perception, origin = new_perception(scenes, start, features, made, trust=trust)
    perception.to(device)
    gazes = None
    if policy and start:
        seen = load_frozen(start, device=device, precision=options["precision"], trust=trust)
        gazes = rollout.policy_gazes(read_policy(policy, trust=trust), scenes, seen, glimpses=options["glimpses"])
    job = build(Pretraining, perception=perception, source=scenes, seed=seed, policy_gazes=gazes, **options)
    place = World(validation, perception, job.world.rules)
    reached = training.pretrain(job, Path(out), validation=place, resume=resume)
    record = {
        "source": source,
        "source_options": {name: value for name, value in own.items() if name not in OF_MACHINE},
        "training": {**options, "seed": seed},
        "spent": spent_in_all(job, origin),
        "command": command,
    }
    if origin:
        record["start" if start else "features"] = origin.get("command", start or features)
    path = Path(out) / "perception.safetensors"
    perception.save(path, float16=float16, **record)
    main = next((metric for metric in place.metrics.values()), None)
    for name, values in reached.items():
        words = f"{place.rules.glimpses} glimpses {training.GLIMPSES[name]}"
        if main is None or main.title == "accuracy":
            print(f"After {words} the perception answers {100 * values[-1]:.1f} % of the validation scenes right.")
        else:
            print(f"After {words}, on validation scenes: {main.title} {main.written(values[-1])} {main.unit}".rstrip())
    print(f"Saved {path}; use it with --perception {path}, or gym.make(..., perception={str(path)!r}).")


def show(
    world: ShowOptions,
    agents: AgentOptions,
    *,
    command: str,
    images: list[str],
    question: list[str] | None = None,
    agent: str | None = None,
    policy: str | None = None,
    glimpses: int | None = None,
    max_pixels: int = MAX_PIXELS,
    seed: int = 0,
    out: str = "runs/show",
) -> None:
    """Draw the scan path of a policy on image files, and say what it answers.

    Args:
        world: options of the world.
        agents: options of each agent.
        command: line that was typed, for the record.
        images: image files of any size and kind. Of tiled ones (.svs, OME-TIFF, BigTIFF) only what is looked at is
            read.
        question: what is asked, if the perception has several questions: the name of what a search looks for, such as
            7; of several questions the question and what it is about, such as `where 7`.
        agent: name of a scripted agent, or module:Class, in place of a saved policy.
        policy: saved policy: its path, or the name of a shipped one (default: runs/main/policy.safetensors if it is for
            this perception, or else a shipped one that is). It brings its own rules.
        glimpses: glimpses after the first look (default: as many as the policy was trained with, or else 4).
        max_pixels: largest number of px of an image that is decoded; tiled ones have no limit.
        seed: seed of an agent that draws its gaze.
        out: output folder.
    """
    saved = (
        read_named(policy, trust=world["trust"]) if policy and not agent else None
    )  # a wrong name is an error before anything is loaded
    perception = load_frozen(world["perception"], **{name: world[name] for name in ("device", "precision", "trust")})
    source = unlabelled(perception, images, question=question, max_pixels=max_pixels)
    if agent is None and saved is None:
        saved = policy_for(perception)
    rules = {"first_look": world["first_look"], "ends_on_success": False, **(saved.rules if saved else {})}
    trained = saved.trained_rules if saved else {}
    taken = glimpses if glimpses is not None else trained.get("glimpses", Rules().glimpses)
    place = World(source, perception, Rules(glimpses=taken, **rules))
    looker = saved.agent(place) if saved else make_agent(str(agent), place, seed=seed, **agents.get(str(agent), {}))
    evaluation = rollout.evaluate(place, looker, scenes=len(images), seed=seed)
    scenes = place.scenes(torch.arange(len(images)))
    for row, path in enumerate(images):
        target = Path(out) / f"scan-{row}-{Path(path).stem}.png"
        figure = scan_paths(place, evaluation, [row], agent=looker, columns=1, truth_known=False, width=9)
        save_figure(target, figure)
        answer = answer_in_words(place, scenes, row, evaluation.prediction[row])
        asked = f"{source.question}, " if source.question else ""
        print(f"{path}: {asked}the answer is {answer}; scan path in {target}")


def new_perception(
    source: Source, start: str | None, features: str | None, options: dict[str, Any], *, trust: bool = False
) -> tuple[Perception, dict[str, Any]]:
    """Build a perception with the weights that it begins with.

    It keeps what the other one measured of its pixels, because these scenes may be brighter or darker.

    Args:
        source: source of its scenes.
        start: perception of the same kind whose weights it begins with.
        features: perception whose encoder it begins with.
        options: encoder, task, seed and options of the encoder, whatever their names.
        trust: whether their files may name any code to run.

    Returns:
        The perception, and the header of the other one; empty if there is none.
    """
    name = start or features
    if name is None:
        return Perception.build(source, **options), {}
    other = Perception.load(name, trust=trust)
    config = other.spec["encoder_config"]
    measured = {key: config[key] for key in ("pixel_mean", "pixel_deviation") if key in config}
    perception = Perception.build(source, **options, **measured)
    if start:
        perception.check_kind(other.spec, start)
        perception.load_state_dict(other.state_dict())
    else:
        new = perception.take_features(other, name)
        print(f"took over the features of {name}" + (f"; new: {', '.join(new)}" if new else ""))
    return perception, other.spec


def spent_in_all(job: Pretraining, origin: dict[str, Any]) -> dict[str, float]:
    """Return the seconds of a training and of those that made the weights it began with."""
    before, now = origin.get("spent", {}), {"seconds": job.seconds, "cpu_seconds": job.cpu_seconds}
    return {key: round(value + before.get(key, 0.0), 3) for key, value in now.items()}


def resumed(agent: Agent, folder: Path, glimpses: int) -> Agent:
    """Return the agent whose policy is in a folder, or `agent` if that one has to begin again."""
    saved = resume_agent(agent, folder / "policy.safetensors", glimpses)
    if saved is agent:
        print(f"{folder}: {agent.name} begins again, because its replay buffer was not saved")
    return saved


COMMANDS = {"policy": policy, "pretrain": pretrain, "evaluate": evaluate, "compare": compare, "show": show}


def main(arguments: Sequence[str] | None = None, *, program: str = "foveal") -> None:
    """Run a command line; without a command it is the main job's.

    Args:
        arguments: words after the program's name; None for those of the process.
        program: what is typed to start the program, "foveal" or "python train.py".
    """
    if not {"", os.getcwd()} & set(sys.path):  # where plug-ins are looked for, as with `python -m`
        sys.path.insert(0, os.getcwd())
    warnings.filterwarnings("ignore", message=".*GPU.*MlpPolicy.*")
    keep_freed_memory()
    purpose = (__doc__ or "").splitlines()[0]
    words = sys.argv[1:] if arguments is None else arguments
    Program(program, purpose, COMMANDS, MAIN_JOB, MAY_CHANGE, ADDING).run(words)
