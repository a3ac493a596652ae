"""Both stages' loops as a person wants them: progress, TensorBoard, checkpoints, and Ctrl-C that loses nothing."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from foveal_agents.base import Agent, make_agent
from foveal_agents.plots import first_scan_paths
from foveal_agents.rollout import Evaluation, evaluate
from foveal_env.checkpoint import write_json
from foveal_env.pretraining import Pretraining
from foveal_env.world import World

SAVE_EVERY = 30.0  # seconds between checkpoints
LINE_EVERY = 30.0  # seconds between lines of progress if there is no terminal
PICTURE_EVERY = 50  # updates of a policy between scan-path images in TensorBoard
LOG_EVERY = 20  # updates of a perception between entries in TensorBoard
VALIDATE_EVERY = 1000  # updates of a perception between validations
VALIDATION_SCENES = 900
PICTURE_SCENES = 180  # validation scenes of the accuracy beside the scan paths
GLIMPSES = {"random": "at random", "oracle": "near the target"}  # of the agents that a perception is validated with
CURVE = "curve.json"


class Progress:
    """Tells how far a training is: by a bar on a terminal, and by a line every 30 seconds in a log file.

    Args:
        title: what is trained.
        unit: what is counted, in the plural.
        total: count at the end.
        done: count at the beginning.
    """

    def __init__(self, title: str, unit: str, *, total: int, done: int = 0):
        self.title, self.unit, self.total, self.done = title, unit, total, done
        self.bar = tqdm(total=total, initial=done, desc=title, unit=f" {unit}", unit_scale=True, disable=None)
        self.figures: Mapping[str, float] = {}
        self.started = self.told = time.monotonic()

    def __enter__(self) -> "Progress":
        self._tell()
        return self

    def __exit__(self, *error: object) -> None:
        self._tell()
        self.bar.close()

    def update(self, done: int, figures: Mapping[str, float] | None = None) -> None:
        """Say that `done` are done, and what is new of the figures to show; None for nothing."""
        self.bar.update(min(done, self.total) - self.done)
        self.done = min(done, self.total)
        if figures is not None:
            self.figures = figures
            self.bar.set_postfix({name: f"{value:.3f}" for name, value in figures.items()})
        if time.monotonic() - self.told > LINE_EVERY:
            self._tell()

    def _tell(self) -> None:
        self.told = time.monotonic()
        figures = "".join(f", {name} {value:.3f}" for name, value in self.figures.items())
        if self.bar.disable:
            seconds = self.told - self.started
            line = f"{self.title}: {self.done:,} of {self.total:,} {self.unit} after {seconds:.0f} s{figures}"
            print(line, file=sys.stderr, flush=True)


def pretrain(
    job: Pretraining, folder: Path, *, validation: World | None = None, resume: bool = False
) -> dict[str, list[float]]:
    """Pretrain a perception (stage 1); logs and `training.safetensors` go to `folder`.

    Args:
        job: training, new.
        folder: output folder.
        validation: world of the validation scenes, with the job's perception and rules; None for no validation.
        resume: go on from the checkpoint in the folder.

    Returns:
        The task's main figure after each look at the end of the training, for each agent of the validation. It is
        empty if nothing was left to do.
    """
    path, found = folder / "training.safetensors", {}
    if resume:
        job.load(path)
    progress = Progress("pretrain", "updates", total=job.steps, done=job.done)
    events = session(folder, after=job.done if resume else None)
    with progress, events as writer, saving(job.save, path, writer) as updated:
        while job.done < job.steps:
            logs = named(job.update(), job.world)
            progress.update(job.done)
            if job.done % LOG_EVERY == 0 or job.done == job.steps:
                progress.update(job.done, {name: values[-1].item() for name, values in logs.items()})
                add_scalars(writer, "train", {name: values.mean() for name, values in logs.items()}, job.done)
            if validation is not None and (job.done % VALIDATE_EVERY == 0 or job.done == job.steps):
                found = validate(job, validation)
                add_scalars(writer, "validation", {name: values[-1] for name, values in found.items()}, job.done)
            updated()
    return found


@torch.no_grad()
def validate(job: Pretraining, world: World) -> dict[str, list[float]]:
    """Print and return the task's main figure after each look at random and, if the target is known, near it."""
    job.perception.eval()
    found = {}
    for name in GLIMPSES if world.source.knows_target else ["random"]:
        key, found[name] = main_figure(
            world, evaluate(world, make_agent(name, world), scenes=world.source.at_most(VALIDATION_SCENES))
        )
        values = " ".join(f"{value:.3f}" for value in found[name])
        title = world.metrics[key].title if key in world.metrics else key
        tqdm.write(f"{job.done} updates, {title} after each look {GLIMPSES[name]}: {values}")
    return found


def main_figure(world: World, evaluation: Evaluation) -> tuple[str, list[float]]:
    """Return the name of the figure that a task is measured by, and its mean after each look."""
    for name in world.metrics:
        column = evaluation.figures.columns[name]
        if not column.isnan().all():  # of several questions one may be asked alone
            return name, column.nanmean(dim=0).tolist()
    return "accuracy", evaluation.accuracy


def named(logs: Mapping[str, Any], world: World) -> dict[str, Any]:
    """Return logs in which the share of right answers is called accuracy only if the task calls it that."""
    is_accuracy = next(iter(world.metrics), "accuracy") == "accuracy"
    return {"right" if name == "accuracy" and not is_accuracy else name: value for name, value in logs.items()}


