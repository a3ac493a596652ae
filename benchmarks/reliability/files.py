"""Damaged files: checkpoints, images and slides. None may crash, hang, or change in silence.

A damaged checkpoint is refused with a ValueError that names the file, or loads as what it was (a byte of padding). One
whose header was changed on purpose, with a hash of its own, may load as well. An
image has no checksum in most formats: it is refused with an error that names the file, or read as some image.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
import torch
from PIL import Image

from benchmarks.reliability import crafted, damage
from benchmarks.reliability.isolated import CRASHED, HUNG, answers, count
from foveal_agents.base import make_agent
from foveal_agents.policy_files import load_agent, read_policy
from foveal_env import checkpoint
from foveal_env.images.batch import Images
from foveal_env.images.decode import read_image
from foveal_env.images.slides import Slide
from foveal_env.make import make_source, make_world
from foveal_env.perception import Perception
from foveal_env.pretraining import Pretraining

COUNT = 1000  # of checkpoints, and of images
SECONDS = 20.0  # of a file, at most
REFUSED, SAME, SILENT, OTHER_ERROR, READ = "refused", "same", "changed in silence", "another error", "read"
SPLICED, CHANGED = "spliced", "changed, with a hash of its own"  # ways to make a checkpoint
SCENES: dict[str, Any] = {"canvas": 40, "clutter": 2}
SMALL: dict[str, Any] = {"patch": 8, "zooms": 2, "width": 24, "depth": 1}


class Case(NamedTuple):
    """A damaged file."""

    name: str  # what was done to it
    way: str  # by which it was made
    path: str  # of the file
    original: str  # path of what it was


def write_checkpoints(folder: Path, seed: int) -> list[Path]:
    """Write a checkpoint of each kind: a perception, a policy of it, and a training to go on with."""
    folder.mkdir()
    source = make_source("digits", "train", **SCENES)
    perception = Perception.build(source, seed=seed, **SMALL)
    paths = [folder / f"{name}.safetensors" for name in ("perception", "policy", "pretraining")]
    perception.save(paths[0], source="digits", source_options=SCENES)
    agent = make_agent("grpo", make_world(perception=str(paths[0])), num_scenes=4, width=8)
    next(agent.train(1))
    agent.save(paths[1])
    job = Pretraining(perception, source, steps=4, batch=4)
    job.update()
    job.save(paths[2])
    return paths


def write_images(folder: Path) -> list[Path]:
    """Write an image in each format, and slides."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(pixels).resize((96, 72), Image.Resampling.BICUBIC))
    paths = []
    for suffix in ("png", "jpg", "gif", "bmp", "webp", "tif"):
        paths.append(folder / f"image.{suffix}")
        Image.fromarray(pixels).save(paths[-1])
    for compression in (None, "deflate"):
        paths.append(folder / f"slide-{compression}.tif")
        with tifffile.TiffWriter(paths[-1], bigtiff=True) as file:
            for number in range(2):
                level = pixels[:: 2**number, :: 2**number]
                more: dict[str, Any] = {"subifds": 1} if number == 0 else {"subfiletype": 1}
                file.write(level, tile=(16, 16), photometric="rgb", compression=compression, **more)
    return paths


def damaged(ways: dict[str, Iterator[tuple[str, bytes]]], count: int, path: Path, folder: Path) -> Iterator[Case]:
    """Write `count` damaged files of one to a folder, made in each of the `ways` in turn."""
    for number, way in zip(range(count), cycle(ways), strict=False):
        name, data = next(ways[way])
        target = folder / f"{path.stem}-{number}{path.suffix}"
        target.write_bytes(data)
        yield Case(name, way, str(target), str(path))


def ways_of_checkpoints(path: Path, other: Path) -> dict[str, Iterator[tuple[str, bytes]]]:
    """Return how a checkpoint is damaged: bytes at random twice as often as whole files with other content."""
    data = path.read_bytes()
    return {
        "bytes": damage.damaged(data, seed=0),
        SPLICED: crafted.spliced(data, other.read_bytes(), seed=0),
        "more bytes": damage.damaged(data, seed=1),
        CHANGED: crafted.mutated(data, seed=0),
    }


