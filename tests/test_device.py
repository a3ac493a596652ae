"""What holds on a device that is not the CPU, on an emulated one: no tensors are mixed, and few steps wait for it."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from emulated_device import DEVICE, DeviceTensor, emulated
from quick_agents import quick

import foveal_env
from foveal_agents import AGENTS
from foveal_agents.policy_files import load_agent
from foveal_agents.rollout import evaluate
from foveal_env import make, retina
from foveal_env.data import Scenes
from foveal_env.devices import arithmetic, check_device, to_host
from foveal_env.images import Images
from foveal_env.make import make_source, make_world
from foveal_env.perception import Perception
from foveal_env.pretraining import Pretraining

SCRIPTED = ("random", "centre", "raster", "spiral", "saliency", "most_likely", "oracle", "greedy_oracle")


@pytest.fixture
def waits():
    """The waits for the device, which is there as long as the test runs."""
    with emulated() as counted:
        yield counted


MISTAKES = {
    "sum": lambda here, there: here + there,
    "sum with a weight of the CPU": lambda here, there: torch.nn.Linear(3, 2)(there),
    "cat": lambda here, there: torch.cat([here, there]),
    "where": lambda here, there: torch.where(there > 0, here, there),
    "index": lambda here, there: there[torch.tensor([0, 1])],
    "write": lambda here, there: there.__setitem__(slice(None), here),
    "index of the CPU": lambda here, there: here[there.long()],
    "in place": lambda here, there: here.add_(there),
    "generator": lambda here, there: torch.rand(2, device="cuda", generator=torch.Generator()),
    "randperm": lambda here, there: torch.randperm(2, device="cuda", generator=torch.Generator()),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_the_emulation_refuses_what_a_device_refuses(mistake, waits):
    here = torch.arange(3.0)
    with pytest.raises(RuntimeError, match=r"same device|generator"):
        mistake(here, here.to("cuda"))


@pytest.mark.parametrize("read", [lambda x: x.numpy(), np.asarray, lambda x: np.sum([x, x])])
def test_the_emulation_is_not_read_by_numpy(read, waits):
    with pytest.raises(TypeError, match="to numpy"):
        read(torch.arange(3.0, device="cuda"))


WAITING = {
    "item": lambda x: x[0].item(),
    "tolist": lambda x: x.tolist(),
    "bool": lambda x: bool((x > 0).any()),
    "if": lambda x: 1 if x[0] > 0 else 0,
    "int": lambda x: int(x[0]),
    "float": lambda x: float(x[0]),
    "range": lambda x: range(x.long()[0]),
    "text": lambda x: f"{x[0]:.1f}",
    "cpu": lambda x: x.cpu(),
    "to the CPU": lambda x: x.to("cpu"),
    "to another tensor": lambda x: x.to(torch.zeros(1)),
    "copied into one of the CPU": lambda x: torch.zeros(3).copy_(x),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "mask": lambda x: x[x > 0],
    "written by mask": lambda x: x.__setitem__(x > 0, x[:2] + 1),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "bincount": lambda x: torch.bincount(x.long()),
    "repeat_interleave": lambda x: x.repeat_interleave(x.long()),
    "equal": lambda x: torch.equal(x, x),
}


@pytest.mark.parametrize("what", WAITING.values(), ids=WAITING)
def test_the_emulation_counts_what_waits(what, waits):
    x = torch.arange(3, dtype=torch.float32).to("cuda")
    assert not waits
    what(x)
    assert waits.total() == 1
    assert all("test_device.py" in line for line in waits)


def test_the_emulation_does_not_count_what_does_not_wait(waits):
    x = torch.arange(3.0, device="cuda", requires_grad=True)
    net = torch.nn.Linear(3, 3).to("cuda")
    y = torch.where(x > 1, net(x), 0.0).masked_fill(x > 1, 2.0)
    z = y.clone()
    z[x > 1] = 1.0
    z = z[x.argsort()].sum() + torch.tensor([1.0]).to("cuda") + torch.tensor(2.0)
    z.backward()
    x.detach().repeat_interleave(x.long(), output_size=3)
    assert (x.device, x.is_cuda, x.is_cpu, x.grad.device) == (DEVICE, True, False, DEVICE)
    assert all(isinstance(t, DeviceTensor) for t in (z, x.grad, net.weight, net.weight.grad))
    assert not waits


SOURCES = {
    "digits": ("digits", "test", {"canvas": 60}),
    "augmented": ("digits", "train", {"canvas": 60, "augment": True}),
    "ladder": ("ladder", "test", {"canvas": [40, 70], "pictures_from": "digits", "background": "photos"}),
    "search": ("search", "test", {"canvas": 100}),
    "search by example": ("search", "train", {"canvas": [80, 120], "prompt": "example", "augment": True}),
    "questions": ("questions", "test", {"canvas": 180}),
}


@pytest.mark.parametrize("case", SOURCES.values(), ids=SOURCES)
def test_scenes_made_on_a_device_are_the_same(case):
    name, split, options = case
    index = torch.tensor([0, 5, 2**61, 7, 5])
    expected = make_source(name, split, **options).scenes(index)
    with emulated():
        source = make_source(name, split, **options)
        assert source.any_device
        made = source.scenes(index.to("cuda"))
        parts = [
            made.label,
            made.box,
            made.prompt,
            made.index,
            made.images.texels,
            made.images.offset,
            made.images.size,
        ]
        assert all(isinstance(part, DeviceTensor) for part in parts)
        parts = to_host(parts)
    theirs = [expected.label, expected.box, expected.prompt, expected.index]
    theirs += [getattr(expected.images, name) for name in ("texels", "offset", "size")]
    for mine, other in zip(parts, theirs, strict=False):
        assert torch.equal(mine, other)


IDS = sorted(foveal_env.IDS)
OPTIONS = {
    "default": {},
    "stop and zoom": {"stop": True, "zoom": True, "time_left": True, "reward": "correct", "glimpses": 3},
    "no first look": {"first_look": None, "flat": True, "glimpses": 2},
}


MODES = [("default", "SameStep"), ("default", "NextStep"), ("stop and zoom", "Disabled"), ("no first look", "SameStep")]


@pytest.mark.parametrize(("options", "mode"), [(OPTIONS[name], mode) for name, mode in MODES], ids=map(str, MODES))
@pytest.mark.parametrize("id", IDS)
def test_a_step_waits_twice_at_most_and_is_that_of_the_cpu(id, options, mode):
    plain = gym.make_vec(id, num_envs=3, autoreset_mode=mode, **options)
    with emulated() as waits:
        env = gym.make_vec(id, num_envs=3, autoreset_mode=mode, device="cuda", **options)
        env.reset(seed=0)  # what is made once is made
        runs = [batch.reset(seed=4) for batch in (env, plain)]
        for step in range(5):
            waits.clear()
            action = np.random.default_rng(step).uniform(-1, 1, env.action_space.shape)
            results = [batch.step(action) for batch in (env, plain)]
            assert waits.total() <= 2, waits
            pairs = [[*run[:1], *result[:3]] for run, result in zip(runs, results, strict=True)]
            for mine, theirs in zip(*pairs, strict=False):
                assert np.allclose(mine, theirs, atol=1e-4)
            same_infos(results[0][-1], results[1][-1])
            ended = results[0][2]
            if mode == "Disabled" and ended.any():
                waits.clear()
                runs = [batch.reset(options={"reset_mask": ended.copy()}) for batch in (env, plain)]
                assert waits.total() <= 2, waits


def same_infos(mine, theirs):
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        if isinstance(value, dict):
            same_infos(value, theirs[key])
        elif value.dtype != object:
            assert np.allclose(value, theirs[key], atol=1e-4)


def test_steps_on_files_of_mixed_sizes(folder, tiny, tmp_path, waits):
    options = {"folder": str(folder), "channels": 1}
    perception = Perception.build(make_source("folder", "train", **options), **tiny)
    perception.save(tmp_path / "mine.safetensors", source="folder", source_options=options)
    env = gym.make_vec(IDS[0], num_envs=6, perception=str(tmp_path / "mine.safetensors"), device="cuda", stop=True)
    env.reset(seed=0)
    ends = 0
    for step in range(8):
        waits.clear()
        ends += env.step(np.random.default_rng(step).uniform(-1, 1, (6, 3)))[2].sum()
        assert waits.total() <= 3, waits
    assert ends > 6
    assert len(env.world.scenes(torch.arange(3)).images.size.tolist()) == 3


def test_rows_of_mixed_sizes_are_compacted(waits):
    images = [torch.randint(256, (1, h, w), dtype=torch.uint8) for h, w in ((5, 9), (40, 3), (1, 1))]
    there = Images.cat([Images.prepare(images).to("cuda").rows(torch.tensor([2, 0], device="cuda"))] * 2)
    for row, image in enumerate([images[2], images[0]] * 2):
        assert torch.equal(there.pixels(row).cpu(), image)
    assert len(there.texels) < 2 * len(Images.prepare(images).texels)


def test_an_impossible_square_is_nan_on_a_device(waits):
    images = Images.prepare(torch.full((2, 1, 20, 20), 255, dtype=torch.uint8)).to("cuda")
    centre = torch.tensor([[[10.0, 10.0], [torch.nan, 10]], [[10.0, torch.inf], [10, 10]]])
    side = torch.tensor([[8.0, 8.0], [8.0, -1.0]])
    patches = images.box_averages(centre.to("cuda"), side.to("cuda"), 4)
    assert not waits
    assert patches[0, 0].cpu().eq(1).all()
    assert all(patches.cpu()[at].isnan().all() for at in ((0, 1), (1, 0), (1, 1)))


@pytest.mark.parametrize("name", SCRIPTED)
def test_scripted_agents_do_the_same_on_a_device(name, searching):
    results = []
    for device in ("cpu", "cuda"):
        with emulated():
            world = make_world(perception=searching, glimpses=2, device=device, split="test")
            agent = quick(name, world)
            results.append(evaluate(world, agent, scenes=6, batch=4))
    assert torch.allclose(results[0].gazes.nan_to_num(), results[1].gazes.nan_to_num(), atol=1e-4)
    assert torch.allclose(results[0].loss, results[1].loss, atol=1e-4)
    assert set(SCRIPTED) < set(AGENTS)


@pytest.mark.parametrize(
    ("perception", "options", "rules"),
    [
        ("digits", {}, {}),
        ("search", {"grid": 4, "inhibition_radius": 0.2, "imitation": 0.5, "ent_coef": 0.1}, {"glimpses": 3}),
        ("questions", {}, {"stop": True, "zoom": True, "glimpses": 3}),
    ],
    ids=["digits", "search", "questions"],
)
def test_an_update_of_grpo_waits_once_and_once_a_look_where_episodes_end_early(perception, options, rules, tmp_path):
    learned = []
    for device in ("cpu", "cuda"):
        with emulated() as waits:
            canvas = {"canvas": 250} if perception == "search" else {}
            world = make_world(perception=perception, device=device, **canvas, **rules)
            agent = quick("grpo", world, batch_size=16, **options)
            world.scenes(torch.arange(2))  # the first are checked
            waits.clear()
            for logs in agent.train(40):  # noqa: B007, the last are compared
                looks = world.rules.glimpses if world.ends_early else 0
                assert waits.total() <= (1 if not looks else 2 + looks), waits
                waits.clear()
            agent.save(tmp_path / f"{device}.safetensors")
            again = load_agent(tmp_path / f"{device}.safetensors", world)
            assert again.spent == agent.spent
            learned.append((logs, to_host(list(agent.policy.state_dict().values()))))
    (mine, ours), (other, theirs) = learned
    assert mine == pytest.approx(other, abs=1e-3)
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("name", "task", "options"),
    [
        ("digits", "classify", {"canvas": 40}),
        ("digits", "locate", {"canvas": 40}),
        ("digits", "reconstruct", {"canvas": 40}),
        ("search", "search", {"canvas": 70, "candidates": 3}),
        ("questions", "several", {"canvas": 180}),
    ],
)
def test_an_update_of_stage_1_never_waits(name, task, options, tiny):
    losses = []
    for device in ("cpu", "cuda"):
        with emulated() as waits:
            source = make_source(name, "train", **options)
            perception = Perception.build(source, task=task, **tiny).to(device)
            auxiliary = {"auxiliary_task": "point"} if task == "classify" else {}
            training = Pretraining(perception, source, steps=9, batch=6, glimpses=2, precision="float32", **auxiliary)
            training.update()  # what is made once is made
            waits.clear()
            loss = training.update()["loss"]
            assert not waits
            losses.append(loss.cpu())
    assert torch.allclose(*losses, atol=1e-4)


def test_tensors_of_any_kind_come_to_the_host_in_one_copy(waits):
    given = [torch.arange(6.0).view(2, 3), torch.tensor([True, False]), torch.arange(3), torch.zeros(2, 0)]
    given += [torch.tensor(2.5, dtype=torch.float64), torch.arange(8).view(2, 4).to(torch.uint8).T]
    there = [tensor.to("cuda") for tensor in given]
    mixed = to_host([*there[:3], given[3], *there[4:]])
    assert waits.total() == 1
    for mine, theirs in zip(mixed, given, strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        assert torch.equal(mine, theirs)
    assert to_host(given)[0] is given[0]


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("nope", "unknown device 'nope'; known: cpu, cuda"),
        ("meta", "cannot be used here"),
        ("mps", "cannot be used here"),
    ],
)
def test_a_device_that_cannot_be_used_is_refused(device, message):
    with pytest.raises(ValueError, match=message):
        check_device(device)


def test_automatic_precision_is_float32_on_a_device_of_which_nothing_is_known():
    assert arithmetic("auto", "mps") == torch.float32


def test_a_source_that_knows_no_device_makes_its_scenes_on_the_cpu(small_perception):
    index = torch.tensor([3, 4])
    with emulated():
        world = make_world(perception=small_perception, device="cuda")
        world.source.any_device = False
        try:
            made = world.scenes(index.to("cuda"))
        finally:
            del world.source.any_device
        assert isinstance(made, Scenes)
        assert all(isinstance(tensor, DeviceTensor) for tensor in (made.label, made.images.texels))
        pixels = made.images.pixels(1).cpu()
    assert torch.equal(pixels, make_world(perception=small_perception).scenes(index).images.pixels(1))


@pytest.fixture
def run_with():
    """Runs a function with a default type of torch's, and with nothing made before."""

    def run(dtype, what):
        for cache in (make._load_frozen, make._make_source, retina._offsets):
            cache.cache_clear()
        torch.set_default_dtype(dtype)
        try:
            return what()
        finally:
            torch.set_default_dtype(torch.float32)

    return run


