"""Trains as a person wants it: a progress bar, TensorBoard, checkpoints, and Ctrl-C that loses nothing."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from foveal_agents.base import Agent, evaluate
from foveal_agents.plots import scan_paths
from foveal_env.checkpoint import write_json
from foveal_env.world import World

SAVE_EVERY = 30.0  # seconds between checkpoints
PICTURE_EVERY = 50  # updates between scan-path images in TensorBoard
CURVE = "curve.json"
CURVE_SCENES = 900  # validation scenes of each point of a learning curve


def train_agent(agent: Agent, glimpses: int, folder: Path, *, validation: World | None, curve: int = 0) -> None:
    """Train an agent until it has taken `glimpses` glimpses in all; logs and `policy.safetensors` go to `folder`.

    Args:
        agent: an agent that learns, new or loaded.
        glimpses: budget.
        folder: output folder.
        validation: world of the scan paths and accuracy that TensorBoard shows now and then; None shows none.
        curve: points of the learning curve on validation scenes that is left in `folder`/curve.json; 0 for none.
    """
    points = read_curve(folder) if agent.glimpses else []
    if curve and not points:
        points = [curve_point(agent, validation)]
        write_json(folder / CURVE, points)
    bar = tqdm(total=glimpses, desc=f"train {agent.name} (seed {agent.seed})", unit="glimpse", unit_scale=True)
    resume = agent.glimpses > 0
    with bar, session(folder, resume=resume) as writer, saving(agent.save, folder / "policy.safetensors") as updated:
        started, started_cpu = time.monotonic(), time.process_time()
        for number, logs in enumerate(agent.train(glimpses)):
            agent.seconds += time.monotonic() - started
            agent.cpu_seconds += time.process_time() - started_cpu
            agent.glimpses = int(logs.pop("glimpses"))
            bar.update(min(agent.glimpses, glimpses) - bar.n)
            bar.set_postfix({key: f"{logs[key]:.3f}" for key in ("reward", "accuracy") if key in logs})
            for key, value in logs.items():
                writer.add_scalar(f"train/{key}", value, agent.glimpses)
            if validation is not None and not curve and number % PICTURE_EVERY == 0:
                show_progress(writer, agent, validation)
            if curve and agent.glimpses >= min(glimpses, len(points) * glimpses / curve):
                points.append(curve_point(agent, validation))
                write_json(folder / CURVE, points)
            updated()
            started, started_cpu = time.monotonic(), time.process_time()


def curve_point(agent: Agent, validation: World) -> dict[str, float]:
    """Return what an agent has spent in training, and its greedy accuracy at the last glimpse."""
    accuracy = evaluate(validation, agent, scenes=CURVE_SCENES).accuracy[-1]
    return {"glimpses": agent.glimpses, "seconds": round(agent.seconds, 2), "accuracy": round(accuracy, 4)}


def read_curve(folder: Path) -> list[dict[str, float]]:
    """Return the learning curve that a training left in a folder, or nothing."""
    path = folder / CURVE
    return json.loads(path.read_text()) if path.is_file() else []


def show_progress(writer: SummaryWriter, agent: Agent, validation: World) -> None:
    """Add the scan paths and the accuracy on a few validation scenes to TensorBoard."""
    evaluation = evaluate(validation, agent, scenes=180)
    writer.add_figure("validation/scan_paths", scan_paths(validation, evaluation, range(8)), agent.glimpses)
    writer.add_scalar("validation/accuracy", evaluation.accuracy[-1], agent.glimpses)


@contextmanager
def session(folder: Path, *, resume: bool) -> Iterator[SummaryWriter]:
    """Open an output folder with its TensorBoard writer; a new run removes the events of an old one."""
    folder.mkdir(parents=True, exist_ok=True)
    if not resume:
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
    writer = SummaryWriter(str(folder))
    try:
        yield writer
    finally:
        writer.close()


@contextmanager
def saving(save: Callable[[Path], None], path: Path) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each update; it saves now and then, and at the end.

    Ctrl-C and SIGTERM wait for the update under way, so that what is saved is whole and a resumed run ends where an
    uninterrupted one does; then the process exits. A second one stops at once.
    """
    stop, last = threading.Event(), time.monotonic()

    def ask(signal_number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    def end_if_asked() -> None:
        if stop.is_set():
            save(path)
            raise SystemExit(f"stopped; saved in {path}. The same command with --resume goes on from here")

    def updated() -> None:
        nonlocal last
        end_if_asked()
        if time.monotonic() - last > SAVE_EVERY:
            save(path)
            last = time.monotonic()

    in_main = threading.current_thread() is threading.main_thread()  # only there can signals be caught
    caught = (signal.SIGINT, signal.SIGTERM) if in_main else ()
    before = {number: signal.signal(number, ask) for number in caught}
    try:
        yield updated
        end_if_asked()
        save(path)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
