import json

import pytest
import torch
from safetensors.torch import save_file

from foveal_env import checkpoint
from foveal_env.checkpoint import shipped
from foveal_env.make import load_frozen, make_source
from foveal_env.perception import ENCODERS, Perception
from foveal_env.pretraining import Pretraining, random_gaze
from foveal_env.retina import extract

TINY = {"patch": 6, "zooms": 2, "width": 12, "depth": 1}


def pretraining(**options):
    source = make_source("digits", "train", canvas=32, clutter=1)
    perception = Perception.build(source, seed=3, **TINY)
    chosen = {"steps": 6, "batch": 8, "looks": 2, "precision": "float32", "learning_rate": 1e-2, **options}
    return Pretraining(perception, source, **chosen)


def weights(job):
    return torch.cat([parameter.flatten() for parameter in job.perception.parameters()])


def test_save_and_load_give_the_same_perception(tmp_path):
    source = make_source("digits", "train", canvas=32)
    for encoder in sorted(ENCODERS):
        options = {k: v for k, v in TINY.items() if encoder == "multizoom" or k != "depth"}
        perception = Perception.build(source, encoder=encoder, **options)
        perception.save(tmp_path / "p.safetensors")
        again = Perception.load(tmp_path / "p.safetensors")
        assert again.spec == json.loads(json.dumps(perception.spec))
        for name, tensor in perception.state_dict().items():
            assert torch.equal(tensor, again.state_dict()[name])


def test_weights_can_be_saved_in_half_the_bytes(tmp_path):
    perception = Perception.build(make_source("digits", "train", canvas=32), **TINY)
    for half in (False, True):
        perception.save(tmp_path / f"{half}.safetensors", half=half)
    whole, rounded = (tmp_path / f"{half}.safetensors" for half in (False, True))
    assert rounded.stat().st_size < 0.7 * whole.stat().st_size
    again = Perception.load(rounded)
    for name, tensor in perception.state_dict().items():
        assert again.state_dict()[name].dtype == tensor.dtype
        assert torch.equal(again.state_dict()[name], tensor.half().float() if tensor.is_floating_point() else tensor)
    again.save(whole)
    assert Perception.load(whole).fingerprint == again.fingerprint


def test_bad_checkpoints_are_refused(tmp_path):
    path = tmp_path / "p.safetensors"
    perception = Perception.build(make_source("digits", "train", canvas=32), **TINY)
    perception.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"p.safetensors is truncated or not a safetensors file"):
        Perception.load(path)
    path.write_bytes(b"PK not safetensors at all")
    with pytest.raises(ValueError, match="truncated or not a safetensors file"):
        Perception.load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="not a perception checkpoint but a safetensors file of another origin"):
        Perception.load(path)
    checkpoint.save(path, "policy", {}, {})
    with pytest.raises(ValueError, match="not a perception checkpoint but policy"):
        Perception.load(path)
    save_file({"a": torch.zeros(1)}, path, {"kind": "perception", "version": "99", "header": "{}"})
    with pytest.raises(ValueError, match="format version 99, this release reads 1"):
        Perception.load(path)
    checkpoint.save(path, "perception", {}, {"encoder": "multizoom"})
    with pytest.raises(ValueError, match="its header lacks encoder_config, task, task_config"):
        Perception.load(path)
    for header in ({}, {"header": "{not json"}, {"header": "3"}):
        save_file({"a": torch.zeros(1)}, path, {"kind": "perception", "version": "1", **header})
        with pytest.raises(ValueError, match=r"p.safetensors is damaged: its header"):
            Perception.load(path)
    checkpoint.save(path, "perception", {"a": torch.zeros(1)}, perception.spec)
    with pytest.raises(ValueError, match="do not fit"):
        Perception.load(path)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        Perception.load(tmp_path / "missing.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p.safetensors"
    checkpoint.save(path, "policy", {"a": torch.ones(1)}, {})
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, "policy", {"a": torch.zeros(1)}, {})
    assert checkpoint.load(path, "policy")[0]["a"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["p.safetensors"]


def test_pretraining_learns():
    job = pretraining(steps=60, batch=32, near=1.0, spread=0.0)
    losses = [job.update()["loss"].mean().item() for _ in range(60)]
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])


