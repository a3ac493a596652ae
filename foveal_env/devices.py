"""What computes: torch devices, arithmetic, and the memory that a process keeps."""

import ctypes
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # parameters of glibc's mallopt, from malloc.h
MEBIBYTE = 2**20
PRECISIONS = ("float32", "bfloat16", "auto")


def arithmetic(precision: str, device: str | torch.device) -> torch.dtype:
    """Return the type that a precision stands for: "auto" is bfloat16 if the device computes it natively.

    On a CPU with such instructions a step of the shipped perception takes half as long in bfloat16. With "auto", two
    machines can differ in the last digits; the other precisions give the same everywhere.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    kind, native = torch.device(device).type, False
    if kind == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    elif kind == "cpu":
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return torch.bfloat16 if native else torch.float32


def check_device(device: str) -> None:
    """Raise ValueError unless torch knows the device and can use it here."""
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}; known: cpu, cuda, cuda:0, ...") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r}: this torch sees no GPU; use 'cpu'")
    try:
        torch.zeros(1, device=device, dtype=torch.float64).item()  # places of texels are computed in it; MPS has none
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise ValueError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}; use 'cpu'") from error


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors on the CPU. Those of another device come in one copy, because each copy waits for the device."""
    away = [tensor for tensor in tensors if not tensor.is_cpu]
    if not away:
        return list(tensors)
    parts = [tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in away]
    bytes_ = iter(torch.cat(parts).cpu().split([len(part) for part in parts]))
    return [t if t.is_cpu else next(bytes_).clone().view(t.dtype).view(t.shape) for t in tensors]


def keep_freed_memory() -> bool:
    """Ask glibc not to return freed memory to the system; return whether it could be asked.

    By default glibc maps every tensor of more than some hundred kB anew, and unmaps it when it is freed. The system
    then fills each with zeros, page by page. With freed memory kept, an update of GRPO on two CPU cores took 156 ms,
    without it 196 ms. The price: up to 1 GB of freed memory stays with the process. The setting concerns the whole
    process: programs call this, a library at import does not. On other systems nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    settings = {MMAP_THRESHOLD: 32 * MEBIBYTE, TRIM_THRESHOLD: 1024 * MEBIBYTE, TOP_PAD: 64 * MEBIBYTE}
    return all(mallopt(parameter, value) for parameter, value in settings.items())
