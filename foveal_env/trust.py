"""What the header of a file may ask for: known names, memory that its weights account for, and one kind of error."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from foveal_env.registry import names_of_file

ROOM = 2**26  # bytes that making anything may take, beside those that its weights account for
COPIES = 16  # of its weights that making something may take: float16 in the file, averages, temporary ones
TENSORS = 4096  # made beside those that the weights account for
PER_WEIGHT = 64  # tensors made for each one in the file, at most


@contextmanager
def made_from(
    path: str | os.PathLike,
    tensors: Mapping[str, Tensor] | None = None,
    *,
    trust: bool = False,
    given: Iterable[str] = (),
) -> Iterator[None]:
    """Make inside what a header describes; whatever is wrong with it is a ValueError that names the file.

    Without `trust` a name that is resolved inside leads to a registered class, or to one that is imported already; and
    tensors are made only as far as those of the file account for them. Files that are not there are errors of their
    own.

    Args:
        path: the file.
        tensors: its weights; None if what is made has none, and its size is checked elsewhere.
        trust: whether the file may run code, and take any memory.
        given: names that are the caller's own, not the file's.
    """
    limit = nullcontext() if trust or tensors is None else _Limit(tensors)
    try:
        with names_of_file(path, trust=trust, given=given), limit:
            yield
    except (OSError, ImportError):
        raise
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(reason if str(path) in reason else f"{path} cannot be used: {reason}") from error
    except Exception as error:  # whatever comes of wrong types and numbers
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path} is damaged: what its header describes cannot be made: {reason}") from error


def check_entries(path: str | os.PathLike, header: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Raise ValueError unless a header has these entries, each of its kind."""
    missing = sorted(kinds.keys() - header.keys())
    if missing:
        raise ValueError(f"{path} is damaged: its header lacks {', '.join(missing)}")
    for name, kind in kinds.items():
        value = header[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{path} is damaged: the entry {name!r} of its header is {_short(value)}")


def check_numbers(
    path: str | os.PathLike, options: Mapping[str, Any], most: Mapping[str, float], *, default: float
) -> None:
    """Raise ValueError if an option of a header is beyond what a file may ask for without the caller's consent.

    Args:
        path: the file.
        options: options by name; numbers, and numbers in lists, are looked at.
        most: largest size of some.
        default: largest size of the others.
    """
    for name, value in options.items():
        limit = most.get(name, default)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not abs(number) <= limit:
                raise ValueError(
                    f"{path} asks for {name}={_short(value)}; without trust=True (--trust) a file may ask for at most "
                    f"{limit:,}"
                )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:60]}..."


class _Limit(TorchDispatchMode):
    """Refuses to make more or larger tensors than some weights account for."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        super().__init__()
        self.bytes = ROOM + COPIES * sum(tensor.nbytes for tensor in tensors.values())
        self.tensors = TENSORS + PER_WEIGHT * len(tensors)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: nothing is compiled inside, and to skip the compiler PyTorch would import it, for a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not (func.is_view or func._schema.is_mutable):
            self._count(func, args, kwargs)
        return func(*args, **kwargs)

    def _count(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Count what an operation makes, before it does."""
        try:
            made = _shape_of(func, args, kwargs)
        except Exception:  # it cannot tell, or it will fail
            return
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, Tensor):
                self.bytes, self.tensors = self.bytes - tensor.nbytes, self.tensors - 1
        if self.bytes < 0 or self.tensors < 0:
            raise ValueError(
                "its header asks for far more memory than its weights take (trust=True or --trust lifts the limit)"
            )


def _shape_of(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return what an operation makes, without data: on the device "meta".

    Only rare operations are asked themselves: for some of them PyTorch imports its compiler, which takes a second.
    """
    meta, names = torch.device("meta"), [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    if func.overloadpacket is torch.ops.aten.arange:
        count = (given["end"] - given.get("start", 0)) / given.get("step", 1)
        return torch.empty(math.ceil(count), dtype=given.get("dtype"), device=meta)
    if "device" in names and "size" in given:  # zeros, randn, ...
        return torch.empty(given["size"], dtype=given.get("dtype"), device=meta)
    if torch.Tag.pointwise in func.tags:
        tensors = [value for value in given.values() if isinstance(value, Tensor)]
        dtype = max((tensor.dtype for tensor in tensors), key=lambda dtype: dtype.itemsize)
        return torch.empty(np.broadcast_shapes(*(tensor.shape for tensor in tensors)), dtype=dtype, device=meta)
    shapes = {name: _without_data(value) for name, value in kwargs.items()}
    if "device" in names:
        shapes["device"] = meta
    return func(*_without_data(args), **shapes)


def _without_data(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, tuple | list):
        return type(value)(_without_data(item) for item in value)
    return value
