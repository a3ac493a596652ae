"""A device without a device: tensors on the CPU that say they are on "cuda:0", and are as strict as if they were.

They refuse to meet tensors of the CPU, to be read by NumPy, and to draw from a generator of the CPU. Whatever a device
would have to be waited for is counted, by the line that asked for it. So mixed devices and waits show. Speed, rounding
and kernels do not.

    with emulated() as waits:
        world = make_world(device="cuda")
        ...
    assert waits.total() == 0, waits
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from foveal_env import make, retina

DEVICE = torch.device("cuda:0")
Tensor = torch.Tensor

SAYS = {
    Tensor.device.__get__: DEVICE,
    Tensor.is_cuda.__get__: True,
    Tensor.is_cpu.__get__: False,
    Tensor.get_device: DEVICE.index,
}
NUMPY = {"numpy", "__array__", "__dlpack__"}
READS = {  # these look at the numbers, or return as many rows as the numbers say
    *(
        "cpu",
        "tolist",
        "item",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "__contains__",
        "__format__",
        "__repr__",
    ),
    *("nonzero", "argwhere", "unique", "unique_consecutive", "masked_select", "bincount", "equal", "allclose"),
}
INDEXING = {"__getitem__", "__setitem__", "index_put_", "index_put"}
MAY_MIX = {"to", "copy_", "__set__"}  # a copy from one device to another, and the data of a parameter


class DeviceTensor(Tensor):
    """A tensor that says it is on the emulated device."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


class Waits(Counter):
    """How often each line waited for the device."""

    def add(self, what: str) -> None:
        """Count a wait at the innermost line of the project."""
        frame = sys._getframe(1)
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path != Path(__file__) and "site-packages" not in path.parts and path.is_file():
                self[f"{path.parent.name}/{path.name}:{frame.f_lineno} {what}"] += 1
                return
            frame = frame.f_back
        self[what] += 1


_waits = Waits()  # of the innermost `emulated`


class _Mode(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


@contextmanager
def emulated() -> Iterator[Waits]:
    """Let "cuda" be the emulated device; yield the waits, counted from now on."""
    global _waits
    caches = (make._load_frozen, make._make_source, retina._offsets)
    before, _waits = _waits, Waits()
    try:
        for cache in caches:
            cache.cache_clear()
        with (
            patch.object(nn.Module, "to", _module_to),
            patch.object(make, "check_device", lambda device: None),
            _Mode(),
        ):
            yield _waits
    finally:
        _waits = before
        for cache in caches:
            cache.cache_clear()


def _call(func, args, kwargs):
    """Call a function of torch as the device would."""
    tensors = list(_tensors([args, kwargs]))
    own = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    if own and func in SAYS:
        return SAYS[func]
    name = getattr(func, "__name__", "")
    if func is Tensor.__deepcopy__ and own:
        return _copied(*args)
    target = _target(name, args, kwargs)
    if (own or (target is not None and target.type == "cuda")) and any(
        isinstance(v, torch.Generator) for v in [*args, *kwargs.values()]
    ):
        raise RuntimeError(f"{name}: expected a generator of the device cuda")
    if own:
        _check(name, tensors)
        _count(name, args, kwargs, target)
    if own and name == "__format__":
        return format(args[0].as_subclass(Tensor).item(), args[1])
    with torch._C.DisableTorchFunctionSubclass():
        if target is not None:
            args, kwargs = _without_device(args, kwargs)
        result = func(*args, **kwargs)
    if name == "cpu" or (target is not None and target.type == "cpu"):
        return _unmarked(result)
    return _marked(result) if own or target is not None else result


def _tensors(value):
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _target(name, args, kwargs):
    """Return the device that is asked for; None if none is."""
    device = kwargs.get("device")
    if name == "to":
        for other in [*args[1:], kwargs.get("other")]:
            if isinstance(other, str | torch.device):
                device = other
            elif isinstance(other, Tensor):
                device = DEVICE if isinstance(other, DeviceTensor) else "cpu"
    if device is None:
        return None
    device = torch.device(device)
    if not any(isinstance(tensor, DeviceTensor) for tensor in _tensors([args, kwargs])):
        return device if device.type == "cuda" else None  # from CPU to CPU nothing is to be done
    # Torch itself moves a tensor to where it found its neighbours: below Python it finds them on the CPU.
    by_torch = name == "to" and Path(torch.__file__).parent in Path(sys._getframe(3).f_code.co_filename).parents
    return DEVICE if by_torch else device


def _without_device(args, kwargs):
    """Return the arguments for a call on the CPU."""
    kwargs = {key: "cpu" if key == "device" else value for key, value in kwargs.items()}
    return [torch.device("cpu") if isinstance(a, torch.device) or a in ("cuda", "cuda:0") else a for a in args], kwargs


def _check(name, tensors) -> None:
    """Refuse what a device refuses."""
    if name in NUMPY:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")
    strangers = [t for t in tensors if not isinstance(t, DeviceTensor) and t.ndim]  # a lone number of the CPU may come
    if strangers and name not in MAY_MIX:
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found cuda:0 and cpu")


def _count(name, args, kwargs, target) -> None:
    """Count what a device would have to be waited for."""
    waits = name in READS or (target is not None and target.type == "cpu")
    waits |= name == "where" and len(args) == 1
    waits |= name == "repeat_interleave" and "output_size" not in kwargs and len(list(_tensors(args))) > 1
    waits |= name == "copy_" and not isinstance(args[0], DeviceTensor)
    if name in INDEXING:
        is_fill = name == "__setitem__" and not (isinstance(args[2], Tensor) and args[2].ndim)
        waits |= not is_fill and any(tensor.dtype in (torch.bool, torch.uint8) for tensor in _tensors(args[1]))
    if waits:
        _waits.add(name)


def _marked(value):
    if isinstance(value, Tensor):
        if value.is_leaf and value.requires_grad and not isinstance(value, DeviceTensor):
            return value.detach().as_subclass(DeviceTensor).requires_grad_()  # still a leaf
        return value if isinstance(value, DeviceTensor) else value.as_subclass(DeviceTensor)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_marked, value))
    if isinstance(value, tuple) and type(value) is not tuple:  # such as torch.return_types.max
        return type(value)(map(_marked, value))
    return type(value)(map(_marked, value)) if type(value) in (list, tuple) else value


def _unmarked(value):
    return value.as_subclass(Tensor).clone() if isinstance(value, DeviceTensor) else value


def _copied(tensor, memo):
    """Return a deep copy of a tensor of the device."""
    copy = tensor.detach().clone()
    if getattr(tensor, "_is_param", False):
        copy = nn.Parameter(copy, requires_grad=tensor.requires_grad)
    memo[id(tensor)] = copy
    return copy


def _module_to(module, device):
    """Move a module to the device, or leave it on the CPU."""
    if torch.device(device).type == "cpu":
        return module
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                moved = parameter.detach().to(device)
                part._parameters[name] = nn.Parameter(moved, requires_grad=parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else buffer.to(device)
    return module
