"""Every kernel has two forms: in tensors for any device, and compiled for the CPU. Here one of them is picked."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

Form = TypeVar("Form", bound=Callable)


def dispatch(tensor: Tensor, *, compiled: Form, in_tensors: Form) -> Form:
    """Return the form for the device of a tensor: `compiled` on the CPU, `in_tensors` on any other device."""
    return compiled if tensor.is_cpu else in_tensors
