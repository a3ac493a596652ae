"""Random draws that are named by their arguments: splitmix64 (Steele, Lea, Flood, OOPSLA 2014), on every device alike.

The test scenes of everybody depend on these numbers, so they never change.
"""

import numpy as np
import torch
from torch import Tensor

from foveal_env.kernels.dispatch import dispatch
from foveal_env.kernels.threads import compile_


def scramble(index: Tensor, *salt: int | Tensor) -> Tensor:
    """Map [...] int64 to [...] int64 in [0, 2**53) as a good hash does.

    A salt is a number, or a tensor that broadcasts with `index` and so makes several draws at once. Integers wrap, so
    the draws are equal on every device.
    """
    value = index
    for salted in (0, *salt):
        value = mix(value + (salted * 2654435761 - 7046029254386353131))  # 0x9E3779B97F4A7C15 as a signed number
    return _shift(value, 11)


def shuffled(count: int, *salt: int) -> Tensor:
    """Return a fixed random order of range(count), [count] int64."""
    return scramble(torch.arange(count), *salt).argsort()


def mix(value: Tensor) -> Tensor:
    """Return the output function of splitmix64 of [...] int64, [...] int64."""
    return dispatch(value, compiled=mix_compiled, in_tensors=mix_in_tensors)(value)


def mix_in_tensors(value: Tensor) -> Tensor:
    """Compute `mix` on any device."""
    value = (value ^ _shift(value, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    value = (value ^ _shift(value, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return value ^ _shift(value, 31)


def mix_compiled(value: Tensor) -> Tensor:
    """Compute `mix` on the CPU."""
    value = value.contiguous()
    out = torch.empty_like(value)
    _mix(value.numpy().reshape(-1), out.numpy().reshape(-1))
    return out


def _shift(value: Tensor, bits: int) -> Tensor:
    """Shift to the right as if the numbers had no sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


@compile_
def _mix(value, out):
    for k in range(len(value)):
        bits = np.uint64(value[k])
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        out[k] = np.int64(bits ^ (bits >> np.uint64(31)))