def test_pretraining_stopped_and_resumed_is_pretraining_never_stopped(tmp_path):
    whole = pretraining()
    for _ in range(6):
        whole.update()
    first = pretraining()
    for _ in range(3):
        first.update()
    first.save(tmp_path / "t.safetensors")
    second = pretraining()
    second.load(tmp_path / "t.safetensors")
    for _ in range(3):
        second.update()
    assert torch.equal(weights(whole), weights(second))
    assert not torch.equal(weights(whole), weights(first))


def test_the_first_look_is_in_the_centre_or_random_as_the_others(monkeypatch):
    seen = []

    def watched(images, gaze, *more):
        seen.append(gaze.clone())
        return extract(images, gaze, *more)

    monkeypatch.setattr("foveal_env.pretraining.extract", watched)
    pretraining().update()
    pretraining(first_look=None).update()
    assert torch.equal(seen[0], torch.zeros(8, 2))
    assert (seen[2] != 0).all()
    assert torch.equal(seen[1], seen[3])
    with pytest.raises(ValueError, match="unknown first_look 'left'"):
        pretraining(first_look="left")
    with pytest.raises(ValueError, match="a policy that is followed has a first look"):
        pretraining(first_look=None, traces=lambda scenes, generator: None)


def test_averaged_weights_lag_behind_and_are_resumed(tmp_path):
    whole, first, second = (pretraining(averaging=0.5) for _ in range(3))
    for job, updates in ((whole, 6), (first, 3)):
        for _ in range(updates):
            job.update()
    first.save(tmp_path / "t.safetensors")
    second.load(tmp_path / "t.safetensors")
    for _ in range(3):
        second.update()
    for resumed, expected in zip(second.trained.parameters(), whole.trained.parameters(), strict=True):
        assert torch.equal(resumed, expected)
    plain = pretraining()
    path = []
    for _ in range(6):
        plain.update()
        path.append(weights(plain))
    assert torch.equal(weights(whole), path[-1])  # the training itself is the same
    mean = path[0]
    for number, newest in enumerate(path[1:], start=1):
        mean = mean.lerp(newest, 1 - min(0.5, number / (number + 10)))
    averaged = torch.cat([parameter.flatten() for parameter in whole.trained.parameters()])
    assert torch.allclose(averaged, mean, atol=1e-6)
    assert plain.trained is plain.perception
    with pytest.raises(ValueError, match="averaging lies in"):
        pretraining(averaging=1.0)


def test_resuming_another_perception_is_refused(tmp_path):
    pretraining().save(tmp_path / "t.safetensors")
    source = make_source("digits", "train", canvas=32, clutter=1)
    other = Pretraining(Perception.build(source, **{**TINY, "width": 24}), source)
    with pytest.raises(ValueError, match="belongs to another perception"):
        other.load(tmp_path / "t.safetensors")


def test_no_gradient_crosses_looks_unless_asked():
    """With one look the two are equal; with more, the gradients differ."""
    for looks, equal in ((1, True), (3, False)):
        jobs = [pretraining(looks=looks, through_time=flag) for flag in (False, True)]
        for job in jobs:
            job.update()
        assert torch.equal(weights(jobs[0]), weights(jobs[1])) == equal


