import pytest
import torch
from safetensors.torch import save_file

from foveal_env import checkpoint
from foveal_env.make import make_source
from foveal_env.perception import Perception


@pytest.fixture(scope="module")
def perception(tiny):
    return Perception.build(make_source("digits", "train", canvas=32), **tiny)


def foreign(header):
    return lambda path, perception: save_file({"a": torch.zeros(1)}, path, {"kind": "perception", **header})


def written(kind, tensors, header):
    return lambda path, perception: checkpoint.save(path, kind, tensors, header(perception))


DAMAGE = {
    "cut off": (
        lambda path, perception: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        r"p\.safetensors is truncated or not a safetensors file",
    ),
    "another format": (lambda path, _: path.write_bytes(b"PK nothing of the kind"), "not a safetensors file"),
    "another origin": (
        lambda path, _: save_file({"a": torch.zeros(1)}, path),
        "not a perception checkpoint but a safetensors file of another origin",
    ),
    "a policy": (written("policy", {}, lambda _: {}), "not a perception checkpoint but policy"),
    "another version": (foreign({"version": "99", "header": "{}"}), "format version 99, this release reads 2"),
    "an old version": (foreign({"version": "1", "header": "{}"}), "format version 1, this release reads 2"),
    "a header that lacks entries": (
        written("perception", {}, lambda _: {"encoder": "multizoom"}),
        "its header lacks encoder_config, task, task_config",
    ),
    "no header": (foreign({"version": "2"}), r"p\.safetensors is damaged: its header"),
    "a header that is no JSON": (foreign({"version": "2", "header": "{not"}), r"p\.safetensors is damaged: its header"),
    "a header that is a number": (foreign({"version": "2", "header": "3"}), r"p\.safetensors is damaged: its header"),
    "other weights": (written("perception", {"a": torch.zeros(1)}, lambda p: p.spec), "do not fit"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_bad_checkpoint_is_refused(case, perception, tmp_path):
    path = tmp_path / "p.safetensors"
    perception.save(path)
    damage, message = DAMAGE[case]
    damage(path, perception)
    with pytest.raises(ValueError, match=message):
        Perception.load(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such checkpoint: .*missing\.safetensors"):
        Perception.load(tmp_path / "missing.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p.safetensors"
    checkpoint.save(path, "policy", {"a": torch.ones(1)}, {})
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, "policy", {"a": torch.zeros(1)}, {})
    assert checkpoint.load(path, "policy")[0]["a"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["p.safetensors"]
