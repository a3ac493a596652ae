from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env

from foveal_agents import AGENTS
from foveal_agents.base import collapse, evaluate, gaze_statistics, load_agent, make_agent, rollout
from foveal_agents.grpo import discounted_returns, group_advantages
from foveal_agents.mixture import MixturePolicy, entropy_bound, log_density, sample
from foveal_agents.sb3 import Sb3VecEnv
from foveal_env.checkpoint import shipped
from foveal_env.images import Images
from foveal_env.make import make_world
from foveal_env.perception import Perception
from foveal_env.world import World

SCRIPTED = ("random", "centre", "raster", "spiral", "saliency", "oracle", "greedy_oracle")
QUICK = {
    "grpo": {"scenes": 8, "group": 4, "minibatch": 64, "width": 32, "averaging": 0.5},
    "ppo": {"num_envs": 16, "episodes": 2, "batch_size": 32},
    "a2c": {"num_envs": 8},
    "sac": {"num_envs": 4, "learning_starts": 10},
    "sb3": {"algorithm": "SAC", "num_envs": 4, "options": {"learning_starts": 10}},
}


def quick(name, world, seed=0):
    return make_agent(name, world, seed=seed, **QUICK.get(name, {}))


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_contract_of_an_agent(name, small_world, tmp_path):
    agent = quick(name, small_world)
    evaluation = evaluate(small_world, agent, scenes=5)
    assert evaluation.gazes.shape == (5, 4, 2)
    assert evaluation.gazes.abs().max() <= 1
    assert len(evaluation.accuracy) == len(evaluation.mean_loss) == 4
    logs = list(agent.train(60))
    assert bool(logs) == agent.is_trainable == (name not in SCRIPTED)
    if not agent.is_trainable:
        with pytest.raises(TypeError, match="learns nothing"):
            agent.save(tmp_path / "p.safetensors")
        return
    assert logs[-1]["glimpses"] >= 60
    assert all(np.isfinite(value) for entry in logs for value in entry.values())
    agent.save(tmp_path / "p.safetensors")
    again = load_agent(tmp_path / "p.safetensors", small_world)
    assert again.name == name
    assert torch.equal(evaluate(small_world, again, scenes=5).gazes, evaluate(small_world, agent, scenes=5).gazes)


@pytest.mark.parametrize("name", ["grpo", "ppo", "a2c"])
def test_stopped_and_resumed_is_never_stopped(name, small_world, tmp_path):
    whole, first = quick(name, small_world, seed=2), quick(name, small_world, seed=2)
    reports = list(whole.train(400))
    assert len(reports) > 2
    for _, report in zip(range(2), first.train(400), strict=False):
        assert report == reports[_]
    first.save(tmp_path / "p.safetensors")
    second = load_agent(tmp_path / "p.safetensors", small_world)
    list(second.train(400))
    results = [evaluate(small_world, agent, scenes=20).gazes for agent in (whole, second, first)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_training_leaves_the_global_generators_alone(small_world):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    for name in ("grpo", "ppo"):
        list(quick(name, small_world).train(60))
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


def test_seeds_differ(small_world):
    for name in ("grpo", "ppo"):
        runs = [list(quick(name, small_world, seed=seed).train(60))[-1] for seed in (0, 0, 1)]
        assert runs[0] == runs[1]
        assert runs[0] != runs[2]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("grpo", {"scenes": 32, "minibatch": 128, "last_deviation": 0.05}),
        ("grpo", {"scenes": 32, "minibatch": 128, "grid": 4, "entropy_weight": 0.001}),
        ("ppo", {"num_envs": 256}),
    ],
)
def test_the_known_best_gaze_of_a_toy_world_is_found(name, options, toy_world):
    agent = make_agent(name, toy_world, **options)
    before = evaluate(toy_world, agent, scenes=200).mean_loss[-1]
    list(agent.train(60_000))
    after = evaluate(toy_world, agent, scenes=200).mean_loss[-1]
    assert before > 0.2
    assert after < 0.02


