"""Checkpoints that are safetensors files as they should be, and yet wrong.

Damage to bytes (`damage.py`) mostly breaks the container. Here the container is whole: content is exchanged under the
hash of another (`spliced`), or a header is changed and the hash is made anew (`mutated`), as only intent does.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from foveal_env.checkpoint import metadata_of

Tensors = dict[str, Tensor]
SCALE = 1.01  # of weights that are changed a little
VALUES = (  # that a mutation puts into a header
    *(None, True, -1, 0, 1, 3, 10**9, 2**70, -0.5, 1e300, float("nan"), float("inf"), "", "nonsense", "no.such:Class"),
    *("subprocess:Popen", "../..", [], [1, 2], [10**9], {}, {"a": 1}, [[[[]]]]),
)


def read(data: bytes) -> tuple[Tensors, dict[str, str]]:
    """Return tensors and metadata of a checkpoint."""
    return load(data), json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def spliced(data: bytes, other: bytes, *, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, file) without end: content changed, the hash kept. `other` is a checkpoint to take parts from."""
    draw = random.Random(seed)
    changes: tuple[Callable[[Tensors, Tensors, random.Random], Tensors], ...] = (
        taken,
        zeroed,
        swapped,
        scaled,
        dropped,
    )
    tensors, metadata = read(data)
    others, more = read(other)
    for number in range(10**9):
        change = changes[number % len(changes)]
        changed = change(dict(tensors), others, draw)
        if number % 7 == 6 and more["header"] != metadata["header"]:
            yield f"{number} header of another", save(tensors, {**metadata, "header": more["header"]})
        elif changed.keys() != tensors.keys() or any(not torch.equal(changed[key], tensors[key]) for key in changed):
            yield f"{number} {change.__name__}", save(changed, metadata)


def taken(tensors: Tensors, others: Tensors, draw: random.Random) -> Tensors:
    """Take a tensor of another file."""
    fitting = [name for name in tensors if name in others and others[name].shape == tensors[name].shape]
    return tensors | {name: others[name] for name in draw.sample(fitting, min(1, len(fitting)))}


def zeroed(tensors: Tensors, others: Tensors, draw: random.Random) -> Tensors:
    """Zero a tensor."""
    name = draw.choice(list(tensors))
    return tensors | {name: torch.zeros_like(tensors[name])}


def swapped(tensors: Tensors, others: Tensors, draw: random.Random) -> Tensors:
    """Swap two tensors of one shape."""
    name = draw.choice(list(tensors))
    other = draw.choice([twin for twin in tensors if tensors[twin].shape == tensors[name].shape])
    return tensors | {name: tensors[other], other: tensors[name]}


def scaled(tensors: Tensors, others: Tensors, draw: random.Random) -> Tensors:
    """Change a tensor a little."""
    name = draw.choice(list(tensors))
    return tensors | {name: (tensors[name] * SCALE).to(tensors[name].dtype)}


def dropped(tensors: Tensors, others: Tensors, draw: random.Random) -> Tensors:
    """Leave a tensor out."""
    name = draw.choice(list(tensors))
    return {key: value for key, value in tensors.items() if key != name}


def mutated(data: bytes, *, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, file) without end: one entry of the header changed, and the hash made anew."""
    draw = random.Random(seed)
    tensors, metadata = read(data)
    while True:
        header = json.loads(metadata["header"])
        name = mutate(header, draw)
        yield name, save(tensors, metadata_of(metadata["kind"], tensors, json.dumps(header)))


def mutate(header: dict[str, Any], draw: random.Random) -> str:
    """Change, rename or remove an entry of a header, of any depth, in place; return what was done."""
    place: Any = header
    words: list[str] = []
    while True:
        key = draw.choice(list(place)) if isinstance(place, dict) else draw.randrange(len(place))
        words.append(str(key))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or draw.random() < 0.2:
            break
        place = inner
    path, what = ".".join(words), draw.random()
    if what < 0.1:
        del place[key]
        return f"{path} removed"
    if what < 0.2 and isinstance(place, dict):
        place[f"{key}x"] = place.pop(key)
        return f"{path} renamed"
    if what < 0.3 and isinstance(inner, int | float):
        place[key] = inner * draw.choice((-1, 0.5, 2, 1000, 10**7))
    else:
        place[key] = draw.choice(VALUES)
    return f"{path} = {place[key]!r}"
