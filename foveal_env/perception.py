"""A perception: encoder and task head as one thing. It is trained in stage 1, then frozen and shared."""

import hashlib
import json
import math
import os
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foveal_encoders import ENCODERS as ENCODER_NAMES
from foveal_encoders.base import Encoder, Glimpse, Inputs
from foveal_env import checkpoint
from foveal_env.checkpoint import find
from foveal_env.contracts import check_encoder, first_scenes
from foveal_env.data import Outcome, Scenes
from foveal_env.images.decode import MAX_PIXELS
from foveal_env.randomness import float32_by_default, seeded
from foveal_env.registry import Registry, difference, names_of_file, options_of
from foveal_env.sources.base import Source
from foveal_env.tasks import TASKS
from foveal_env.tasks.base import Task
from foveal_env.trust import check_entries, check_numbers, made_from

ENCODERS = Registry("encoder", ENCODER_NAMES, base="foveal_encoders.base:Encoder")
OF_SCENES = {field.name for field in fields(Inputs)}  # options of an encoder that its source decides
OF_MACHINE = ("root", "download")  # options of a source that a file does not bring along
ENTRIES = {"encoder": str, "encoder_config": dict, "task": str, "task_config": dict}  # of a header
MORE_ENTRIES = {"source": str, "source_options": dict, "prompt_names": list}
LARGEST = {"canvas": 4096, "clutter": 200, "side": 1024, "max_pixels": MAX_PIXELS}  # that a file may ask a source for
LARGEST_OPTION = 10_000
LARGEST_LOOK = 2**22  # numbers in the patches of one look, and in a state, that a file may ask for
LARGEST_ZOOM = 64


