"""A perception: encoder and task head as one thing, which is trained in stage 1, then frozen and shared."""

import hashlib
import inspect
import json
import os
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders import ENCODERS
from encoders.base import Encoder, Glimpse
from foveal_env import checkpoint
from foveal_env.sources.base import Scenes, Source
from foveal_env.tasks import TASKS
from foveal_env.tasks.base import Judgement, Task

NEEDS_TARGET = "the task {task!r} needs to know where the target is, which this source does not know (no boxes)"
PRECISIONS = ("float32", "bfloat16", "auto")


def arithmetic(precision: str, device: str | torch.device) -> torch.dtype:
    """Return the type that a precision stands for: "auto" is bfloat16 where the device computes it natively.

    On a CPU with such instructions a step of the shipped perception takes half as long in bfloat16. One user's machine
    may so differ from another's in the last digits; the other precisions do not depend on the machine's abilities.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if torch.device(device).type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return torch.bfloat16 if native else torch.float32


def check_device(device: str) -> None:
    """Raise ValueError unless torch knows the device and can use it here."""
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}; known: cpu, cuda, cuda:0, mps, ...") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r}: this torch sees no GPU; use 'cpu'")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}; use 'cpu'") from error


OF_SCENES = {"channels", "prompt_size", "pixel_mean", "pixel_deviation"}  # options of an encoder, taken from the source


class Perception(nn.Module):
    """An encoder and the head of a task, with what is needed to make both again.

    Args:
        spec: JSON: "encoder" and "encoder_config", "task" and "task_config" (names and constructor arguments),
            "source" and "source_options" (what it was trained on), "asks" (what its prompts stand for), and anything
            else worth keeping.
    """

    def __init__(self, spec: dict[str, Any]):
        super().__init__()
        self.spec = spec = json.loads(json.dumps(spec))  # as a checkpoint will have it
        self.encoder: Encoder = ENCODERS.make(spec["encoder"], **spec["encoder_config"])
        self.task: Task = TASKS.resolve(spec["task"])(self.encoder.state_shape, **spec["task_config"])
        self.precision = torch.float32

    @staticmethod
    def build(
        source: Source, *, encoder: str = "multizoom", task: str = "classify", seed: int = 0, **config: Any
    ) -> "Perception":
        """Return an untrained perception for a source; `config` are options of the encoder's constructor."""
        kind = TASKS.resolve(task)
        described = {**kind.describe(source), **kind.measure(source)}
        pixels = source.scenes(torch.arange(64)).images
        pixels = torch.cat([pixels.pixels(row).flatten() for row in range(64)]) / 255
        config = {
            "channels": source.channels,
            "prompt_size": source.prompt_size,
            "pixel_mean": round(pixels.mean().item(), 4),
            "pixel_deviation": round(pixels.std().item(), 4),
            **config,
        }
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            made = {"encoder": encoder, "encoder_config": config, "task": task, "task_config": described}
            return Perception({**made, "asks": source.asks})

    def initial(self, scenes: Scenes) -> Tensor:
        """Return the state before any glimpse, [B, N, D] float32."""
        return self.encoder.initial(len(scenes), scenes.prompt).float()

    def step(self, state: Tensor, glimpse: Glimpse) -> Tensor:
        """Return the state after one glimpse, [B, N, D] float32; computed in `self.precision`."""
        with torch.autocast(state.device.type, self.precision, enabled=self.precision != torch.float32):
            return self.encoder.step(state, glimpse).float()

    def judge(self, state: Tensor, scenes: Scenes) -> Judgement:
        """Judge the answer that the head reads off a state."""
        return self.task.judge(self.task(state), scenes)

    @cached_property
    def fingerprint(self) -> str:
        """A short name of these weights: what learns on a frozen perception belongs to it alone."""
        weights = checkpoint.serialise({name: tensor.cpu() for name, tensor in self.state_dict().items()})
        return hashlib.sha256(weights).hexdigest()[:12]

    def frozen(self) -> "Perception":
        """Freeze in place: evaluation mode, no gradients."""
        return self.eval().requires_grad_(False)

    def check_fits(self, source: Source) -> None:
        """Raise ValueError unless the scenes of a source fit encoder and head."""
        described = json.loads(json.dumps(TASKS.resolve(self.spec["task"]).describe(source)))
        mine = {key: self.spec["task_config"].get(key) for key in described}
        if self.task.needs_target and not source.knows_target:
            raise ValueError(NEEDS_TARGET.format(task=self.spec["task"]))
        asked = self.spec.get("asks", source.asks)  # of an older checkpoint it is not known
        for what, ours, theirs in (
            ("prompts", list(asked), list(source.asks)),
            ("channels", self.encoder.channels, source.channels),
            ("prompt_size", self.encoder.prompt_size, source.prompt_size),
            ("task_config", mine, described),
        ):
            if ours != theirs:
                raise ValueError(
                    f"the perception does not fit the source: its {what} is {ours}, the source's is {theirs}"
                )

    def check_kind(self, spec: dict[str, Any], origin: object) -> None:
        """Raise ValueError unless weights made with `spec` fit this perception; `origin` names them."""
        theirs, ours = ({**given, "encoder_config": _completed(given)} for given in (spec, self.spec))
        for key in ("encoder", "encoder_config", "task", "task_config"):
            if theirs[key] != ours[key]:
                raise ValueError(f"{origin} belongs to another perception: {key} {theirs[key]}, here {ours[key]}")

    def take_features(self, other: "Perception", origin: object) -> list[str]:
        """Take over the weights of another encoder that have the same name and shape; return the names of the others.

        Raises ValueError if the encoder is another one, or differs in more than what depends on the scenes; `origin`
        names it.
        """
        theirs, ours = (
            (spec["encoder"], {key: value for key, value in _completed(spec).items() if key not in OF_SCENES})
            for spec in (other.spec, self.spec)
        )
        if theirs != ours:
            raise ValueError(f"the features of {origin} are of another encoder: {theirs}, here {ours}")
        weights, found = self.encoder.state_dict(), other.encoder.state_dict()
        fitting = {key: found[key] for key in weights if key in found and found[key].shape == weights[key].shape}
        self.encoder.load_state_dict({**weights, **fitting})
        return [key for key in weights if key not in fitting]

    def save(self, path: str | os.PathLike, *, half: bool = False) -> None:
        """Save as one safetensors file; with `half` the weights are rounded to float16, which halves its size."""
        weights = self.state_dict()
        if half:
            weights = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
        checkpoint.save(path, "perception", weights, self.spec)

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
    """Return the encoder's options with the defaults of those that its spec, perhaps an older one, leaves out."""
    parameters = inspect.signature(ENCODERS.resolve(spec["encoder"])).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return json.loads(json.dumps({**defaults, **spec["encoder_config"]}))