def test_imitation_leads_to_the_target_sooner(toy_world, monkeypatch):
    losses = {}
    for imitation in (0.0, 1.0):
        agent = make_agent("grpo", toy_world, grid=8, scenes=32, minibatch=128, imitation=imitation)
        list(agent.train(10_000))
        losses[imitation] = evaluate(toy_world, agent, scenes=200).mean_loss[-1]
    assert losses[1.0] < losses[0.0] / 2
    monkeypatch.setattr(toy_world.source, "knows_target", False)
    with pytest.raises(ValueError, match="imitation needs a source that knows where the target is"):
        make_agent("grpo", toy_world, imitation=1.0)


def test_returns_and_group_advantages():
    rewards = torch.tensor([[1.0, 2.0, 4.0]])
    assert discounted_returns(rewards, 0.5).tolist() == [[3.0, 4.0, 4.0]]
    returns = torch.rand(5, 6, 3, generator=torch.Generator().manual_seed(0))
    everyone = torch.ones(5, 6, 3, dtype=torch.bool)
    advantages = group_advantages(returns, everyone)
    assert torch.allclose(advantages.sum(dim=1), torch.zeros(5, 3), atol=1e-5)
    assert torch.allclose(advantages.std(dim=1, correction=0), torch.ones(5, 3), atol=1e-2)
    assert torch.equal(group_advantages(torch.ones(5, 6, 3), everyone), torch.zeros(5, 6, 3))
    moved = returns.clone()
    moved[0] += 100  # another scene's level does not matter
    assert torch.allclose(group_advantages(moved, everyone), advantages, atol=1e-3)
    some = everyone.clone()
    some[:, 4:] = False  # two traces have ended: the others are as a group of four
    apart = group_advantages(returns[:, :4], everyone[:, :4])
    assert torch.allclose(group_advantages(returns, some)[:, :4], apart, atol=1e-5)
    assert not group_advantages(returns, some)[:, 4:].any()


def test_the_mixture_is_a_density_and_is_sampled_from():
    means = torch.tensor([[[-0.5, 0.0], [0.5, 0.2]]])
    log_weights = torch.tensor([[0.3, 0.7]]).log()
    line = torch.linspace(-2, 2, 201)
    grid = torch.cartesian_prod(line, line)
    count = len(grid)
    mixture = means.expand(count, 2, 2), log_weights.expand(count, 2)
    density = log_density(grid, *mixture, 0.2).exp()
    assert (density.sum() * 0.02**2).item() == pytest.approx(1, abs=1e-3)
    draws = sample(means.expand(20000, 2, 2), log_weights.expand(20000, 2), 0.2, torch.Generator().manual_seed(0))
    assert draws.mean(dim=0).tolist() == pytest.approx([0.2, 0.14], abs=0.02)
    entropy = -(density * density.log() * 0.02**2).nansum().item()
    assert entropy_bound(means, log_weights, 0.2).item() <= entropy + 1e-3
    alone = entropy_bound(means[:, :1], torch.zeros(1, 1), 0.2).item()
    exact = np.log(2 * np.pi * np.e * 0.04)  # of one Gaussian in the plane
    assert alone == pytest.approx(exact - 1 + np.log(2), abs=1e-5)


def test_a_new_policy_spreads_its_components():
    means, log_weights, _ = MixturePolicy((2, 3), mixtures=4, width=8)(torch.zeros(1, 2, 3))
    assert torch.cdist(means[0], means[0]).fill_diagonal_(9).min() > 0.3
    assert torch.allclose(log_weights.exp(), torch.full((1, 4), 0.25), atol=0.02)


def test_a_grid_has_one_component_in_each_cell():
    policy = MixturePolicy((2, 3), mixtures=8, width=8, grid=4)
    choice = policy(torch.randn(500, 2, 3, generator=torch.Generator().manual_seed(0)) * 100)
    assert choice.means.shape == (500, 16, 2)
    line = torch.tensor([-0.75, -0.25, 0.25, 0.75])
    assert torch.equal(policy.cells, torch.cartesian_prod(line, line))
    assert 0.2 < (choice.means - policy.cells).abs().max() <= 0.25 + 1e-6
    alone = MixturePolicy((2, 3), mixtures=1, width=8, grid=1)  # of one Gaussian in the plane it is exact
    entropy = alone.entropy(alone(torch.zeros(1, 2, 3)), 0.2).item()
    assert entropy == pytest.approx(np.log(2 * np.pi * np.e * 0.04), abs=1e-5)
    assert alone.entropy(alone(torch.zeros(1, 2, 3)), 0.1).item() < entropy


