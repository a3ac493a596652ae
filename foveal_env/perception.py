"""A perception: encoder and task head as one thing. It is trained in stage 1, then frozen and shared."""

import hashlib
import json
import os
from dataclasses import fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from foveal_encoders import ENCODERS as ENCODER_NAMES
from foveal_encoders.base import Encoder, Glimpse, Inputs
from foveal_env import checkpoint
from foveal_env.checkpoint import find
from foveal_env.contracts import check_encoder, first_scenes
from foveal_env.data import Outcome, Scenes
from foveal_env.randomness import float32_by_default, seeded
from foveal_env.registry import Registry, difference, options_of
from foveal_env.sources.base import Source
from foveal_env.tasks import TASKS
from foveal_env.tasks.base import Task

ENCODERS = Registry("encoder", ENCODER_NAMES, base="foveal_encoders.base:Encoder")
OF_SCENES = {field.name for field in fields(Inputs)}  # options of an encoder that its source decides


class Perception(nn.Module):
    """An encoder and the head of a task, with what is needed to make both again.

    Args:
        spec: JSON: "encoder" and "encoder_config", "task" and "task_config" (names and flat constructor arguments),
            "source" and "source_options" (what it was trained on), "prompt_names" (what the entries of its prompts
            stand for), and anything else worth keeping.
    """

    def __init__(self, spec: dict[str, Any]):
        super().__init__()
        self.spec = spec = json.loads(json.dumps(spec))  # as a checkpoint will have it
        with float32_by_default():
            self.encoder: Encoder = ENCODERS.make(spec["encoder"], **spec["encoder_config"])
            check_encoder(self.encoder)
            self.task: Task = TASKS.resolve(spec["task"])(self.encoder.state_shape, **spec["task_config"])
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
        wanted = json.loads(json.dumps(self.task.config_for(source))) if source.truth_known else {}
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
                    f"the perception does not fit the source: its {what} is {ours}, the source's is {theirs}"
                )

    def check_target_known(self, source: type[Source], known: bool | None = None) -> None:
        """Raise ValueError if the task needs the place of the target and this kind of source does not know it."""
        if self.task.needs_target and not (source.knows_target if known is None else known):
            raise ValueError(
                f"the task {self.task_name!r} needs to know where the target is; this source does not (it has no boxes)"
            )

    def check_kind(self, spec: dict[str, Any], origin: object) -> None:
        """Raise ValueError unless weights made with `spec` fit this perception; `origin` names them."""
        theirs, ours = ({**given, "encoder_config": _completed(given)} for given in (spec, self.spec))
        for key in ("encoder", "encoder_config", "task", "task_config"):
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
    def load(name: str | os.PathLike, **task_options: Any) -> "Perception":
        """Load a shipped perception by name, or any by the path of its file; `task_options` change those of the task.

        Raises:
            ValueError: unknown name (the error lists the known ones), or a damaged or foreign file.
            TypeError: the task has no such option.
            FileNotFoundError: a path that leads to no file.
        """
        path = find(name)
        tensors, spec = checkpoint.load(path, "perception")
        missing = {"encoder", "encoder_config", "task", "task_config"} - spec.keys()
        if missing:
            raise ValueError(f"{path} is damaged: its header lacks {', '.join(sorted(missing))}")
        perception = Perception({**spec, "task_config": {**spec["task_config"], **task_options}})
        checkpoint.restore(perception, tensors, path)
        return perception


def _completed(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the encoder's options, with the defaults of those that its spec leaves out."""
    options = options_of(ENCODERS.resolve(spec["encoder"]))
    defaults = {name: option.default for name, option in options.items()}
    return json.loads(json.dumps({**defaults, **spec["encoder_config"]}))