def test_random_gaze_follows_its_law():
    scenes = make_source("digits", "train", canvas=100).scenes(torch.arange(4000))
    generator = torch.Generator().manual_seed(0)
    uniform = random_gaze(scenes, scenes.box, generator, near=0, spread=0.4)
    assert uniform.abs().max() <= 1
    assert uniform.std(dim=0).tolist() == pytest.approx([3**-0.5] * 2, rel=0.03)
    close = random_gaze(scenes, scenes.box, generator, near=1, spread=0.2)
    inside = scenes.box[:, :2].abs().amax(dim=1) < 0.4  # not clipped
    assert (close - scenes.box[:, :2])[inside].std().item() == pytest.approx(0.2 * 0.56, rel=0.05)
    mixed = random_gaze(scenes, scenes.box, generator, near=0.5, spread=0.0)
    assert (mixed == scenes.box[:, :2]).all(dim=1).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_a_share_of_the_scenes_is_looked_at_as_a_policy_does():
    asked = []

    def traces(scenes, generator):
        asked.append(len(scenes))
        return torch.full((len(scenes), 2, 2), 0.25)

    job = pretraining(follow=0.5, traces=traces)
    gazes = job._followed(job.source.scenes(torch.arange(400)), torch.Generator().manual_seed(0))
    followed = ~gazes.isnan()
    assert 150 < followed[:, 0, 0].sum() < 250
    assert (followed == followed[:, :1, :1]).all()  # a whole scene or nothing of it
    assert (gazes[followed] == 0.25).all()
    job.update()
    assert asked == [400, 8]
    with pytest.raises(ValueError, match=r"follow lies in \[0, 1\], got 2"):
        pretraining(follow=2)


def test_a_task_beside_teaches_the_encoder_and_leaves_no_trace(tmp_path):
    plain, job = pretraining(), pretraining(beside="point")
    for one in (plain, job):
        one.update()
    assert not torch.equal(weights(plain), weights(job))  # its gradient reaches the encoder
    head, shown = pretraining(beside="point", steps=60, beside_weight=30.0), job.source.scenes(torch.arange(50))
    before = weights(head)
    for _ in range(60):
        head.update()
    near = []
    for one in (job, head):
        glimpse = extract(shown.images, torch.zeros(50, 2), one.perception.encoder.layout)
        state = one.perception.step(one.perception.initial(shown), glimpse)
        near.append(one.beside.score(one.beside(state), shown).loss.mean().item())
    assert near[1] < near[0]
    assert not torch.equal(weights(head), before)
    names = {name for name, _ in job.perception.named_parameters()}
    assert not any("beside" in name for name in names)

    whole, first = (pretraining(beside="point") for _ in range(2))
    for _ in range(6):
        whole.update()
    for _ in range(3):
        first.update()
    first.save(tmp_path / "t.safetensors")
    second = pretraining(beside="point")
    second.load(tmp_path / "t.safetensors")
    for _ in range(3):
        second.update()
    assert torch.equal(weights(whole), weights(second))


def test_the_share_near_the_target_can_change_over_the_training(monkeypatch):
    seen = []

    def spy(scenes, box, generator, *, near, spread):
        seen.append(near)
        return torch.zeros(len(scenes), 2)

    monkeypatch.setattr("foveal_env.pretraining.random_gaze", spy)
    job = pretraining(steps=4, looks=1, near=1.0, last_near=0.2)
    for _ in range(4):
        job.update()
    assert seen == pytest.approx([1.0, 0.8, 0.6, 0.4])


def test_near_needs_a_target():
    source = make_source("digits", "train", canvas=32)
    blind = type("Blind", (type(source),), {"knows_target": False})("train", canvas=32)
    with pytest.raises(ValueError, match="near must be 0"):
        Pretraining(Perception.build(blind, **TINY), blind, near=0.5)
    assert Pretraining(Perception.build(blind, **TINY), blind).near == 0
    with pytest.raises(ValueError, match="unknown precision"):
        Pretraining(Perception.build(blind, **TINY), blind, precision="int4")


def test_bfloat16_is_close_to_float32(small_perception):
    full, half = (load_frozen(small_perception, precision=precision) for precision in ("float32", "bfloat16"))
    assert full is not half
    source = make_source("digits", "train", canvas=40)
    scenes = source.scenes(torch.arange(8))

    glimpse = extract(scenes.images, torch.zeros(8, 2), full.encoder.layout)
    a, b = (perception.step(perception.initial(scenes), glimpse) for perception in (full, half))
    assert b.dtype == torch.float32
    assert not torch.equal(a, b)
    assert torch.allclose(a, b, atol=0.1)


def test_the_shipped_perceptions_are_small_and_say_how_they_were_made():
    assert "digits" in shipped()
    for name, path in shipped().items():
        assert path.stat().st_size < 10e6
        spec = Perception.load(name).spec
        assert spec["command"].startswith("python train.py pretrain")
        assert spec["command"] in (path.parent / "README.md").read_text()