def test_inhibition_looks_nowhere_twice(small_world):
    options = {**QUICK["grpo"], "grid": 8, "inhibition": 0.3, "first_deviation": 0.001}
    agent = make_agent("grpo", small_world, **options)
    list(agent.train(400))
    for greedy in (True, False):
        scenes = small_world.scenes(torch.arange(50))
        steps = list(rollout(small_world, agent, small_world.start(scenes), generator=torch.Generator(), greedy=greedy))
        gazes = steps[-1].after.gazes
        apart = torch.cdist(gazes, gazes) + torch.eye(gazes.shape[1]) * 9
        assert apart.min() > 0.3 - 1.5 / 8 - 0.01  # a mean lies up to half a diagonal from the centre of its cell
    with pytest.raises(ValueError, match="inhibition needs a grid"):
        make_agent("grpo", small_world, inhibition=0.1)


def test_kl_and_entropy_change_what_is_learned(small_world):
    plain = list(make_agent("grpo", small_world, **QUICK["grpo"]).train(400))
    held = make_agent("grpo", small_world, kl_weight=50.0, **QUICK["grpo"])
    reports = list(held.train(400))
    assert 0 <= reports[-1]["kl_reference"] < 0.1
    assert "kl_reference" not in plain[-1]
    wide = list(make_agent("grpo", small_world, entropy_weight=5.0, **QUICK["grpo"]).train(400))
    assert wide[-1]["entropy"] > plain[-1]["entropy"]
    with pytest.raises(ValueError, match="at least 2 traces"):
        make_agent("grpo", small_world, group=1)
    for name, value in {"grid": -1, "inhibition": -0.1, "imitation": float("nan")}.items():
        with pytest.raises(ValueError, match=f"{name} must be at least 0"):
            make_agent("grpo", small_world, **{name: value})


@pytest.mark.parametrize("glimpses", [1, 2, 5, 6, 8, 16])
def test_the_raster_covers_the_image(small_world, glimpses):
    path = make_agent("raster", small_world).path(glimpses)
    assert path.shape == (glimpses, 2)
    points = torch.cartesian_prod(torch.linspace(-1, 1, 41), torch.linspace(-1, 1, 41))
    nearest = torch.cdist(points, path, p=float("inf")).amin(dim=1).max().item()
    assert nearest <= 2.2 / glimpses**0.5
    assert torch.equal(path, path[path[:, 1].argsort(stable=True)])  # row by row


def test_the_spiral_begins_in_the_middle_and_grows(small_world):
    radius = make_agent("spiral", small_world).path(8).norm(dim=1)
    assert radius[0] < 0.3
    assert (radius.diff() > 0).all()
    assert radius[-1] < 1


def test_saliency_looks_at_what_stands_out_and_nowhere_twice(small_world):
    generator = torch.Generator().manual_seed(0)
    picture = torch.randint(90, 110, (2, 1, 120, 240), generator=generator, dtype=torch.uint8)
    picture[:, :, 20:32, 200:212] = 255  # two spots, on images twice as wide as high
    picture[:, :, 80:92, 40:52] = 0
    spots = torch.tensor([[206 / 240, 26 / 120], [46 / 240, 86 / 120]]) * 2 - 1
    scenes = replace(small_world.scenes(torch.arange(2)), images=Images.prepare(picture))
    agent, episode = make_agent("saliency", small_world, around=0.3), small_world.start(scenes)
    steps = list(rollout(small_world, agent, episode, generator=generator, greedy=True))
    gazes = torch.stack([step.action for step in steps], dim=1)  # [2, T, 2]
    nearest = torch.cdist(spots[None], gazes[:, :2]).amin(dim=2)
    assert nearest.max() < 0.15
    assert torch.cdist(gazes, gazes)[:, 0, 1:].min() >= 0.3
    assert gazes.abs().max() <= 1