def episodes(id):
    env = gym.make_vec(id, num_envs=3, split="test")
    told = [env.reset(seed=1)]
    for step in range(env.world.rules.glimpses + 1):
        told.append(env.step(np.random.default_rng(step).uniform(-1, 1, (3, 2))))
    return [array for step in told for array in step[:-1]] + [step[-1]["score"] for step in told]


def scripted(searching):
    world = make_world(perception=searching, glimpses=2)
    return [evaluate(world, quick(name, world), scenes=4).gazes.nan_to_num() for name in SCRIPTED]


def trained(searching):
    options = {"perception": searching, "stop": True, "zoom": True, "time_left": True, "glimpses": 3}
    agent = quick("grpo", make_world(**options), grid=3, imitation=0.5, ent_coef=0.1)
    *_, logs = agent.train(30)
    return [*agent.policy.state_dict().values(), torch.tensor(list(logs.values()), dtype=torch.float64)]


def pretrained(name, task):
    source = make_source(name, "train", augment=True, canvas=180)
    perception = Perception.build(source, task=task, patch=6, zooms=1, grid=2, width=12, depth=1, keypoints=2)
    training = Pretraining(perception, source, steps=2, batch=6, glimpses=2, auxiliary_task="point")
    return [training.update()["loss"], *perception.state_dict().values()]


RUNS = {
    **{id: lambda searching, id=id: episodes(id) for id in IDS},
    "scripted agents": scripted,
    "grpo": trained,
    "pretraining": lambda searching: pretrained("digits", "reconstruct"),
    "pretraining of questions": lambda searching: pretrained("questions", "several"),
}


@pytest.mark.parametrize("what", RUNS.values(), ids=RUNS)
def test_the_default_type_of_torch_changes_nothing(what, run_with, searching):
    single, double = (run_with(dtype, lambda: what(searching)) for dtype in (torch.float32, torch.float64))
    assert len(single) == len(double)
    for mine, theirs in zip(single, double, strict=True):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
