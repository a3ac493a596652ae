"""The contract of an agent, over the registry, and the files that policies are kept in."""

import json
import time
from itertools import islice

import numpy as np
import pytest
import torch
from quick_agents import QUICK, quick

from foveal_agents import AGENTS
from foveal_agents.base import Agent, Spent, make_agent
from foveal_agents.policy_files import load_agent, read_policy, resume_agent
from foveal_agents.rollout import evaluate
from foveal_env import checkpoint
from foveal_env.make import make_world
from foveal_env.perception import Perception
from foveal_env.registry import options_of
from foveal_env.world import Rules, World

LEARNERS = ("a2c", "grpo", "ppo", "sac", "td3")
GO_ON = ("a2c", "grpo", "ppo")


class Counter(Agent):
    """Learns to count."""

    is_trainable = True

    def __init__(self, world, *, seed=0, start=1, **more):
        super().__init__(world, seed=seed)
        self.count = torch.tensor(float(start))

    def updates(self, glimpses):
        while self.spent.glimpses < glimpses:
            self.count += 1
            yield {"glimpses": self.spent.glimpses + 10}

    def state(self):
        return {"count": self.count}, {}

    def restore(self, tensors, header):
        self.count = tensors["count"]


@pytest.fixture
def world_of(small_world, searching):
    """The world that an agent of this name can be in."""
    needs_map = make_world(perception=searching, glimpses=3, ends_on_success=False)
    return lambda name: needs_map if name in ("most_likely", "entropy_limit") else small_world


@pytest.fixture
def saved(small_world, tmp_path):
    """A policy, and the agent that saved it."""
    agent, path = quick("grpo", small_world, seed=3), tmp_path / "p.safetensors"
    next(agent.train(1))
    agent.save(path)
    return path, agent


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_an_agent_looks_in_any_world(name, world_of):
    world = world_of(name)
    agent = quick(name, world)
    evaluation = evaluate(world, agent, scenes=5)
    assert agent.name == name
    assert agent.is_trainable == (name in LEARNERS)
    assert evaluation.gazes.shape == (5, 4, 2)
    assert evaluation.gazes.abs().max() <= 1
    again = evaluate(world, agent, scenes=5, seed=1)
    assert agent.is_stochastic == (not torch.equal(evaluation.gazes, again.gazes))


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_an_agent_keeps_its_options(name, world_of):
    agent = quick(name, world_of(name), seed=2)
    assert agent.seed == 2
    assert QUICK.get(name, {}).items() <= agent.options.items()
    assert set(agent.options) >= set(options_of(type(agent))) - {"world", "seed"}
    assert json.loads(json.dumps(agent.options)) == agent.options


@pytest.mark.parametrize("name", sorted(set(AGENTS) - set(LEARNERS)))
def test_a_scripted_agent_learns_nothing(name, world_of, tmp_path):
    agent = make_agent(name, world_of(name))
    assert list(agent.train(60)) == []
    with pytest.raises(TypeError, match="learns nothing"):
        agent.save(tmp_path / "p.safetensors")


@pytest.mark.parametrize("name", LEARNERS)
def test_a_policy_is_saved_whole(name, small_world, tmp_path):
    agent, path = quick(name, small_world), tmp_path / "p.safetensors"
    logs = list(agent.train(60))
    assert logs[-1]["glimpses"] == agent.spent.glimpses >= 60
    assert agent.spent.seconds > 0 < agent.spent.cpu_seconds
    assert all(np.isfinite(value) for entry in logs for value in entry.values())
    agent.save(path)
    again = load_agent(path, small_world)
    for what in ("name", "options", "seed", "spent"):
        assert getattr(again, what) == getattr(agent, what), what
    assert torch.equal(evaluate(small_world, again, scenes=5).gazes, evaluate(small_world, agent, scenes=5).gazes)


@pytest.mark.parametrize("name", GO_ON)
def test_stopped_and_resumed_is_never_stopped(name, small_world, tmp_path):
    whole, first = quick(name, small_world, seed=2), quick(name, small_world, seed=2)
    reports = list(whole.train(400))
    assert len(reports) > 2
    assert list(islice(first.train(400), 2)) == reports[:2]
    first.save(tmp_path / "p.safetensors")
    second = load_agent(tmp_path / "p.safetensors", small_world)
    assert list(second.train(400)) == reports[2:]
    gazes = [evaluate(small_world, agent, scenes=20).gazes for agent in (whole, second, first)]
    assert torch.equal(gazes[0], gazes[1])
    assert not torch.equal(gazes[0], gazes[2])


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_training_leaves_the_global_generators_alone(name, small_world):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    list(quick(name, small_world).train(60))
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_a_seed_decides_what_is_learned(name, small_world):
    runs = [list(quick(name, small_world, seed=seed).train(60))[-1] for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("grpo", {"num_scenes": 32, "batch_size": 128, "std_end": 0.05}),
        ("grpo", {"num_scenes": 32, "batch_size": 128, "grid": 4, "ent_coef": 0.001}),
        ("ppo", {"num_envs": 256}),
    ],
    ids=["grpo", "grpo on a grid", "ppo"],
)
def test_the_known_best_gaze_of_a_toy_world_is_found(name, options, toy_world):
    agent = make_agent(name, toy_world, **options)
    before = evaluate(toy_world, agent, scenes=200).mean_loss[-1]
    list(agent.train(32_000))
    after = evaluate(toy_world, agent, scenes=200).mean_loss[-1]
    assert before > 0.2
    assert after < 0.02


