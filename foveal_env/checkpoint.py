"""Files of tensors and JSON: written whole or not at all, and never a pickle.

A checkpoint is one safetensors file; what is not a tensor is JSON in its header, so that the two cannot be parted. A
hash of both is kept beside them, and checked when the file is read.
"""

import hashlib
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import Tensor

VERSION = 2


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Write a file under a temporary name, then rename it; a crash leaves the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write JSON for people, atomically."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def save(path: str | os.PathLike, kind: str, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Save a checkpoint of one `kind` ("perception", "policy", ...)."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, serialise(tensors, metadata_of(kind, tensors, json.dumps(header))))


def metadata_of(kind: str, tensors: dict[str, Tensor], header: str) -> dict[str, str]:
    """Return what a file keeps beside its tensors; `header` is JSON."""
    return {"kind": kind, "version": str(VERSION), "header": header, "sha256": content_hash(kind, tensors, header)}


def content_hash(kind: str, tensors: dict[str, Tensor], header: str) -> str:
    """Return the SHA-256 of a checkpoint: of its kind and header, and of names, types, shapes and bytes of tensors."""
    names = sorted(tensors)
    outline = [kind, VERSION, header, [(name, str(tensors[name].dtype), [*tensors[name].shape]) for name in names]]
    digest = hashlib.sha256(json.dumps(outline).encode())
    for name in names:
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load(path: str | os.PathLike, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, header) of a checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, not safetensors, of another kind, or of another version.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    data = Path(path).read_bytes()  # and not a map of the file, which may change
    try:
        tensors = deserialise(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    except Exception as error:  # whatever damage makes of the reader
        raise ValueError(f"{path} is truncated or not a safetensors file: {error}") from error
    if metadata.get("kind") != kind:
        found = metadata.get("kind", "a safetensors file of another origin")
        raise ValueError(f"{path} is not a {kind} checkpoint but {found}")
    if metadata.get("version") != str(VERSION):
        raise ValueError(f"{path} has format version {metadata.get('version')}, this release reads {VERSION}")
    if metadata.get("sha256") != content_hash(kind, tensors, metadata.get("header", "")):
        lacks = "" if "sha256" in metadata else "it has no hash, and "
        raise ValueError(f"{path} is damaged or was changed: {lacks}its content is not what was saved")
    try:
        header = json.loads(metadata.get("header", ""))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} is damaged: its header holds no settings but {header!r}")
    return tensors, header


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with `prefix` and a dot before each name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose name begins with `prefix` and a dot, without it."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def optimizer_tensors(optimizer: Any) -> dict[str, Tensor]:
    """Return the state of a torch optimizer as tensors named "parameter number.entry"."""
    states = optimizer.state_dict()["state"]
    return {
        f"{number}.{key}": torch.as_tensor(value) for number, state in states.items() for key, value in state.items()
    }


def restore_optimizer(optimizer: Any, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned; hyper-parameters stay those of `optimizer`.

    Raises ValueError if a tensor belongs to none of its parameters, or is of another shape.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        owner = parameters[int(number)] if number.isdecimal() and int(number) < len(parameters) else None
        if owner is None or tensor.shape not in (owner.shape, ()):
            raise ValueError(f"the optimizer has no parameter for {name!r} of shape {tuple(tensor.shape)}")
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def restore(module: torch.nn.Module, tensors: dict[str, Tensor], path: str | os.PathLike) -> None:
    """Load weights into a module; ValueError if they are not of its shape."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"the weights in {path} do not fit: {reason}") from error


def shipped(package: str = "foveal_encoders.pretrained") -> dict[str, Path]:
    """Return the perceptions that come with the package, or what else another package of it ships, by name."""
    folder = Path(str(files(package)))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find(name: str | os.PathLike, *, package: str = "foveal_encoders.pretrained", kind: str = "perception") -> Path:
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
