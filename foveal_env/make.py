"""From names to objects: worlds, sources and frozen perceptions."""

import json
import os
from contextlib import nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from foveal_env.checkpoint import find
from foveal_env.devices import arithmetic, check_device
from foveal_env.perception import Perception
from foveal_env.registry import build, names_of_file, options_of, takes_any
from foveal_env.sources import SOURCES
from foveal_env.sources.base import Source
from foveal_env.trust import made_from
from foveal_env.world import Rules, World


def make_world(
    *,
    perception: str = "digits",
    source: str | None = None,
    canvas: int | None = None,
    source_options: dict[str, Any] | None = None,
    split: str = "train",
    task: str | None = None,
    task_options: dict[str, Any] | None = None,
    device: str = "cpu",
    precision: str = "float32",
    trust: bool = False,
    **rules: Any,
) -> World:
    """Make a world from names; frozen perceptions and sources are shared within a process.

    Args:
        perception: name of a shipped perception, or the path of a checkpoint.
        source: name of a source, or "module:Class"; None is the one that the perception was trained on.
        canvas: side of the canvas of composed scenes in px; None is the source's or the perception's own.
        source_options: more options of the source's constructor. Those that the perception was trained with are kept
            if the source is the same.
        split: "train", "validation" or "test".
        task: question that is asked of a perception that answers several; None, or the name of its own task,
            "several", asks all of them in turn.
        task_options: options of the task that can still be chosen, such as the tolerance of a search; of several
            questions by the name of each, such as ``{"where": {"tolerance": 0.25}}``.
        device: torch device of images, encoder and state.
        precision: arithmetic of the encoder: "float32", "bfloat16", or "auto" (bfloat16 if the device has it).
        trust: whether the checkpoint may name any code to run, as a script does. Otherwise it may name what comes with
            the package, and classes of modules that are imported already.
        rules: rules of an episode: the fields of `foveal_env.world.Rules`.

    Raises ValueError, TypeError or FileNotFoundError if a name, an option or a file is not there or does not fit.
    """
    frozen = load_frozen(perception, device=device, precision=precision, task_options=task_options, trust=trust)
    trained_on = frozen.spec.get("source", "digits")
    given = {**(source_options or {}), **({} if canvas is None else {"canvas": canvas})}
    if task is not None:
        known = [frozen.task_name, *frozen.spec["task_config"].get("questions", ())]
        if task not in known:
            raise ValueError(f"unknown task {task!r} of this perception; known: {', '.join(known)}")
        if task != frozen.task_name:
            given["ask"] = task
    if source is None:
        with made_from(frozen.path, trust=frozen.is_trusted) if frozen.path else nullcontext():
            kind = SOURCES.resolve(trained_on)
    else:
        kind = SOURCES.resolve(source)
    own = frozen.source_options() if source in (None, trained_on) else {}
    changed = {**own, **given}
    frozen.check_target_known(kind)
    if "canvas" in changed and "canvas" not in options_of(kind) and not takes_any(kind):
        raise ValueError(
            f"scenes of the source {source or trained_on!r} have no canvas; an id that sets one takes canvas=None"
        )
    return World(_source(frozen, source or trained_on, split, own, given), frozen, build(Rules, **rules))


def _source(frozen: Perception, name: str, split: str, own: dict[str, Any], given: dict[str, Any]) -> Source:
    """Make a source with options from the header of a perception, `own`, and with those of the caller, `given`."""
    options = {**own, **given}
    if not own or frozen.path is None:
        return make_source(name, split, **options)
    words = [value for value in given.values() if isinstance(value, str)]
    try:
        with names_of_file(frozen.path, trust=frozen.is_trusted, given=words):
            return make_source(name, split, **options)
    except Exception:
        with suppress(OSError, ImportError), made_from(frozen.path, trust=frozen.is_trusted):
            make_source(name, split, **own)  # is the header alone at fault?
        raise


def make_source(name: str, split: str = "train", **options: Any) -> Source:
    """Make a source by name, or return the one made before with the same arguments in this process."""
    return _make_source(name, split, json.dumps(options, sort_keys=True, default=str))


@lru_cache(maxsize=16)
def _make_source(name: str, split: str, options: str) -> Source:
    return SOURCES.make(name, split=split, **json.loads(options))


def load_frozen(
    name: str | os.PathLike,
    *,
    device: str = "cpu",
    precision: str = "float32",
    task_options: dict[str, Any] | None = None,
    trust: bool = False,
) -> Perception:
    """Return a frozen perception on a device; the same one for the same file and arguments.

    Args:
        name: name of a shipped perception, or the path of a checkpoint.
        device: torch device.
        precision: arithmetic of the encoder.
        task_options: options of the task to change, such as a tolerance; weights must not depend on them.
        trust: whether the checkpoint may run code, as in `Perception.load`.

    Raises ValueError or FileNotFoundError as `Perception.load` does, and ValueError for an unknown precision.
    """
    check_device(device)
    path = find(name)
    changed = (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else (0, 0)
    options = json.dumps(task_options or {}, sort_keys=True)
    return _load_frozen(path, changed, str(device), arithmetic(precision, device), options, trust)


@lru_cache(maxsize=8)
def _load_frozen(
    path: Path, changed: tuple[int, int], device: str, precision: torch.dtype, task_options: str, trust: bool
) -> Perception:
    perception = Perception.load(path, trust=trust, **json.loads(task_options))
    return perception.frozen().to(device).compute_in(precision)