def test_what_training_has_spent_is_kept_by_the_base(small_world, tmp_path):
    agent = make_agent(f"{__name__}:Counter", small_world, start=5)
    for expected, logs in zip((10, 20, 30), agent.train(30), strict=True):
        time.sleep(0.05)  # what the caller does in between does not count
        assert logs["glimpses"] == agent.spent.glimpses == expected
    assert agent.spent.seconds < 0.05
    agent.save(tmp_path / "p.safetensors")
    again = load_agent(tmp_path / "p.safetensors", small_world)
    assert (again.name, again.options) == (f"{__name__}:Counter", {"start": 5})
    assert (again.count, again.spent) == (8, agent.spent)


def test_options_that_are_not_declared_are_kept_too(small_world):
    assert Counter(small_world, other=2).options == {"start": 1, "other": 2}


def test_a_policy_is_read_once_and_knows_its_rules(small_perception, tmp_path, monkeypatch):
    world = make_world(perception=small_perception, glimpses=2, zoom=True, time_left=True)
    quick("grpo", world).save(tmp_path / "p.safetensors")
    reads, load = [], checkpoint.load
    monkeypatch.setattr(checkpoint, "load", lambda *arguments: reads.append(arguments) or load(*arguments))
    policy = read_policy(tmp_path / "p.safetensors")
    assert policy.rules == {"time_left": True, "stop": False, "zoom": True, "zoom_reach": 1.0}
    agent = policy.agent(World(world.source, world.perception, Rules(glimpses=5, **policy.rules)))
    assert agent.spent == Spent()
    assert len(reads) == 1


@pytest.mark.parametrize("name", checkpoint.shipped("foveal_agents.pretrained"))
def test_a_shipped_policy_goes_by_name_and_is_small(name):
    offline = {"source": "digits", "source_options": {"canvas": 60, "clutter": 4}} if "cluttered" in name else {}
    policy = read_policy(name)
    agent = policy.agent(make_world(perception=name, **offline))
    assert agent.acts_only
    assert agent.seed == 0
    assert agent.spent.glimpses >= 150_000
    assert policy.path.stat().st_size < 2**20


def test_unknown_names_and_options_are_named(small_world):
    with pytest.raises(ValueError, match="unknown agent 'nope'; known: a2c, centre"):
        make_agent("nope", small_world)
    with pytest.raises(ValueError, match="unknown policy 'nope'; known: cluttered100, "):
        load_agent("nope", small_world)
    with pytest.raises(TypeError, match="no option 'grup'; known: world, seed, num_scenes"):
        make_agent("grpo", small_world, grup=3)
    with pytest.raises(TypeError, match="no option 'grup'; known: world, seed"):
        make_agent("random", small_world, grup=3)


def test_a_damaged_policy_is_refused(saved, small_world):
    path, agent = saved
    checkpoint.save(path, "policy", {}, {"agent": "grpo", "options": {}, "seed": 0})
    with pytest.raises(ValueError, match="is damaged: its header lacks perception, rules, spent"):
        read_policy(path)
    agent.save(path)
    tensors, header = checkpoint.load(path, "policy")
    checkpoint.save(path, "policy", {**tensors, "policy.heads.bias": torch.zeros(1)}, header)
    with pytest.raises(ValueError, match=r"weights in .*p\.safetensors do not fit: .*heads\.bias"):
        load_agent(path, small_world)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated"):
        load_agent(path, small_world)


def test_a_policy_belongs_to_its_perception(saved, small_world, small_perception):
    other = Perception.load(small_perception).frozen()
    next(other.parameters()).data += 1
    with pytest.raises(ValueError, match="was trained on perception"):
        load_agent(saved[0], World(small_world.source, other, Rules(glimpses=3)))


@pytest.mark.parametrize(
    ("trained", "given", "message"),
    [
        ({}, {"time_left": True}, "on time_left=False; this world has time_left=True"),
        ({"zoom": True}, {"stop": True}, "on stop=False, zoom=True; this world has stop=True, zoom=False"),
        ({"zoom": True}, {"zoom": True, "zoom_reach": 2.0}, r"on zoom_reach=1.0; this world has zoom_reach=2.0"),
    ],
    ids=["time left", "stop and zoom", "zoom reach"],
)
def test_a_policy_is_refused_if_its_actions_would_mean_something_else(
    small_perception, tmp_path, trained, given, message
):
    quick("grpo", make_world(perception=small_perception, glimpses=2, **trained)).save(tmp_path / "p.safetensors")
    assert load_agent(tmp_path / "p.safetensors", make_world(perception=small_perception, glimpses=3, **trained))
    with pytest.raises(ValueError, match=message):
        load_agent(tmp_path / "p.safetensors", make_world(perception=small_perception, glimpses=2, **given))


def test_a_training_goes_on_from_its_policy(saved, small_world):
    path, agent = saved
    resumed = resume_agent(quick("grpo", small_world, seed=3), path, 1000)
    assert resumed.spent == agent.spent != Spent()
    for what, other in {
        "seed is 3, not 4": quick("grpo", small_world, seed=4),
        r"gamma is 0.3, not 0.5$": quick("grpo", small_world, seed=3, gamma=0.5),
        "agent is grpo, not ppo": quick("ppo", small_world, seed=3),
    }.items():
        with pytest.raises(ValueError, match=f"cannot go on: its {what}"):
            resume_agent(other, path, 1000)


def test_what_cannot_go_on_begins_again(small_world, tmp_path):
    agent, path = quick("sac", small_world), tmp_path / "p.safetensors"
    list(agent.train(24))
    agent.save(path)
    new = quick("sac", small_world)
    assert resume_agent(new, path, 1000) is new
    assert resume_agent(new, path, agent.spent.glimpses).spent == agent.spent  # it is finished
