"""A policy whose weights are shared over places: it begins with the head's map, and moves with what it is shown."""

import pytest
import torch

from foveal_agents.base import make_agent
from foveal_agents.map_policy import MapPolicy, make_policy, told_by_head
from foveal_agents.mixture import Mixture
from foveal_agents.policy_files import load_agent
from foveal_agents.rollout import evaluate
from foveal_env.make import make_world
from foveal_env.perception import Perception
from foveal_env.sources import SOURCES

SIDE = 6
SHAPE = (SIDE**2 + 1, 10)  # cells and one more token


@pytest.fixture(scope="module")
def spatial(tmp_path_factory):
    """An untrained perception with a spatial state."""
    path = tmp_path_factory.mktemp("spatial") / "p.safetensors"
    source = SOURCES.make("search", split="train", canvas=70)
    perception = Perception.build(source, encoder="spatial", task="search", side=SIDE, patch=6, width=12, filters=4)
    perception.save(path, source="search", source_options={"canvas": 70})
    return str(path)


def policy(**options):
    torch.manual_seed(0)
    made = MapPolicy(SHAPE, Mixture(grid=SIDE, channels=8, **options), state_grid=(SIDE, SIDE), reads_map=True)
    return made.eval()


def told(places):
    """Return what a head says that believes in some cells, [1, K, 3]."""
    logits = torch.full((SIDE**2,), -20.0)
    logits[list(places)] = torch.tensor(list(places.values()))
    return torch.cat([logits[:, None], policy().cells], dim=1)[None]


def test_a_new_policy_looks_where_the_head_believes_the_target():
    choice = policy()(torch.randn(1, *SHAPE), None, told({7: 2.0, 20: 1.0}))
    assert choice.log_weights.argmax().item() == 7
    assert choice.log_weights.exp()[0, [7, 20]].tolist() == pytest.approx([0.731, 0.269], abs=1e-3)
    assert torch.allclose(choice.means[0], policy().cells)
    blank = policy(trust=0.0)(torch.randn(1, *SHAPE), None, told({7: 2.0}))
    assert torch.allclose(blank.log_weights.exp(), torch.full((1, SIDE**2), 1 / SIDE**2))


def test_what_it_says_of_a_place_moves_with_the_place():
    """Its convolutions see the same around two cells far from the border; only the coordinates differ."""
    torch.manual_seed(0)
    net = MapPolicy((144, 10), Mixture(grid=12, channels=8), state_grid=(12, 12))
    torch.nn.init.normal_(net.heads.weight)
    torch.nn.init.zeros_(net.first.weight[:, -2:])  # blind to the coordinates
    weights = []
    for place in (5 * 12 + 5, 6 * 12 + 4):
        state = torch.zeros(1, 144, 10)
        state[0, place] = torch.linspace(-1, 1, 10)
        weights.append(net(state).log_weights[0, place])
    assert weights[0].item() == pytest.approx(weights[1].item(), abs=1e-4)


def test_cells_near_earlier_gazes_are_told_and_left_out_only_if_that_is_the_rule():
    gazes = torch.tensor([[[torch.nan, torch.nan], [-1 + 1 / SIDE, -1 + 1 / SIDE]]])
    for radius in (0.0, 0.1):
        net = policy(inhibition_radius=radius)
        torch.nn.init.normal_(net.heads.weight)
        before, after = net.excluded(gazes)[0]
        assert not before.any()
        assert after[0]
        state, map_ = torch.zeros(1, *SHAPE), told({})
        looked, fresh = (net(state, flags[None], map_).log_weights[0, 0] for flags in (after, before))
        assert (looked < -1000) == bool(radius)
        assert looked != fresh


def test_cells_attend_to_the_tokens_of_any_other_state():
    net = MapPolicy((4, 10), Mixture(grid=SIDE, channels=8))
    torch.nn.init.normal_(net.heads.weight)
    one, other = (net(state).log_weights for state in torch.randn(2, 1, 4, 10))
    assert one.shape == (1, SIDE**2)
    assert not torch.allclose(one, other)


def test_grpo_has_it_by_default_where_the_head_has_a_map(spatial, small_world, tmp_path):
    world = make_world(perception=spatial, glimpses=3)
    agent = make_agent("grpo", world, num_scenes=4, group_size=3)
    assert isinstance(agent.policy, MapPolicy)
    assert not isinstance(make_agent("grpo", world, shared=False).policy, MapPolicy)
    assert not isinstance(make_agent("grpo", small_world).policy, MapPolicy)
    assert len(list(agent.train(40))) > 0
    agent.save(tmp_path / "p.safetensors")
    again = load_agent(tmp_path / "p.safetensors", world)
    assert torch.equal(evaluate(world, again, scenes=5).gazes, evaluate(world, agent, scenes=5).gazes)
    greedy = evaluate(world, make_agent("grpo", world, seed=3), scenes=5).gazes[:, 1]
    likeliest = evaluate(world, make_agent("most_likely", world), scenes=5).gazes[:, 1]
    assert torch.allclose(greedy, likeliest, atol=1e-5)  # before any training


@pytest.mark.parametrize("learner", ["ppo", "a2c"])
def test_the_learners_of_sb3_can_have_the_same_net(learner, spatial, tmp_path):
    world = make_world(perception=spatial, glimpses=3)
    agent = make_agent(learner, world, shared=True, num_envs=4)
    names = set(make_policy(world, Mixture()).state_dict())
    assert {f"net.{name}" for name in names} <= set(agent.model.policy.state_dict())
    assert len(list(agent.train(24))) == 2
    agent.save(tmp_path / "p.safetensors")
    again = load_agent(tmp_path / "p.safetensors", world)
    assert torch.equal(evaluate(world, again, scenes=5).gazes, evaluate(world, agent, scenes=5).gazes)


def test_shared_weights_need_places(small_world, spatial):
    with pytest.raises(ValueError, match="shared weights need a grid"):
        make_agent("grpo", small_world, shared=True)
    with pytest.raises(ValueError, match="the head's map has 6 x 6 cells: leave grid out, got 5"):
        make_agent("grpo", make_world(perception=spatial), shared=True, grid=5)
    with pytest.raises(TypeError, match="'net_arch' would not count"):
        make_agent("ppo", make_world(perception=spatial), shared=True, net_arch=[8])
    with pytest.raises(ValueError, match="shared needs an on-policy algorithm"):
        make_agent("ppo", small_world, shared=True)


def test_it_is_told_what_the_head_says(spatial):
    world = make_world(perception=spatial, glimpses=3, time_left=True)
    episode = world.start(world.scenes(torch.arange(2)))
    assert torch.equal(told_by_head(world, world.observe(episode)), told_by_head(world, episode.state))
    assert told_by_head(world, episode.state).shape == (2, SIDE**2, 3)