def test_oracles_know_what_they_may(small_world):
    near = evaluate(small_world, make_agent("oracle", small_world, spread=0.0), scenes=20)
    boxes = small_world.scenes(torch.arange(20)).box
    assert torch.allclose(near.gazes[:, 2], boxes[:, :2])
    greedy = make_agent("greedy_oracle", small_world, grid=3)
    scenes = small_world.scenes(torch.arange(20))
    step = next(iter(rollout(small_world, greedy, small_world.start(scenes), generator=torch.Generator(), greedy=True)))
    for gaze in torch.rand(5, 2) * 0 + greedy.candidates[:5]:
        other, _ = small_world.look(step.before, gaze.expand(20, 2))
        assert (step.after.outcome.loss <= other.outcome.loss + 1e-5).all()


def test_a_collapsed_policy_is_called_so():
    varied = torch.rand(100, 4, 2) * 2 - 1
    assert collapse(varied) is None
    assert "same spots" in collapse(varied[:1].expand(100, 4, 2))
    assert "corner" in collapse(torch.full((100, 4, 2), 5.0))
    assert gaze_statistics(torch.full((3, 2, 2), -2.0)) == {"gaze_spread": 0.0, "corner_rate": 1.0}


def test_stable_baselines_sees_the_right_terminal_observation(small_perception):
    options = {"perception": small_perception, "glimpses": 2}
    vector = Sb3VecEnv(gym.make_vec("foveal_env/Classify-v0", num_envs=3, **options))
    vector.seed(4)
    vector.reset()
    singles = [gym.make("foveal_env/Classify-v0", **options) for _ in range(3)]
    for row, single in enumerate(singles):
        single.reset(seed=4 + row)
    actions = np.random.default_rng(0).uniform(-1, 1, (2, 3, 2))
    for action in actions:
        observations, rewards, ended, infos = vector.step(action)
        expected = [single.step(action[row]) for row, single in enumerate(singles)]
    assert ended.all()
    for row, (observation, reward, _, _, info) in enumerate(expected):
        assert np.allclose(infos[row]["terminal_observation"], observation, atol=1e-5)
        assert np.allclose(observations[row], singles[row].reset()[0], atol=1e-5)
        assert rewards[row] == pytest.approx(reward, abs=1e-5)
        assert infos[row]["is_success"] == info["is_success"]
        assert infos[row]["TimeLimit.truncated"] is False
    with pytest.raises(ValueError, match="SameStep"):
        Sb3VecEnv(gym.make_vec("foveal_env/Classify-v0", num_envs=1, autoreset_mode="NextStep", **options))
    with pytest.raises(TypeError, match="share all attributes"):
        vector.set_attr("world", None)


def test_stable_baselines_takes_the_single_environment_as_it_is(small_perception):
    env = gym.make("foveal_env/Classify-v0", perception=small_perception, glimpses=2)
    with pytest.warns(UserWarning, match="unconventional shape"):  # (N, D); MlpPolicy flattens it
        check_env(env.unwrapped)
    PPO("MlpPolicy", env, n_steps=8, batch_size=8, device="cpu").learn(16)
    many = Sb3VecEnv(gym.make_vec("foveal_env/Classify-v0", num_envs=4, perception=small_perception))
    PPO("MlpPolicy", many, n_steps=8, batch_size=8, device="cpu").learn(32)


def test_unknown_agents_and_damaged_policies(small_world, tmp_path):
    with pytest.raises(ValueError, match="unknown agent 'nope'; known: a2c, centre"):
        make_agent("nope", small_world)
    with pytest.raises(TypeError, match="grup"):
        make_agent("grpo", small_world, grup=3)
    with pytest.raises(ValueError, match="unknown algorithm 'DQN'; known: A2C"):
        make_agent("sb3", small_world, algorithm="DQN")
    path = tmp_path / "p.safetensors"
    quick("grpo", small_world).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated"):
        load_agent(path, small_world)
    blind = type("Blind", (type(small_world.source),), {"knows_target": False})("train", canvas=40)
    small_world.source = blind
    with pytest.raises(ValueError, match="needs a source that knows"):
        make_agent("oracle", small_world)


