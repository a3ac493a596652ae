"""Shared fixtures: a small world that is quick to step, and the toy world whose best gaze is known."""

import socket
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
import torch
from data_sets import write_data_sets
from image_files import write_folder

from foveal_agents import plots
from foveal_encoders.base import Layout
from foveal_env.data import Outcome
from foveal_env.make import make_source, make_world
from foveal_env.perception import Perception
from foveal_env.registry import options_of
from foveal_env.sources import SOURCES
from foveal_env.sources.torchvision_data import import_datasets
from foveal_env.world import Rules, World

matplotlib.use("agg")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test reaches the network; a process may talk to its own children."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test asked to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def few_drawings(monkeypatch):
    """Figures of scan paths that commands draw have two scenes, to save time."""
    monkeypatch.setattr(plots, "SHOWN", 2)


@pytest.fixture(scope="session")
def tiny():
    """Options of an encoder that is quick to train."""
    return {"patch": 6, "zooms": 2, "width": 12, "depth": 1}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A user's folder of classes, of 20 images each; for tests that change nothing in it."""
    return write_folder(tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="session")
def data_sets(tmp_path_factory):
    """Data sets as torchvision keeps them, with few images; torchvision does not compare their checksums."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_datasets().cifar, "check_integrity", lambda path, md5=None: Path(path).is_file())
        yield write_data_sets(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def open_source(folder, data_sets):
    """Open any source by name, with little data of its own."""

    def open_(name, split="test", **options):
        known = options_of(SOURCES.resolve(name))
        little = {"folder": str(folder)} if name == "folder" else {"root": str(data_sets)} if "root" in known else {}
        return make_source(name, split, **{**little, **options})

    return open_


@pytest.fixture(scope="session")
def small_perception(tmp_path_factory):
    """The path of a small untrained perception for 40 px scenes."""
    options = {"canvas": 40, "clutter": 2}
    perception = Perception.build(make_source("digits", "train", **options), patch=8, zooms=2, width=24, depth=1)
    path = tmp_path_factory.mktemp("perception") / "small.safetensors"
    perception.save(path, source="digits", source_options=options)
    return str(path)


@pytest.fixture(scope="session")
def searching(tmp_path_factory, tiny):
    """The path of a small untrained perception that searches."""
    options = {"canvas": 70, "candidates": 3}
    perception = Perception.build(make_source("search", "train", **options), task="search", **tiny)
    path = tmp_path_factory.mktemp("perception") / "search.safetensors"
    perception.save(path, source="search", source_options=options)
    return str(path)


@pytest.fixture
def small_world(small_perception):
    return make_world(perception=small_perception, glimpses=3)


class ToyPerception(torch.nn.Module):
    """Sees where the target is and where it looked last; its loss is the squared distance of the two."""

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(()), requires_grad=False)
        self.encoder = SimpleNamespace(
            layout=Layout(patch=2, zooms=1, zoom_range=(2, 2)), observation_shape=(2, 2), observe=lambda state: state
        )
        self.fingerprint, self.precision, self.task_name = "toy", torch.float32, "toy"
        self.task = SimpleNamespace(
            ends_on_success=False,
            rewards={},
            info=lambda episode: {},
            map_side=0,
            metrics={},
            measure=lambda episode: {},
            boxes=lambda *answer: torch.empty(0, 4),
            answer_image=lambda *answer: None,
            answer_text=lambda *answer: "",
        )

    def check_fits(self, source):
        pass

    def initial(self, scenes):
        return torch.stack([scenes.box[:, :2], torch.zeros(len(scenes), 2)], dim=1)

    def step(self, state, glimpse):
        return torch.stack([state[:, 0], glimpse.where[:, 0, :2]], dim=1)

    def score(self, state, scenes):
        loss = (state[:, 1] - scenes.box[:, :2]).square().sum(dim=1)
        return Outcome(loss, (-loss).exp(), loss < 0.05, torch.zeros(len(loss), dtype=torch.int64))


@pytest.fixture
def toy_world():
    return World(
        make_source("digits", "train", canvas=60, clutter=0), ToyPerception(), Rules(glimpses=2, reward="probability")
    )