def damaged_checkpoints(folder: Path) -> Iterator[Case]:
    """Write damaged checkpoints of each kind."""
    paths, others = (write_checkpoints(folder / name, seed) for seed, name in enumerate(("whole", "others")))
    (folder / "damaged").mkdir()
    for path, other in zip(paths, others, strict=True):
        yield from damaged(ways_of_checkpoints(path, other), -(-COUNT // len(paths)), path, folder / "damaged")


def damaged_images(folder: Path) -> Iterator[Case]:
    """Write damaged images of each format."""
    paths = write_images(folder)
    (folder / "damaged").mkdir()
    for path in paths:
        ways = {path.name: damage.damaged(path.read_bytes(), seed=0)}
        yield from damaged(ways, -(-COUNT // len(paths)), path, folder / "damaged")


@cache
def world_of(perception: str) -> Any:
    """Return a world of a perception."""
    return make_world(perception=perception)


def load(path: str, original: str) -> tuple[dict[str, torch.Tensor], Any]:
    """Load a checkpoint of any kind as a user does; return all that is in it."""
    if "policy" in Path(original).name:
        world = world_of(str(Path(original).with_name("perception.safetensors")))
        tensors, header = load_agent(path, world).state()
        return tensors, (header, {k: v for k, v in read_policy(path).header.items()})
    perception = Perception.load(str(Path(original).with_name("perception.safetensors")))
    if "pretraining" in Path(original).name:
        job = Pretraining(perception, make_source("digits", "train", **SCENES), steps=4, batch=4)
        job.load(path)
        tensors = checkpoint.optimizer_tensors(job.optimizer)
        return {**perception.state_dict(), **tensors}, (job.done, job.seconds, job.cpu_seconds)
    perception = Perception.load(path)
    return perception.state_dict(), perception.spec


def try_checkpoint(case: Case) -> str:
    """Load a damaged checkpoint; say what became of it."""
    try:
        tensors, header = load(case.path, case.original)
    except ValueError as error:
        return REFUSED if Path(case.path).name in str(error) else f"{OTHER_ERROR}: ValueError without the name: {error}"
    except Exception as error:
        return f"{OTHER_ERROR}: {type(error).__name__}: {error}"
    expected, whole = load(case.original, case.original)
    if case.way == CHANGED:  # with a hash of its own, it is a file that somebody meant
        return READ
    same = tensors.keys() == expected.keys() and all(bytes_of(tensors[k]) == bytes_of(expected[k]) for k in tensors)
    return SAME if same and header == whole else SILENT


def bytes_of(tensor: torch.Tensor) -> bytes:
    """Return the bytes of a tensor."""
    return tensor.contiguous().numpy().tobytes()


def try_image(case: Case) -> str:
    """Read a damaged image, and look at it; say what became of it."""
    try:
        image = read_image(case.path, 3)
        images = image.overview if isinstance(image, Slide) else Images.prepare([image])
        images.box_averages(torch.full((1, 1, 2), 20.0), torch.full((1, 1), 16.0), 4)
        if isinstance(image, Slide):
            image.box_averages(torch.tensor([[20.0, 20.0], [60.0, 40.0]]), torch.tensor([8.0, 60.0]), 4)
    except ValueError as error:
        return REFUSED if Path(case.path).name in str(error) else f"{OTHER_ERROR}: ValueError without the name: {error}"
    except Exception as error:
        return f"{OTHER_ERROR}: {type(error).__name__}: {error}"
    return READ


def measure_files(
    write: Callable[[Path], Iterator[Case]], attempt: Callable[[Case], str], tell: Callable[[str], None]
) -> list[str]:
    """Write damaged files and try each; return what became of them."""
    with tempfile.TemporaryDirectory() as name:
        cases = list(write(Path(name)))
        found = []
        for case, answer in zip(cases, answers(attempt, cases, seconds=SECONDS), strict=True):
            found.append(answer.partition(":")[0])
            if answer not in (REFUSED, SAME, READ):
                tell(f"{Path(case.original).name}, {case.way}, {case.name}: {answer[:300]}")
        tell(str(count(found)))
        return found


def measure_checkpoints(tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Try damaged checkpoints; return the figures."""
    found = measure_files(damaged_checkpoints, try_checkpoint, tell)
    return {
        "checkpoints": len(found),
        "checkpoints_refused": found.count(REFUSED),
        "checkpoints_unchanged": found.count(SAME),
        "checkpoints_meant": found.count(READ),
        "checkpoints_silent": found.count(SILENT),
        "checkpoints_crashed": found.count(CRASHED) + found.count(OTHER_ERROR),
        "checkpoints_hung": found.count(HUNG),
    }


def measure_pictures(tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Try damaged images and slides; return the figures."""
    found = measure_files(damaged_images, try_image, tell)
    return {
        "pictures": len(found),
        "pictures_refused": found.count(REFUSED),
        "pictures_read": found.count(READ),
        "pictures_crashed": found.count(CRASHED) + found.count(OTHER_ERROR),
        "pictures_hung": found.count(HUNG),
    }