def shipped(package: str = "encoders.pretrained") -> dict[str, Path]:
    """Return the perceptions that come with the package, or what else another package of it ships, by name."""
    folder = Path(str(files(package)))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find(name: str | os.PathLike, *, package: str = "encoders.pretrained", kind: str = "perception") -> Path:
    """Return the file of a perception, or of another kind of checkpoint, given by name or path."""
    known = shipped(package)
    if str(name) in known:
        return known[str(name)]
    path = Path(name)
    if path.suffix != ".safetensors" and not path.is_file():
        raise ValueError(
            f"unknown {kind} {str(name)!r}; known: {', '.join(known)} (or the path of a .safetensors file)"
        )
    return path


def load_frozen(
    name: str | os.PathLike,
    *,
    device: str = "cpu",
    precision: str = "float32",
    task_options: dict[str, Any] | None = None,
) -> Perception:
    """Return a frozen perception on a device; the same one for the same file and arguments.

    Args:
        name: a shipped perception, or the path of a checkpoint.
        device: torch device.
        precision: arithmetic of the encoder.
        task_options: options of the task to change, such as a tolerance; weights must not depend on them.

    Raises ValueError or FileNotFoundError as `Perception.load` does, and ValueError for an unknown precision.
    """
    check_device(device)
    path = find(name)
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    chosen = json.dumps(task_options or {}, sort_keys=True)
    return _load_frozen(path, changed, str(device), arithmetic(precision, device), chosen)


@lru_cache(maxsize=8)
def _load_frozen(path: Path, changed: int, device: str, precision: torch.dtype, task_options: str) -> Perception:
    perception = Perception.load(path, **json.loads(task_options)).frozen().to(device)
    perception.precision = precision
    return perception