def train_agent(
    agent: Agent, glimpses: int, folder: Path, *, validation: World | None = None, curve_points: int = 0
) -> None:
    """Train an agent until it has taken `glimpses` glimpses in all; logs and `policy.safetensors` go to `folder`.

    Args:
        agent: agent that learns, new or loaded.
        glimpses: budget.
        folder: output folder.
        validation: world of the scan paths and figures that TensorBoard shows now and then; None shows none.
        curve_points: points of the learning curve on validation scenes that is left in `folder`/curve.json, in place
            of the scan paths; 0 for none.
    """
    is_resumed = agent.spent.glimpses > 0
    curve = [point for point in read_curve(folder) if point["glimpses"] <= agent.spent.glimpses] if is_resumed else []
    if curve_points and not curve:
        extend_curve(curve, folder, agent, validation)
    title = f"train {agent.name} (seed {agent.seed})"
    progress = Progress(title, "glimpses", total=glimpses, done=agent.spent.glimpses)
    path = folder / "policy.safetensors"
    events = session(folder, after=agent.spent.glimpses if is_resumed else None)
    with progress, events as writer, saving(agent.save, path, writer) as updated:
        for number, logs in enumerate(agent.train(glimpses)):
            done, logs = agent.spent.glimpses, named(logs, agent.world)
            progress.update(done, {name: logs[name] for name in ("reward", "accuracy", "right") if name in logs})
            add_scalars(writer, "train", {name: value for name, value in logs.items() if name != "glimpses"}, done)
            if curve_points and done >= min(glimpses, len(curve) * glimpses / curve_points):
                extend_curve(curve, folder, agent, validation)
            if validation is not None and not curve_points and number % PICTURE_EVERY == 0:
                show_progress(writer, agent, validation)
            updated()


def extend_curve(curve: list[dict[str, float]], folder: Path, agent: Agent, validation: World | None) -> None:
    """Add to a learning curve what an agent has spent, and its greedy accuracy at the last glimpse."""
    if validation is None:
        raise ValueError("a learning curve needs a world of validation scenes")
    accuracy = evaluate(validation, agent, scenes=validation.source.at_most(VALIDATION_SCENES)).accuracy[-1]
    spent = {"glimpses": agent.spent.glimpses, "seconds": round(agent.spent.seconds, 2)}
    curve.append({**spent, "accuracy": round(accuracy, 4)})
    write_json(folder / CURVE, curve)


def read_curve(folder: Path) -> list[dict[str, float]]:
    """Return the learning curve that a training left in a folder, or nothing."""
    path = folder / CURVE
    return json.loads(path.read_text()) if path.is_file() else []


def show_progress(writer: SummaryWriter, agent: Agent, validation: World) -> None:
    """Add the scan paths and the main figure on a few validation scenes to TensorBoard."""
    evaluation = evaluate(validation, agent, scenes=validation.source.at_most(PICTURE_SCENES))
    figure = first_scan_paths(validation, evaluation, agent)
    writer.add_figure("validation/scan_paths", figure, agent.spent.glimpses)
    name, values = main_figure(validation, evaluation)
    writer.add_scalar(f"validation/{name}", values[-1], agent.spent.glimpses)


def add_scalars(writer: SummaryWriter, group: str, values: Mapping[str, Any], step: int) -> None:
    """Add numbers to TensorBoard under the name of a group."""
    for name, value in values.items():
        writer.add_scalar(f"{group}/{name}", value, step)


@contextmanager
def session(folder: Path, *, after: int | None = None) -> Iterator[SummaryWriter]:
    """Open an output folder with its TensorBoard writer.

    Args:
        folder: output folder.
        after: step that a resumed run goes on from: TensorBoard forgets what an earlier process wrote of later ones,
            because they are made again. None is a new run, which removes the events of an old one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("events.out.tfevents.*"):
        if after is None:
            old.unlink()
        else:  # event files are read in the order of their names, which begin with whole seconds
            time.sleep(min(1.0, max(0.0, int(old.name.split(".")[3]) + 1 - time.time())))
    told = threading.excepthook
    # A full disk ends TensorBoard's own thread. The writer raises the error again in the training, where it is told.
    threading.excepthook = lambda fault: None if isinstance(fault.exc_value, OSError) else told(fault)
    try:
        with closing(SummaryWriter(str(folder), purge_step=None if after is None else after + 1)) as writer:
            yield writer
    finally:
        threading.excepthook = told


@contextmanager
def saving(save: Callable[[Path], None], path: Path, writer: SummaryWriter) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each update; it saves at once, now and then, and at the end.

    What was logged is on disk before the checkpoint is: whatever kills the process, a resumed run has each point once.
    Ctrl-C and SIGTERM wait for the update under way, so that what is saved is whole and a resumed run ends where an
    uninterrupted one does; then the process exits. A second one stops at once.
    """
    stop, last = threading.Event(), time.monotonic()

    def save_all() -> None:
        writer.flush()
        save(path)

    def ask(signal_number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    def end_if_asked() -> None:
        if stop.is_set():
            save_all()
            raise SystemExit(f"stopped; saved in {path}. The same command with --resume goes on from here")

    def updated() -> None:
        nonlocal last
        end_if_asked()
        if time.monotonic() - last > SAVE_EVERY:
            save_all()
            last = time.monotonic()

    in_main = threading.current_thread() is threading.main_thread()  # only there can signals be caught
    caught = (signal.SIGINT, signal.SIGTERM) if in_main else ()
    before = {number: signal.signal(number, ask) for number in caught}
    try:
        save_all()
        yield updated
        end_if_asked()
        save_all()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