def test_a_policy_belongs_to_its_perception(small_world, small_perception, tmp_path):
    path = tmp_path / "p.safetensors"
    quick("grpo", small_world).save(path)
    clocked = make_world(perception=small_perception, glimpses=3, clock=True)
    with pytest.raises(ValueError, match=r"on clock=False; this world has clock=True"):
        load_agent(path, clocked)
    other = Perception.load(small_perception).frozen()
    next(other.parameters()).data += 1
    with pytest.raises(ValueError, match="was trained on perception"):
        load_agent(path, World(small_world.source, other, glimpses=3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"last_deviation": 0.0}, "must be above 0"),
        ({"averaging": 1.0}, "in"),
    ],
)
def test_impossible_settings_are_named(small_world, options, message):
    with pytest.raises(ValueError, match=message):
        make_agent("grpo", small_world, **options)


def test_an_off_policy_algorithm_says_that_it_cannot_go_on(small_world, tmp_path):
    agent = quick("sb3", small_world)
    list(agent.train(24))
    agent.save(tmp_path / "p.safetensors")
    again = load_agent(tmp_path / "p.safetensors", small_world)
    with pytest.raises(ValueError, match="replay buffer"):
        next(again.train(100))


def test_a_policy_is_refused_where_its_actions_would_mean_something_else(small_perception, tmp_path):
    zooms = make_world(perception=small_perception, glimpses=2, zoom=True)
    agent = quick("grpo", zooms)
    agent.save(tmp_path / "p.safetensors")
    assert load_agent(tmp_path / "p.safetensors", zooms)
    stops = make_world(perception=small_perception, glimpses=2, stop=True)
    with pytest.raises(ValueError, match="stop=False, zoom=True; this world has stop=True, zoom=False"):
        load_agent(tmp_path / "p.safetensors", stops)
    further = make_world(perception=small_perception, glimpses=2, zoom=True, zoom_reach=2.0)
    with pytest.raises(ValueError, match=r"zoom_reach=1.0; this world has zoom_reach=2.0"):
        load_agent(tmp_path / "p.safetensors", further)


def test_a_finished_off_policy_training_can_be_resumed_and_an_unfinished_one_cannot(small_world, tmp_path):
    agent = quick("sac", small_world)
    list(agent.train(60))
    agent.save(tmp_path / "p.safetensors")
    again = load_agent(tmp_path / "p.safetensors", small_world)
    assert list(again.train(agent.model.num_timesteps)) == []
    with pytest.raises(ValueError, match="its replay buffer was not saved"):
        list(again.train(1000))


def test_the_draws_of_sb3_depend_on_the_generator_alone(small_world):
    agent = quick("ppo", small_world)
    episode = small_world.start(small_world.scenes(torch.arange(5)))
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(draws))
        generator = torch.Generator().manual_seed(seed)
        draws.append(agent.act(small_world, episode, generator=generator, greedy=False))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_gazes_that_were_not_taken_do_not_count():
    gazes = torch.rand(500, 4, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gazes[1:, 2:] = torch.nan  # one scene alone goes on
    found = gaze_statistics(gazes)
    assert found["gaze_spread"] == pytest.approx(0.577, abs=0.03)
    assert collapse(gazes) is None
    assert collapse(torch.full((5, 4, 2), torch.nan)) == "collapsed: it never takes a glimpse"


def test_policies_go_by_name_too(small_world):
    with pytest.raises(ValueError, match="unknown policy 'nope'; known: "):
        load_agent("nope", small_world)
    for name in shipped("foveal_agents.pretrained"):
        world = make_world(perception=name, source="digits", source_options={"canvas": 60, "clutter": 4})
        assert load_agent(name, world).is_trainable
