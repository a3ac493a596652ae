import json
import shlex
from contextlib import nullcontext

import pytest
import torch

from foveal_env.checkpoint import shipped
from foveal_env.make import load_frozen, make_source
from foveal_env.perception import ENCODERS, Perception
from foveal_env.registry import options_of
from foveal_env.retina import extract


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_save_and_load_give_the_same_perception(encoder, tiny, tmp_path):
    known = options_of(ENCODERS.resolve(encoder))
    options = {name: value for name, value in tiny.items() if name in known}
    perception = Perception.build(make_source("digits", "train", canvas=32), encoder=encoder, **options)
    perception.save(tmp_path / "p.safetensors", command="a command")
    again = Perception.load(tmp_path / "p.safetensors")
    assert again.spec == json.loads(json.dumps({**perception.spec, "command": "a command"}))
    for name, tensor in perception.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_weights_can_be_saved_in_half_the_bytes(tiny, tmp_path):
    perception = Perception.build(make_source("digits", "train", canvas=32), **tiny)
    whole, rounded = tmp_path / "whole.safetensors", tmp_path / "rounded.safetensors"
    perception.save(whole)
    perception.save(rounded, float16=True)
    assert rounded.stat().st_size < 0.7 * whole.stat().st_size
    again = Perception.load(rounded)
    for name, tensor in perception.state_dict().items():
        assert again.state_dict()[name].dtype == tensor.dtype
        assert torch.equal(again.state_dict()[name], tensor.half().float() if tensor.is_floating_point() else tensor)
    again.save(whole)
    assert Perception.load(whole).fingerprint == again.fingerprint


def test_bfloat16_is_close_to_float32(small_perception):
    full, half = (load_frozen(small_perception, precision=precision) for precision in ("float32", "bfloat16"))
    assert full is not half
    scenes = make_source("digits", "train", canvas=40).scenes(torch.arange(8))
    glimpse = extract(scenes.images, torch.zeros(8, 2), full.encoder.layout)
    a, b = (perception.step(perception.initial(scenes), glimpse) for perception in (full, half))
    assert b.dtype == torch.float32
    assert not torch.equal(a, b)
    assert torch.allclose(a, b, atol=0.1)


def test_layouts_and_inputs_are_flat_options():
    source = make_source("digits", "train", canvas=32)
    perception = Perception.build(source, patch=6, zooms=2, zoom_range=[0, 1], width=12)
    assert perception.encoder.layout.patch == 6
    assert perception.encoder.layout.zoom_range == (0, 1)
    assert perception.encoder.inputs.channels == source.channels
    assert perception.spec["encoder_config"]["patch"] == 6
    with pytest.raises(TypeError, match=r"encoder 'multizoom': no option 'pach'; known: channels, .*patch"):
        Perception.build(source, pach=6)


def test_features_are_taken_over_as_far_as_they_fit_and_the_others_named(tiny):
    digits, search = make_source("digits", "train", canvas=60), make_source("search", "train", canvas=60, candidates=2)
    learned, other = Perception.build(digits, **tiny), Perception.build(digits, **tiny, seed=1)
    assert other.take_features(learned, "learned") == []
    for name, tensor in learned.encoder.state_dict().items():
        assert torch.equal(other.encoder.state_dict()[name], tensor)
    asked = Perception.build(search, **tiny)
    new, theirs = asked.take_features(learned, "learned"), learned.encoder.state_dict()
    mine = asked.encoder.state_dict()
    assert new == [name for name in mine if not (name in theirs and torch.equal(mine[name], theirs[name]))]
    assert {"prompt.weight", "prompt.bias"} <= set(new) < set(mine)


@pytest.mark.parametrize(("needed", "known", "said", "is_refused"), [
    (True, True, None, False),
    (True, False, None, True),
    (False, False, None, False),
    (True, False, True, False),
    (True, True, False, True),
])  # fmt: skip
def test_a_task_that_needs_the_target_needs_a_source_that_knows_it(needed, known, said, is_refused, tiny):
    perception = Perception.build(
        make_source("digits", "train", canvas=60), task="locate" if needed else "classify", **tiny
    )
    source = type("Source", (), {"knows_target": known})
    with pytest.raises(ValueError, match="needs to know where the target is") if is_refused else nullcontext():
        perception.check_target_known(source, said)


FINGERPRINTS = {  # of the shipped weights; a policy belongs to one of them
    "cluttered100": "fd17eee06ff1",
    "cluttered60": "e4c86edc6bfb",
    "crowd": "044f9805e867",
    "digits": "1186dde0b286",
    "locate": "5bdc414fb995",
    "questions": "0ac9a44c0c36",
    "reconstruct": "19f10f0513b7",
    "search": "adf705d7bf8c",
    "spatial_search": "54be050e708f",
}


def test_every_shipped_perception_has_its_fingerprint():
    assert set(shipped()) == set(FINGERPRINTS)


def options(command):
    """The words of a command or script, without the places of files."""
    words = shlex.split(command.replace("(", " ").replace(")", " "), comments=True)  # a script has lists of options
    return {word for word in words if "runs/" not in word} - {"python", "train.py"}


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_a_shipped_perception_is_small_and_says_how_it_was_made(name):
    path, perception = shipped()[name], Perception.load(name)
    assert perception.fingerprint == FINGERPRINTS[name]
    assert path.stat().st_size < 10e6
    assert " pretrain " in perception.spec["command"]
    assert options(perception.spec["command"]) <= options(path.with_suffix(".sh").read_text())
