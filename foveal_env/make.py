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
from foveal_env.randomness import seeded
from foveal_env.registry import build, names_of_file, options_of, takes_any
from foveal_env.sources import SOURCES
from foveal_env.sources.base import Source
from foveal_env.trust import made_from
from foveal_env.world import Rules, World


def make_world(
    *,
    perception: str | os.PathLike | Perception = "digits",
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
        perception: name of a shipped perception, the path of a checkpoint, or a ready `Perception`. That one is used as
            it is if it is frozen, or else a frozen copy. The spec of an environment with it cannot become JSON.
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
    trained_on = frozen.spec.get("source")
    chosen = source or trained_on
    if chosen is None:
        raise ValueError(
            f"the perception {frozen.path or ''} does not say which source it was trained on: name one, such as "
            "source='digits'"
        )
    given = {**(source_options or {}), **({} if canvas is None else {"canvas": canvas})}
    if task is not None:
        known = [frozen.task_name, *frozen.spec["task_config"].get("questions", ())]
        if task not in known:
            raise ValueError(f"unknown task {task!r} of this perception; known: {', '.join(known)}")
        if task != frozen.task_name:
            given["ask"] = task
    with made_from(frozen.path, trust=frozen.is_trusted) if source is None and frozen.path else nullcontext():
        kind = SOURCES.resolve(chosen)
        knows_canvas = has_canvas(chosen)
    own = frozen.source_options() if source in (None, trained_on) else {}
    changed = {**own, **given}
    frozen.check_target_known(kind)
    if "canvas" in changed and not knows_canvas:
        raise ValueError(f"scenes of the source {chosen!r} have no canvas, got canvas={changed['canvas']}")
    return World(_source(frozen, chosen, split, own, given), frozen, build(Rules, **rules))


def with_defaults(defaults: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `make_world` for an id.

    The canvas of an id is for its own perception on scenes that have a canvas. It is left out if `options` name another
    perception, a canvas of the source, or a source without one. So are its options of source and task, if `options`
    name another perception; otherwise those that are given change them one by one. All other defaults hold.

    Args:
        defaults: options of the id itself.
        options: options that are given.
    """
    own = defaults.get("perception", "digits")
    source = options.get("source")
    has_own = "canvas" in (options.get("source_options") or {})
    if has_own or options.get("perception", own) != own or (source and not has_canvas(source)):
        defaults = {name: value for name, value in defaults.items() if name != "canvas"}
    groups = {name: defaults.get(name, {}) for name in ("source_options", "task_options")}
    if options.get("perception", own) != own or source:
        groups = {}
        defaults = {name: value for name, value in defaults.items() if name not in ("source_options", "task_options")}
    changed = {name: {**group, **(options.get(name) or {})} for name, group in groups.items() if group}
    return {**defaults, **options, **changed}


def has_canvas(source: str) -> bool:
    """Return whether the scenes of a source, by name, are laid on a canvas that can be chosen."""
    kind = SOURCES.resolve(source)
    return "canvas" in options_of(kind) or takes_any(kind)


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
    name: str | os.PathLike | Perception,
    *,
    device: str = "cpu",
    precision: str = "float32",
    task_options: dict[str, Any] | None = None,
    trust: bool = False,
) -> Perception:
    """Return a frozen perception on a device; the same one for the same file and arguments.

    Args:
        name: name of a shipped perception, the path of a checkpoint, or a ready perception: that one itself if it is
            frozen and all else is as asked for, or else a frozen copy.
        device: torch device.
        precision: arithmetic of the encoder.
        task_options: options of the task to change, such as a tolerance; weights must not depend on them.
        trust: whether the checkpoint may run code, as in `Perception.load`.

    Raises ValueError or FileNotFoundError as `Perception.load` does, and ValueError for an unknown precision.
    """
    check_device(device)
    if isinstance(name, Perception):
        return _frozen_copy(name, torch.device(device), arithmetic(precision, device), task_options)
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


def _frozen_copy(
    perception: Perception, device: torch.device, precision: torch.dtype, task_options: dict[str, Any] | None
) -> Perception:
    """Return a perception itself if it is frozen and all else is as asked for, or else a frozen copy."""
    weights, device = list(perception.parameters()), torch.empty(0, device=device).device  # cuda is cuda:0
    is_frozen = not perception.training and not any(weight.requires_grad for weight in weights)
    is_there = all(weight.device == device for weight in weights) and perception.precision == precision
    if is_frozen and is_there and not task_options:
        return perception
    config = {**perception.spec["task_config"], **(task_options or {})}
    with seeded(0):
        copy = Perception({**perception.spec, "task_config": config})
    copy.load_state_dict(perception.state_dict())
    return copy.frozen().to(device).compute_in(precision)
