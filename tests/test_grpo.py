"""Returns, advantages, and what the options of GRPO do."""

import numpy as np
import pytest
import torch
from quick_agents import quick

from foveal_agents.base import make_agent
from foveal_agents.grpo import discounted_returns, group_advantages
from foveal_agents.rollout import evaluate, rollout
from foveal_env.make import make_world
from foveal_env.world import Rules, World


def test_a_return_is_the_discounted_sum_of_what_follows():
    rewards = torch.tensor([[1.0, 2.0, 4.0]])
    assert discounted_returns(rewards, 0.5).tolist() == [[3.0, 4.0, 4.0]]


def test_advantages_are_standardised_over_the_group():
    returns = torch.rand(5, 6, 3, generator=torch.Generator().manual_seed(0))
    everyone = torch.ones(5, 6, 3, dtype=torch.bool)
    advantages = group_advantages(returns, everyone)
    assert torch.allclose(advantages.sum(dim=1), torch.zeros(5, 3), atol=1e-5)
    assert torch.allclose(advantages.std(dim=1, correction=0), torch.ones(5, 3), atol=1e-2)
    assert torch.equal(group_advantages(torch.ones(5, 6, 3), everyone), torch.zeros(5, 6, 3))
    moved = returns.clone()
    moved[0] += 100  # another scene's level does not matter
    assert torch.allclose(group_advantages(moved, everyone), advantages, atol=1e-3)


def test_traces_that_have_ended_do_not_count_in_their_group():
    returns = torch.rand(5, 6, 3, generator=torch.Generator().manual_seed(0))
    some = torch.ones(5, 6, 3, dtype=torch.bool)
    some[:, 4:] = False  # the others are as a group of four
    advantages = group_advantages(returns, some)
    assert torch.allclose(advantages[:, :4], group_advantages(returns[:, :4], some[:, :4]), atol=1e-5)
    assert not advantages[:, 4:].any()


def test_a_group_shares_scene_and_prompt(monkeypatch):
    world = make_world(perception="search", canvas=100, glimpses=2)
    agent = make_agent("grpo", world, num_scenes=3, group_size=4, width=8)
    episodes, look = [], World.look
    monkeypatch.setattr(
        World, "look", lambda self, episode, action: episodes.append(episode) or look(self, episode, action)
    )
    next(agent.train(1))
    for values in (episodes[0].scenes.prompt, episodes[0].scenes.index[:, None]):
        groups = values.unflatten(0, (3, 4))
        assert (groups == groups[:, :1]).all()
    assert len(set(episodes[0].scenes.index.tolist())) == 3


def test_a_policy_learns_to_stop_when_looking_no_longer_pays(toy_world):
    """In the toy world one look at the target tells everything: any further one only costs."""
    rules = Rules(glimpses=4, reward="gain", stop=True, glimpse_cost=0.02)
    world = World(toy_world.source, toy_world.perception, rules)
    options = {"num_scenes": 32, "group_size": 8, "batch_size": 512, "width": 64, "learning_rate": 3e-3, "gamma": 1.0}
    agent = make_agent("grpo", world, seed=0, ema_decay=0.9, std_end=0.05, **options)
    before = evaluate(world, agent, scenes=200)
    list(agent.train(200_000))
    after = evaluate(world, agent, scenes=200)
    assert before.glimpses.float().mean() == 4
    assert 0.5 <= after.glimpses.float().mean() < 1.5  # none where the target is in the centre
    assert after.mean_loss[-1] < 0.05


def test_what_is_fetched_ahead_is_what_the_next_update_looks_at(small_world, monkeypatch):
    ahead, asked, scenes = [], [], small_world.scenes
    monkeypatch.setattr(small_world, "prefetch", lambda index: ahead.append(index.tolist()))
    monkeypatch.setattr(small_world, "scenes", lambda index: asked.append(index.tolist()) or scenes(index))
    list(quick("grpo", small_world).train(3 * 8 * 4 * 3))
    assert len(asked) == 3
    assert asked[1:] == ahead[:-1]


def test_imitation_leads_to_the_target_sooner(toy_world, monkeypatch):
    losses = {}
    for imitation in (0.0, 1.0):
        agent = make_agent("grpo", toy_world, grid=8, num_scenes=32, batch_size=128, imitation=imitation)
        list(agent.train(10_000))
        losses[imitation] = evaluate(toy_world, agent, scenes=200).mean_loss[-1]
    assert losses[1.0] < losses[0.0] / 2
    monkeypatch.setattr(toy_world.source, "knows_target", False)
    with pytest.raises(ValueError, match="imitation needs a source that knows where the target is"):
        next(make_agent("grpo", toy_world, imitation=1.0).train(1))


def test_a_weight_of_the_entropy_keeps_a_policy_wide(small_world):
    plain, wide = ([*quick("grpo", small_world, ent_coef=weight).train(400)][-1] for weight in (0.0, 5.0))
    assert wide["entropy"] > plain["entropy"]


def test_greedy_gazes_come_from_the_averaged_policy(small_world):
    last, average = (quick("grpo", small_world, ema_decay=decay) for decay in (0.0, 0.999))
    untrained = evaluate(small_world, quick("grpo", small_world), scenes=50).gazes
    for agent in (last, average):
        list(agent.train(2000))
    moved = [(evaluate(small_world, agent, scenes=50).gazes - untrained).abs().mean() for agent in (last, average)]
    assert moved[1] < moved[0] / 5


def test_the_deviation_falls_linearly(small_world):
    agent = quick("grpo", small_world, std_start=0.4, std_end=0.1)
    logs = list(agent.train(960))
    assert [entry["glimpses"] for entry in logs] == list(range(96, 961, 96))
    assert [entry["deviation"] for entry in logs] == pytest.approx(np.linspace(0.4, 0.13, 10).tolist())


@pytest.mark.parametrize("greedy", [True, False])
def test_inhibition_looks_nowhere_twice(small_world, greedy):
    agent = quick("grpo", small_world, grid=8, inhibition_radius=0.3, std_start=0.001)
    list(agent.train(400))
    scenes = small_world.scenes(torch.arange(50))
    *_, last = rollout(small_world, agent, small_world.start(scenes), generator=torch.Generator(), greedy=greedy)
    apart = torch.cdist(last.after.gazes, last.after.gazes) + torch.eye(4) * 9
    assert apart.min() > 0.3 - 1.5 / 8 - 0.01  # a mean lies up to half a diagonal from the centre of its cell


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_size": 1}, "at least 2 traces, got group_size=1"),
        ({"num_scenes": 0}, "num_scenes must be at least 1, got 0"),
        ({"n_epochs": 0}, "n_epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"imitation": float("nan")}, "imitation must be at least 0, got nan"),
        ({"ema_decay": 1.0}, r"ema_decay lies in \[0, 1\), got 1.0"),
        ({"std_end": 0.0}, "std_end must be above 0, got 0.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_impossible_settings_are_named(small_world, options, message):
    with pytest.raises(ValueError, match=message):
        make_agent("grpo", small_world, **options)
