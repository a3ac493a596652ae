import pytest
import torch
from safetensors.torch import save_file

from foveal_env import checkpoint
from foveal_env.make import make_source
from foveal_env.perception import Perception


@pytest.fixture(scope="module")
def perception(tiny):
    return Perception.build(make_source("digits", "train", canvas=32), **tiny)


def foreign(version):
    return lambda path, perception: save_file({"a": torch.zeros(1)}, path, {"kind": "perception", "version": version})


def headed(header):
    tensors = {"a": torch.zeros(1)}
    return lambda path, _: save_file(tensors, path, checkpoint.metadata_of("perception", tensors, header))


def changed(header):
    tensors = {"a": torch.zeros(1)}
    metadata = checkpoint.metadata_of("perception", tensors, "{}")
    return lambda path, _: save_file(tensors, path, {**metadata, "header": header})


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
    "another version": (foreign("99"), "format version 99, this release reads 2"),
    "an old version": (foreign("1"), "format version 1, this release reads 2"),
    "a header that lacks entries": (
        written("perception", {}, lambda _: {"encoder": "multizoom"}),
        "its header lacks encoder_config, task, task_config",
    ),
    "entries of other kinds": (
        written("perception", {}, lambda p: {**p.spec, "encoder": 3}),
        "the entry 'encoder' of its header is 3",
    ),
    "no hash": (foreign("2"), "it has no hash, and its content is not what was saved"),
    "another header": (changed("{ }"), r"p\.safetensors is damaged or was changed: its content is not what was saved"),
    "no header": (headed(""), r"p\.safetensors is damaged: its header is no JSON"),
    "a header that is no JSON": (headed("{not"), r"p\.safetensors is damaged: its header is no JSON"),
    "a header without end": (headed("[" * 100_000), r"p\.safetensors is damaged: its header is no JSON"),
    "a header that is a number": (headed("3"), r"p\.safetensors is damaged: its header holds no settings but 3"),
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_tensors_of_every_type_come_back(dtype, shape, tmp_path):
    tensor = torch.arange(6)[: max(1, torch.Size(shape).numel())].reshape(-1)[: torch.Size(shape).numel()]
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, "policy", {"t": tensor.reshape(shape).to(dtype), "u": torch.ones(2)}, {"a": [1, "ü"]})
    tensors, header = checkpoint.load(path, "policy")
    assert header == {"a": [1, "ü"]}
    assert tensors["t"].dtype == dtype
    assert torch.equal(tensors["t"], tensor.reshape(shape).to(dtype))


def test_what_was_loaded_does_not_change_with_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, "policy", {"t": torch.ones(1000)}, {})
    tensors, _ = checkpoint.load(path, "policy")
    with path.open("r+b") as file:
        file.truncate(10)
    assert tensors["t"].sum() == 1000


def test_every_flipped_byte_is_seen(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, "policy", {"t": torch.arange(6.0), "u": torch.ones(2)}, {"a": 1})
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"a\.safetensors"):
            checkpoint.load(path, "policy")


@pytest.mark.parametrize(
    ("name", "shape"),
    [("9.exp_avg", (3,)), ("x.exp_avg", (3,)), ("0.exp_avg", (4,))],
    ids=["which", "no number", "shape"],
)
def test_a_state_of_another_optimizer_is_refused(name, shape):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))])
    with pytest.raises(ValueError, match=f"the optimizer has no parameter for '{name}'"):
        checkpoint.restore_optimizer(optimizer, {name: torch.zeros(shape)})


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p.safetensors"
    checkpoint.save(path, "policy", {"a": torch.ones(1)}, {})
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, "policy", {"a": torch.zeros(1)}, {})
    assert checkpoint.load(path, "policy")[0]["a"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["p.safetensors"]