class Perception(nn.Module):
    """An encoder and the head of a task, with what is needed to make both again.

    Args:
        spec: JSON: "encoder" and "encoder_config", "task" and "task_config" (names and flat constructor arguments),
            "source" and "source_options" (what it was trained on), "prompt_names" (what the entries of its prompts
            stand for), and anything else worth keeping.

    Attributes:
        path: the file that it was read from; None if there is none.
        is_trusted: whether what its spec names may run code: it was made here, or its file is trusted.
    """

    def __init__(self, spec: dict[str, Any]):
        super().__init__()
        self.path: Path | None = None
        self.is_trusted = True
        self.spec = spec = json.loads(json.dumps(spec))  # as a checkpoint will have it
        with float32_by_default():
            self.encoder: Encoder = ENCODERS.make(spec["encoder"], **spec["encoder_config"])
            check_encoder(self.encoder)
            kind, grid = TASKS.resolve(spec["task"]), self.encoder.state_grid
            place = {"state_grid": grid} if grid and "state_grid" in options_of(kind) else {}
            self.task: Task = kind(self.encoder.state_shape, **place, **spec["task_config"])
        self.precision = torch.float32

    @staticmethod
    def build(
        source: Source, *, encoder: str = "multizoom", task: str = "classify", seed: int = 0, **config: Any
    ) -> "Perception":
        """Return an untrained perception for a source; `config` are flat options of the encoder's constructor."""
        kind, images = TASKS.resolve(task), first_scenes(source, torch.arange(64)).images
        task_config = {**kind.config_for(source), **kind.statistics_of(source)}
        pixels = torch.cat([images.pixels(row).flatten() for row in range(64)]).float() / 255
        inputs = Inputs(
            channels=source.channels,
            prompt_size=source.prompt_size,
            pixel_mean=round(pixels.mean().item(), 4),
            pixel_deviation=round(pixels.std().item(), 4),
        )
        made = {
            "encoder": encoder,
            "encoder_config": {**vars(inputs), **config},
            "task": task,
            "task_config": task_config,
            "prompt_names": source.prompt_names,
        }
        with seeded(seed):
            return Perception(made)

    @property
    def _in_file(self) -> str:
        """Words for errors that say where the perception comes from."""
        return f" of {self.path}" if self.path else ""

    @property
    def task_name(self) -> str:
        """Name of the task, or "module:Class"."""
        return self.spec["task"]

    def initial(self, scenes: Scenes) -> Tensor:
        """Return the state before any glimpse, [B, N, D] float32."""
        return self.encoder.initial(len(scenes), scenes.prompt).float()

    def step(self, state: Tensor, glimpse: Glimpse) -> Tensor:
        """Return the state after one glimpse, [B, N, D] float32; computed in `self.precision`."""
        with torch.autocast(state.device.type, self.precision, enabled=self.precision != torch.float32):
            return self.encoder.step(state, glimpse).float()

    def score(self, state: Tensor, scenes: Scenes) -> Outcome:
        """Score the answer that the head reads off a state."""
        return self.task.score(self.task(state), scenes)

    @cached_property
    def fingerprint(self) -> str:
        """A short name of these weights: what learns on a frozen perception belongs to it alone."""
        weights = checkpoint.serialise({name: tensor.cpu() for name, tensor in self.state_dict().items()})
        return hashlib.sha256(weights).hexdigest()[:12]

    def frozen(self) -> "Perception":
        """Freeze in place, and return it: evaluation mode, no gradients."""
        return self.eval().requires_grad_(False)

    def compute_in(self, precision: torch.dtype) -> "Perception":
        """Set the arithmetic of the encoder's steps in place, and return it; weights and states stay float32."""
        self.precision = precision
        return self

    def check_fits(self, source: Source) -> None:
        """Raise ValueError unless the scenes of a source fit encoder and head."""
        if source.truth_known:
            self.check_target_known(type(source), source.knows_target)
        try:
            wanted = json.loads(json.dumps(self.task.config_for(source))) if source.truth_known else {}
        except ValueError as error:
            raise ValueError(f"the perception{self._in_file} does not fit the source: {error}") from error
        mine = {key: self.spec["task_config"].get(key) for key in wanted}
        inputs = self.encoder.inputs
        names = self.spec.get("prompt_names", source.prompt_names)  # a hand-made spec may leave them out
        for what, ours, theirs in (
            ("prompts", list(names), list(source.prompt_names)),
            ("channels", inputs.channels, source.channels),
            ("prompt_size", inputs.prompt_size, source.prompt_size),
            ("task_config", mine, wanted),
        ):
            if ours != theirs:
                raise ValueError(
                    f"the perception{self._in_file} does not fit the source: its {what} is {ours}, the source's is "
                    f"{theirs}"
                )

    def check_target_known(self, source: type[Source], known: bool | None = None) -> None:
        """Raise ValueError if the task needs the place of the target and this kind of source does not know it."""
        if self.task.needs_target and not (source.knows_target if known is None else known):
            raise ValueError(
                f"the task {self.task_name!r}{self._in_file} needs to know where the target is; this source does not "
                "(it has no boxes)"
            )

    def check_kind(self, spec: dict[str, Any], origin: object) -> None:
        """Raise ValueError unless weights made with `spec` fit this perception; `origin` names them."""
        for key in ("encoder", "task"):
            if spec[key] != self.spec[key]:
                raise ValueError(f"{origin} belongs to another perception: {key} {spec[key]}, here {self.spec[key]}")
        theirs, ours = ({**given, "encoder_config": _completed(given)} for given in (spec, self.spec))
        for key in ("encoder_config", "task_config"):
            found = difference({key: theirs[key]}, {key: ours[key]})
            if found:
                raise ValueError(f"{origin} belongs to another perception: its {found}")

    def take_features(self, other: "Perception", origin: object) -> list[str]:
        """Take over the weights of another encoder that have the same name and shape; return the names of the others.

        Raises ValueError if the encoder is another one, or differs in more than the scenes decide; `origin` names it.
        """
        theirs, ours = (
            (spec["encoder"], {key: value for key, value in _completed(spec).items() if key not in OF_SCENES})
            for spec in (other.spec, self.spec)
        )
        found = difference(*(dict(encoder=name, **config) for name, config in (theirs, ours)))
        if found:
            raise ValueError(f"the features of {origin} are of another encoder: its {found}")
        mine, given = self.encoder.state_dict(), other.encoder.state_dict()
        fitting = {key: given[key] for key in mine if key in given and given[key].shape == mine[key].shape}
        self.encoder.load_state_dict({**mine, **fitting})
        return [key for key in mine if key not in fitting]

    def save(self, path: str | os.PathLike, *, float16: bool = False, **record: Any) -> None:
        """Save as one safetensors file.

        Args:
            path: the file.
            float16: round the weights to float16; the file is then half as large.
            record: more entries of the header, such as the command that made it; JSON.
        """
        weights = self.state_dict()
        if float16:
            weights = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
        checkpoint.save(path, "perception", weights, {**self.spec, **record})

    @staticmethod
    def load(name: str | os.PathLike, *, trust: bool = False, **task_options: Any) -> "Perception":
        """Load a shipped perception by name, or any by the path of its file; `task_options` change those of the task.

        Args:
            name: name of a shipped perception, or the path of a file.
            trust: whether the file may run code. Otherwise what it names must be registered, or be a class of a module
                that is imported already; and it takes no more memory than its weights account for.
            task_options: options of the task to change.

        Raises:
            ValueError: unknown name (the error lists the known ones), a damaged or foreign file, or one to be trusted.
            TypeError: the task has no such option.
            FileNotFoundError: a path that leads to no file.
        """
        path = find(name)
        tensors, spec = checkpoint.load(path, "perception")
        check_entries(path, spec, ENTRIES)
        check_entries(path, spec, {key: kind for key, kind in MORE_ENTRIES.items() if key in spec})
        with made_from(path, tensors, trust=trust), seeded(0):
            perception = Perception(spec)
        checkpoint.restore(perception, tensors, path)
        with made_from(path, trust=trust):
            perception.try_out(limited=not trust)
        if task_options:
            with names_of_file(path, trust=trust), seeded(0):
                perception = Perception({**spec, "task_config": {**spec["task_config"], **task_options}})
            checkpoint.restore(perception, tensors, path)
        perception.path, perception.is_trusted = path, trust
        return perception

    def try_out(self, *, limited: bool = False) -> None:
        """Look once at a black image; ValueError if that fails, or gives anything but a finite state and answer.

        Args:
            limited: refuse a look or a state that takes much memory.
        """
        layout, inputs, shape = self.encoder.layout, self.encoder.inputs, self.encoder.state_shape
        if limited and max(layout.pixels * inputs.channels, math.prod(shape)) > LARGEST_LOOK:
            raise ValueError(f"a look with {layout} and a state of shape {shape} take too much memory")
        where = layout.offsets()[None].float()
        if not where.abs().max() <= LARGEST_ZOOM:
            raise ValueError(f"a zoom lies in [-{LARGEST_ZOOM}, {LARGEST_ZOOM}], got {layout}")
        patches = where.new_zeros(1, layout.patches, inputs.channels, layout.patch, layout.patch)
        is_training = self.training
        with torch.no_grad(), seeded(0):
            self.eval()
            state = self.encoder.initial(1, where.new_zeros(1, inputs.prompt_size))
            state = self.step(state, Glimpse(patches, where))
            answer = self.task(state)
        self.train(is_training)
        if state.shape != (1, *shape) or not (state.isfinite().all() and answer.isfinite().all()):
            raise ValueError("what it makes of a black image is not finite, or not of the shape that it says")

    def source_options(self) -> dict[str, Any]:
        """Return options of the source that it was trained on.

        Of a file that is not trusted, those that belong to a machine are left out.

        Raises ValueError if such a file asks for too large a one.
        """
        options = self.spec.get("source_options", {})
        if self.is_trusted or self.path is None:
            return dict(options)
        options = {name: value for name, value in options.items() if name not in OF_MACHINE}
        check_numbers(self.path, options, LARGEST, default=LARGEST_OPTION)
        return options


def _completed(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the encoder's options, with the defaults of those that its spec leaves out."""
    options = options_of(ENCODERS.resolve(spec["encoder"]))
    defaults = {name: option.default for name, option in options.items()}
    return json.loads(json.dumps({**defaults, **spec["encoder_config"]}))
