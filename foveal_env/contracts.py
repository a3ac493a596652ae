"""The contracts of plug-ins, checked once: when a world is made, and on the first scenes that it shows.

Each fault is one ValueError; it names the class, the method and what was expected. Later calls are not checked.

B batch, C channels, Q prompt size, N state tokens, D width.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from foveal_encoders.base import Encoder, Glimpse
from foveal_env.data import Outcome, Scenes
from foveal_env.images import Images
from foveal_env.randomness import seeded
from foveal_env.retina import extract
from foveal_env.sources.base import SPLITS, Source
from foveal_env.tasks.base import Task

EDGE = 1e-3  # by which a box or a score may exceed its range: rounding
FEW = 2  # scenes that an encoder is tried on


def check_source(source: Source) -> None:
    """Raise ValueError unless the attributes of a source are those that `Source` describes."""
    counts = {"channels": 1, "count": 1, "prompt_size": 0}
    for name, least in counts.items():
        value = getattr(source, name, None)
        _expect(_is_whole(value, least), source, name, f"a whole number of at least {least}", value)
    split, classes = getattr(source, "split", None), getattr(source, "classes", None)
    _expect(split in SPLITS, source, "split", f"one of {', '.join(SPLITS)}: call super().__init__(split)", split)
    is_names = isinstance(classes, tuple | list) and all(isinstance(name, str) for name in classes)
    _expect(is_names, source, "classes", "the names of the classes, a tuple of strings", classes)
    distinct = source.distinct_scenes
    _expect(distinct is None or _is_whole(distinct, 1), source, "distinct_scenes", "None or at least 1", distinct)


def check_encoder(encoder: Encoder) -> None:
    """Raise ValueError unless an encoder says what shape its state has."""
    shape: Any = getattr(encoder, "state_shape", None)
    is_shape = isinstance(shape, tuple | list) and len(shape) == 2 and all(_is_whole(length, 1) for length in shape)
    _expect(is_shape, encoder, "state_shape", "(N, D), the tokens of a state and their width", shape)
    grid = encoder.state_grid
    is_grid = isinstance(grid, tuple | list) and len(grid) == 2 and all(_is_whole(length, 1) for length in grid)
    fits = grid is None or (is_grid and math.prod(grid) <= shape[0])
    _expect(fits, encoder, "state_grid", f"None, or (rows, columns) of at most {shape[0]} tokens", grid)


def first_scenes(source: Source, index: Tensor, make: Callable[[Tensor], Scenes] | None = None) -> Scenes:
    """Return the first scenes of a source, checked.

    Args:
        source: the source.
        index: [B] int64 of the scenes.
        make: what returns them, by default ``source.scenes``.

    Raises ValueError unless they are what `Source.scenes` describes.
    """
    check_source(source)
    try:
        scenes = (make or source.scenes)(index)
    except (ValueError, TypeError) as error:
        if type(source).__module__.startswith("foveal_env."):
            raise
        raise ValueError(f"{type(source).__name__}.scenes: {error}") from error
    _check_shapes(source, index, scenes)
    _check_values(source, index, scenes)
    return scenes


def _check_shapes(source: Source, index: Tensor, scenes: Scenes) -> None:
    where, count = f"{type(source).__name__}.scenes", len(index)
    if not isinstance(scenes, Scenes):
        raise ValueError(f"{where} must return Scenes, got {_describe(scenes)}")
    if not isinstance(scenes.images, Images):
        raise ValueError(f"{where} must return images made by Images.prepare, got {_describe(scenes.images)}")
    if len(scenes.images) != count or scenes.images.channels != source.channels:
        raise ValueError(
            f"{where} must return {count} images of {source.channels} channels, got {len(scenes.images)} of "
            f"{scenes.images.channels}: Images.prepare takes [B, C, H, W], and not [B, H, W, C]"
        )
    for name, kind, shape in (
        ("label", "int64", (count,)),
        ("box", "float32", (count, 4)),
        ("prompt", "float32", (count, source.prompt_size)),
        ("index", "int64", (count,)),
    ):
        _expect_tensor(getattr(scenes, name), where, name, shape, getattr(torch, kind))


def _check_values(source: Source, index: Tensor, scenes: Scenes) -> None:
    where, label, box = f"{type(source).__name__}.scenes", scenes.label, scenes.box
    if not torch.equal(scenes.index.cpu(), index.cpu()):
        raise ValueError(f"{where} must return the index that it was given as `index`, got other numbers")
    classes = max(1, len(source.classes))
    if not ((label >= 0) & (label < classes)).all():
        raise ValueError(f"{where} must return labels of 0 to {classes - 1}, got {_range(label)}")
    if not torch.isfinite(scenes.prompt).all():
        raise ValueError(f"{where} must return finite prompts, got NaN or infinity")
    if not source.knows_target:
        if not box.isnan().all():
            raise ValueError(f"{where} returns boxes, but {type(source).__name__}.knows_target is False")
        return
    inside = (box[:, :2].abs() <= 1 + EDGE) & (box[:, 2:] > 0) & (box[:, 2:] <= 2 + EDGE)
    if not inside.all():
        raise ValueError(
            f"{where} must return boxes (x, y of the centre, width, height) in gaze coordinates: centres in [-1, 1], "
            f"sides above 0 and up to 2, which is the whole image, and not in px; got {_range(box)}"
        )


def check_looks(encoder: Encoder, task: Task, scenes: Scenes) -> None:
    """Let an encoder and a head look at a few scenes; what only acts as an encoder, in a test, is left alone.

    Raises ValueError unless they return what `Encoder` and `Task` describe. Nothing is changed: modes, statistics and
    random numbers are left as they were.
    """
    if not isinstance(encoder, Encoder):
        return
    scenes = scenes.rows(slice(FEW))
    count, kind = len(scenes), type(encoder).__name__
    with _untouched(encoder, task):
        shape = (count, *encoder.state_shape)
        state = encoder.initial(count, scenes.prompt)
        _expect_tensor(state, f"{kind}.initial", "a state", shape)
        glimpse: Glimpse = extract(scenes.images, state.new_zeros(count, 2).float(), encoder.layout)
        state = encoder.step(state, glimpse)
        _expect_tensor(state, f"{kind}.step", "a state", shape)
        if not torch.isfinite(state).all():
            raise ValueError(f"{kind}.step must return a finite state, got NaN or infinity")
        observation = encoder.observe(state)
        _expect_tensor(observation, f"{kind}.observe", "an observation", (count, *encoder.observation_shape))
        _check_outcome(task, task.score(task(state.float()), scenes), scenes)


def _check_outcome(task: Task, outcome: Outcome, scenes: Scenes) -> None:
    count, where = len(scenes), f"{type(task).__name__}.score"
    if not isinstance(outcome, Outcome):
        raise ValueError(f"{where} must return an Outcome, got {_describe(outcome)}")
    _expect_tensor(outcome.loss, where, "loss", (count,))
    _expect_tensor(outcome.score, where, "score", (count,))
    _expect_tensor(outcome.correct, where, "correct", (count,), torch.bool)
    if not isinstance(outcome.prediction, Tensor) or len(outcome.prediction) != count:
        raise ValueError(f"{where} must return prediction of shape [{count}, ...], got {_describe(outcome.prediction)}")
    if not (torch.isfinite(outcome.loss).all() or scenes.box.isnan().any()):  # of an unknown target nothing is known
        raise ValueError(f"{where} must return a finite loss, got NaN or infinity")
    if ((outcome.score < -EDGE) | (outcome.score > 1 + EDGE)).any():
        raise ValueError(f"{where} must return a score in [0, 1], got {_range(outcome.score)}")


@contextmanager
def _untouched(*modules: nn.Module) -> Iterator[None]:
    """Compute in evaluation mode, without gradients, and with random numbers of its own."""
    parts = {part: part.training for module in modules for part in module.modules()}
    for part in parts:
        part.training = False
    try:
        with torch.no_grad(), seeded(0):
            yield
    finally:
        for part, is_training in parts.items():
            part.training = is_training


def _expect(is_right: bool, owner: object, name: str, what: str, got: object) -> None:
    if not is_right:
        raise ValueError(f"{type(owner).__name__}.{name} must be {what}, got {got!r}")


def _expect_tensor(value: Any, where: str, name: str, shape: tuple[int, ...], kind: torch.dtype | None = None) -> None:
    """Raise ValueError unless a value is a tensor of a shape and a type; any floating point if `kind` is None."""
    is_kind = isinstance(value, Tensor) and (value.is_floating_point() if kind is None else value.dtype == kind)
    if not is_kind or tuple(value.shape) != shape:
        named = "float" if kind is None else str(kind).removeprefix("torch.")
        raise ValueError(f"{where} must return {name} {list(shape)} {named}, got {_describe(value)}")


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{list(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__


def _range(values: Tensor) -> str:
    return "NaN" if values.isnan().any() else f"{values.min().item():.6g} to {values.max().item():.6g}"


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
