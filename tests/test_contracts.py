"""Plug-ins that break their contract: one error each, which names the class, the method and what was expected."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from foveal_agents.base import Agent, make_agent
from foveal_agents.rollout import evaluate
from foveal_encoders.base import Encoder, Inputs, Layout
from foveal_env.data import Scenes
from foveal_env.images import Images
from foveal_env.kernels.hashing import scramble
from foveal_env.make import make_world
from foveal_env.perception import Perception
from foveal_env.pretraining import Pretraining
from foveal_env.sources.base import Source
from foveal_env.tasks.classify import Classify
from foveal_env.world import Rules, World


class Bars(Source):
    """A bright bar, upright or lying, somewhere in the dark; `fault` changes what is returned."""

    channels, classes, count, knows_target = 3, ("upright", "lying"), 100, True
    prompt_size, prompt_names = 2, ("one", "other")

    def __init__(self, split="train", fault=lambda scenes: scenes):
        super().__init__(split)
        self.fault = fault

    def pixels(self, index):
        place = scramble(index, 2) % 32
        bar = (torch.arange(32) == place[:, None])[:, None, None].expand(-1, 3, 32, 32)
        upright = (scramble(index, 1) % 2 == 0)[:, None, None, None]
        return torch.where(upright, bar, bar.mT).to(torch.uint8) * 200

    def scenes(self, index):
        label = scramble(index, 1) % 2
        box, prompt = torch.tensor([0.0, 0.0, 2.0, 2.0]).repeat(len(index), 1), nn.functional.one_hot(label, 2).float()
        return self.fault(Scenes(Images.prepare(self.pixels(index)), label, box, prompt, index))


class Mean(Encoder):
    """A running mean of a linear map; `fault` changes the state after a step."""

    def __init__(self, inputs: Inputs = Inputs(), layout: Layout = Layout(patch=4, zooms=1), *, fault: str = ""):
        super().__init__(inputs, layout)
        if fault != "no state_shape":
            self.state_shape = (8,) if fault == "one number" else (1, 8)
        self.linear, self.fault = nn.Linear(layout.pixels * inputs.channels, 8), fault

    def initial(self, batch, prompt=None):
        state = super().initial(batch, prompt)
        return state[0] if self.fault == "initial without a batch" else state

    def step(self, state, glimpse):
        state = 0.5 * state + 0.5 * self.linear(glimpse.patches.flatten(1))[:, None].tanh()
        faults = {
            "flat": lambda: state[:, 0],
            "more tokens": lambda: state.repeat(1, 2, 1),
            "whole numbers": lambda: state.long(),
            "NaN": lambda: state / 0 * 0,
            "another batch": lambda: state[:1],
        }
        return faults.get(self.fault, lambda: state)()

    def observe(self, state):
        return state[..., :4] if self.fault == "narrow" else state


class Faulty(Classify):
    """A classifier; `fault` changes its outcome."""

    def __init__(self, state_shape, *, classes, fault: str = ""):
        super().__init__(state_shape, classes=classes)
        self.fault = fault

    def score(self, answer, scenes):
        outcome = super().score(answer, scenes)
        faults = {
            "mean loss": lambda: replace(outcome, loss=outcome.loss.mean()),
            "percent": lambda: replace(outcome, score=outcome.score * 100),
            "float correct": lambda: replace(outcome, correct=outcome.correct.float()),
            "NaN": lambda: replace(outcome, loss=outcome.loss * torch.nan),
            "tuple": lambda: (outcome.loss, outcome.score),
        }
        return faults.get(self.fault, lambda: outcome)()


def perception_of(*, encoder="", task=""):
    spec = {
        "encoder": f"{__name__}:Mean",
        "encoder_config": {"channels": 3, "prompt_size": 2, "fault": encoder},
        "task": f"{__name__}:Faulty",
        "task_config": {"classes": ["upright", "lying"], "fault": task},
        "prompt_names": ["one", "other"],
    }
    return Perception(spec).frozen()


def look(source, **faults):
    world = World(source, perception_of(**faults), Rules(glimpses=2))
    return world.start(world.scenes(torch.arange(6)))


def test_plug_ins_that_keep_their_contract_are_taken():
    assert look(Bars()).state.shape == (6, 1, 8)
    Perception.build(Bars(), encoder=f"{__name__}:Mean", task=f"{__name__}:Faulty")


SCENES = {
    "boxes in px": (
        lambda s: replace(s, box=s.box + torch.tensor([16.0, 16, 30, 30])),
        r"Bars.scenes must return boxes .* centres in \[-1, 1\], sides above 0 and up to 2.*not in px; got 16 to 32",
    ),
    "boxes without a size": (lambda s: replace(s, box=s.box * 0), "sides above 0 and up to 2.* got 0 to 0"),
    "unknown boxes": (lambda s: replace(s, box=s.box * torch.nan), "boxes .* in gaze coordinates.*; got NaN"),
    "boxes of three numbers": (
        lambda s: replace(s, box=s.box[:, :3]),
        r"Bars.scenes must return box \[6, 4\] float32, got \[6, 3\] float32",
    ),
    "labels out of range": (
        lambda s: replace(s, label=s.label + 1),
        "Bars.scenes must return labels of 0 to 1, got 1 to 2",
    ),
    "labels of another type": (
        lambda s: replace(s, label=s.label.float()),
        r"Bars.scenes must return label \[6\] int64, got \[6\] float32",
    ),
    "prompts of a wrong shape": (
        lambda s: replace(s, prompt=s.prompt[:, :1]),
        r"Bars.scenes must return prompt \[6, 2\] float32, got \[6, 1\] float32",
    ),
    "prompts of whole numbers": (
        lambda s: replace(s, prompt=s.prompt.long()),
        r"Bars.scenes must return prompt \[6, 2\] float32, got \[6, 2\] int64",
    ),
    "NaN in prompts": (
        lambda s: replace(s, prompt=s.prompt / 0),
        "Bars.scenes must return finite prompts, got NaN or infinity",
    ),
    "another index": (
        lambda s: replace(s, index=torch.arange(6) + 1),
        "Bars.scenes must return the index that it was given",
    ),
    "no index": (
        lambda s: replace(s, index=None),
        r"Bars.scenes must return index \[6\] int64, got NoneType",
    ),
    "fewer scenes": (lambda s: s.rows(slice(5)), "Bars.scenes must return 6 images of 3 channels, got 5 of 3"),
    "unprepared images": (
        lambda s: replace(s, images=torch.zeros(6, 3, 32, 32, dtype=torch.uint8)),
        r"Bars.scenes must return images made by Images.prepare, got \[6, 3, 32, 32\] uint8",
    ),
    "a tuple": (lambda s: (s.images, s.label), "Bars.scenes must return Scenes, got tuple"),
}


@pytest.mark.parametrize("fault", SCENES)
def test_faulty_scenes_are_refused(fault):
    change, message = SCENES[fault]
    with pytest.raises(ValueError, match=message):
        look(Bars(fault=change))
    with pytest.raises(ValueError, match=r"^Bars\.scenes"):
        Perception.build(Bars(fault=change))


PIXELS = {
    "height, width, channel": (
        lambda pixels: pixels.permute(0, 2, 3, 1),
        r"Bars.scenes must return 6 images of 3 channels, got 6 of 32: .*\[B, C, H, W\], and not \[B, H, W, C\]",
    ),
    "height, width, channel in a list": (
        lambda pixels: [image.permute(1, 2, 0) for image in pixels],
        "got 6 of 32: Images.prepare takes",
    ),
    "floats": (
        lambda pixels: pixels / 255,
        r"Bars.scenes: images are uint8 \(0 to 255\) of shape \[B, C, H, W\].*, got float32 of shape \[6, 3, 32, 32\]",
    ),
    "grey without a channel": (
        lambda pixels: pixels[:, 0],
        r"Bars.scenes: images are uint8 .* got uint8 of shape \[6, 32, 32\]",
    ),
    "an array": (
        lambda pixels: pixels.numpy(),
        "Bars.scenes: images are a tensor or a sequence of them, got ndarray",
    ),
    "arrays": (
        lambda pixels: list(pixels.numpy()),
        r"Bars.scenes: images are uint8 tensors \[C, H, W\] or images on disk, got ndarray",
    ),
    "different channels": (
        lambda pixels: [pixels[0], *[image[:1] for image in pixels[1:]]],
        r"Bars.scenes: images \[C, H, W\] of one batch must have the same number of channels, got \[1, 3\]",
    ),
}


@pytest.mark.parametrize("fault", PIXELS)
def test_faulty_images_are_refused(fault, monkeypatch):
    change, message = PIXELS[fault]
    pixels = Bars.pixels
    monkeypatch.setattr(Bars, "pixels", lambda self, index: change(pixels(self, index)))
    with pytest.raises(ValueError, match=message):
        look(Bars())


ATTRIBUTES = {
    "no channels": ({"channels": None}, "Bars.channels must be a whole number of at least 1, got None"),
    "no images": ({"count": 0}, "Bars.count must be a whole number of at least 1, got 0"),
    "one string": ({"classes": "upright"}, "Bars.classes must be the names of the classes, .* got 'upright'"),
    "no split": ({"split": None}, r"Bars.split must be one of train, .*: call super\(\).__init__\(split\), got None"),
    "no distinct scenes": ({"distinct_scenes": 0}, "Bars.distinct_scenes must be None or at least 1, got 0"),
    "boxes without knows_target": ({"knows_target": False}, "Bars.scenes returns boxes, but Bars.knows_target is"),
}


@pytest.mark.parametrize("fault", ATTRIBUTES)
def test_faulty_attributes_of_a_source_are_refused(fault):
    attributes, message = ATTRIBUTES[fault]
    source = Bars()
    for name, value in attributes.items():
        setattr(source, name, value)
    with pytest.raises(ValueError, match=message):
        look(source)


ENCODERS = {
    "no state_shape": r"Mean.state_shape must be \(N, D\), the tokens of a state and their width, got None",
    "one number": r"Mean.state_shape must be \(N, D\), .*, got \(8,\)",
    "initial without a batch": r"Mean.initial must return a state \[2, 1, 8\] float, got \[1, 8\] float32",
    "flat": r"Mean.step must return a state \[2, 1, 8\] float, got \[2, 8\] float32",
    "more tokens": r"Mean.step must return a state \[2, 1, 8\] float, got \[2, 2, 8\] float32",
    "another batch": r"Mean.step must return a state \[2, 1, 8\] float, got \[1, 1, 8\] float32",
    "whole numbers": r"Mean.step must return a state \[2, 1, 8\] float, got \[2, 1, 8\] int64",
    "NaN": "Mean.step must return a finite state, got NaN or infinity",
    "narrow": r"Mean.observe must return an observation \[2, 1, 8\] float, got \[2, 1, 4\] float32",
}


@pytest.mark.parametrize("fault", ENCODERS)
def test_faulty_encoders_are_refused(fault):
    with pytest.raises(ValueError, match=ENCODERS[fault]):
        look(Bars(), encoder=fault)


OUTCOMES = {
    "mean loss": r"Faulty.score must return loss \[2\] float, got \[\] float32",
    "percent": r"Faulty.score must return a score in \[0, 1\], got",
    "float correct": r"Faulty.score must return correct \[2\] bool, got \[2\] float32",
    "NaN": "Faulty.score must return a finite loss, got NaN or infinity",
    "tuple": "Faulty.score must return an Outcome, got tuple",
}


@pytest.mark.parametrize("fault", OUTCOMES)
def test_faulty_outcomes_are_refused(fault):
    with pytest.raises(ValueError, match=OUTCOMES[fault]):
        look(Bars(), task=fault)


class Crooked(Agent):
    """Answers with an action of any shape."""

    def __init__(self, world, *, seed: int = 0, shape: str = "[2]", kind: str = "float32"):
        super().__init__(world, seed=seed)
        self.shape, self.kind = shape, kind

    def act(self, world, episode, *, generator, greedy):
        shape = {"[2]": (2,), "[B, 3]": (len(episode.ended), 3), "[B, 2]": (len(episode.ended), 2)}[self.shape]
        return np.zeros(shape) if self.kind == "array" else torch.zeros(shape, dtype=getattr(torch, self.kind))


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"shape": "[2]"}, r"\[2\] float32"),
        ({"shape": "[B, 3]"}, r"\[4, 3\] float32"),
        ({"shape": "[B, 2]", "kind": "int64"}, r"\[4, 2\] int64"),
        ({"shape": "[B, 2]", "kind": "array"}, "ndarray"),
    ],
    ids=["one gaze", "too wide", "whole numbers", "array"],
)
def test_faulty_actions_are_refused(options, got, small_perception):
    world = make_world(perception=small_perception, glimpses=2)
    agent = make_agent(f"{__name__}:Crooked", world, **options)
    with pytest.raises(ValueError, match=rf"Crooked.act must return an action \[4, 2\] float, got {got}"):
        evaluate(world, agent, scenes=4)


def test_only_the_first_scenes_are_checked():
    source = Bars()
    world = World(source, perception_of(), Rules(glimpses=2))
    world.scenes(torch.arange(6))
    source.fault = SCENES["labels out of range"][0]
    assert world.scenes(torch.arange(6)).label.max() == 2


def test_a_check_changes_neither_random_numbers_nor_the_mode_of_training():
    perception = perception_of().requires_grad_(True)
    perception.train()
    perception.encoder.linear.eval()
    modes = [part.training for part in perception.modules()]
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    world = World(Bars(), perception, Rules(glimpses=2))
    world.scenes(torch.arange(6))
    assert torch.equal(torch.rand(4), expected)
    assert [part.training for part in perception.modules()] == modes


def test_stage_1_checks_its_source_and_encoder():
    job = Pretraining(perception_of(encoder="flat").requires_grad_(True), Bars(), steps=2, glimpses=2)
    with pytest.raises(ValueError, match=r"^Mean\.step must return"):
        job.update()
