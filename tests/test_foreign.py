"""Other people's environments as worlds: they repeat themselves, and the agents act and learn in them."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from benchmarks.foreign import learning
from benchmarks.foreign.active_perception import ActivePerceptionWorld, Explorer, glimpse_of
from foveal_agents.base import AgentWorld, make_agent
from foveal_agents.foreign import ForeignWorld
from foveal_agents.policy_files import load_agent
from foveal_agents.rollout import evaluate, rollout


class Reach(gym.Env):
    """A place is drawn and shown; the reward is how near the action comes. It ends at once if that is near enough."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Box(np.array([0, -2], dtype=np.float32), np.array([1, 2], dtype=np.float32))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.place, {}

    def step(self, action):
        scaled = action * [2, 0.5] - [1, 0]
        distance = float(((scaled - self.place) ** 2).sum())
        return self.place, -distance, distance < 0.02, False, {"is_success": distance < 0.02}


def reach(rows):
    return SyncVectorEnv([Reach] * rows, autoreset_mode="NextStep")


@pytest.fixture
def world():
    return ForeignWorld(reach, glimpses=2)


@pytest.fixture
def pendulum():
    return ForeignWorld(lambda rows: gym.make_vec("Pendulum-v1", rows, vectorization_mode="sync"), glimpses=5)


def play(world, actions, index):
    episode, rewards = world.start(world.scenes(index)), []
    for action in actions:
        episode, reward = world.look(episode, action)
        rewards.append(reward)
    return episode, torch.stack(rewards)


def test_it_has_what_agents_need(world, small_world):
    assert isinstance(world, AgentWorld)
    assert isinstance(small_world, AgentWorld)


def test_a_step_is_the_environments_own(pendulum):
    env = gym.make("Pendulum-v1")
    actions = torch.rand(5, 3, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    episode, rewards = play(pendulum, actions, torch.arange(3) + 7)
    for row in range(3):
        observation, _ = env.reset(seed=7 + row)
        for step in range(5):
            observation, reward, *_ = env.step(2 * actions[step, row].numpy())  # its actions lie in [-2, 2]
            assert rewards[step, row].item() == pytest.approx(reward, abs=1e-4)
        assert np.allclose(episode.state[row, 0], observation, atol=1e-5)
    assert torch.allclose(episode.outcome.loss, -rewards.sum(dim=0))
    assert episode.ended.all()
    assert pendulum.steps == 15


def test_looking_twice_from_one_episode_gives_the_same_and_other_rows_are_replayed(pendulum):
    index = torch.arange(4)
    start = pendulum.start(pendulum.scenes(index))
    first = torch.full((4, 1), 0.5)
    middle, _ = pendulum.look(start, first)
    once, reward = pendulum.look(middle, -first)
    pendulum.look(middle, first)
    again, same = pendulum.look(middle, -first)
    assert torch.equal(once.state, again.state)
    assert torch.equal(reward, same)
    rows = torch.tensor([3, 0, 3])
    some, _ = pendulum.look(middle.rows(rows), -first[rows])
    assert torch.equal(some.state, once.state[rows])


def test_episodes_that_ended_stay_as_they_are(world):
    index = torch.arange(64)
    start = world.start(world.scenes(index))
    hit = torch.where(torch.arange(64)[:, None] < 32, start.state[:, 0], -start.state[:, 0].sign())
    middle, _ = world.look(start, hit)
    assert middle.ended[:32].all()
    assert not middle.ended[32:].any()
    assert middle.outcome.correct.tolist() == middle.ended.tolist()
    last, reward = world.look(middle, hit)
    assert torch.equal(last.outcome.loss[:32], middle.outcome.loss[:32])
    assert (reward[:32] == 0).all()
    assert (reward[32:] < 0).all()
    assert last.glimpses.tolist() == [1] * 32 + [2] * 32
    assert last.ended.all()


@pytest.mark.parametrize("name", ["random", "centre", "raster", "spiral", "greedy_oracle"])
@pytest.mark.parametrize("which", ["world", "pendulum"])
def test_a_scripted_agent_acts(name, which, request):
    world = request.getfixturevalue(which)
    options = {"grid": 2} if name == "greedy_oracle" else {}
    evaluation = evaluate(world, make_agent(name, world, **options), scenes=6)
    assert evaluation.loss.shape == (6, 1 + world.rules.glimpses)
    assert evaluation.loss.isfinite().all()


@pytest.mark.parametrize(("name", "error"), [("oracle", "knows where"), ("most_likely", "map of cells")])
def test_an_agent_that_needs_more_is_refused_in_words(world, name, error):
    with pytest.raises(ValueError, match=error):
        make_agent(name, world)


def test_saliency_says_that_there_is_no_image(world):
    with pytest.raises(TypeError, match="shows its observations, and no image"):
        evaluate(world, make_agent("saliency", world), scenes=2)


def test_the_traces_of_a_group_begin_alike(world):
    agent = make_agent("grpo", world, num_scenes=3, group_size=4)
    start = world.start(world.scenes(torch.tensor([5, 9, 2]))).rows(torch.arange(3).repeat_interleave(4))
    steps = list(rollout(world, agent, start, generator=torch.Generator().manual_seed(0), greedy=False))
    places = steps[-1].after.state[:, 0].unflatten(0, (3, 4))
    assert torch.equal(places, places[:, :1].expand_as(places))
    assert len(places[:, 0].unique(dim=0)) == 3


def test_grpo_learns_and_its_policy_is_kept(world, tmp_path):
    agent = make_agent("grpo", world, num_scenes=64, gamma=0.5, components=2, learning_rate=3e-3)
    before = evaluate(world, make_agent("random", world), scenes=200).mean_loss[-1]
    list(agent.train(10_000))
    evaluation = evaluate(world, agent, scenes=200)
    assert evaluation.mean_loss[-1] < before / 4
    agent.save(tmp_path / "policy.safetensors")
    again = evaluate(world, load_agent(tmp_path / "policy.safetensors", world), scenes=200)
    assert torch.equal(again.gazes.nan_to_num(), evaluation.gazes.nan_to_num())
    other = ForeignWorld(lambda rows: gym.make_vec("Pendulum-v1", rows, vectorization_mode="sync"), glimpses=2)
    with pytest.raises(ValueError, match="was trained on perception=Reach; this world has perception=Pendulum-v1"):
        load_agent(tmp_path / "policy.safetensors", other)


def test_actions_that_are_no_place_are_refused():
    with pytest.raises(TypeError, match=r"points of a bounded Box; this environment takes Discrete\(2\)"):
        ForeignWorld(lambda rows: gym.make_vec("CartPole-v1", rows, vectorization_mode="sync"), glimpses=5)


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="is made with autoreset_mode 'NextStep', got"):
        ForeignWorld(lambda rows: gym.make_vec("foveal_env/Classify-v0", rows), glimpses=4)


def test_the_memory_at_once_is_that_of_step_by_step():
    perception = learning.new_perception("any", seed=0)
    seen = torch.rand(3, 6, 28, generator=torch.Generator().manual_seed(0))
    states = perception.encoder.states(seen[..., :25], seen[..., 25:27])
    state = torch.zeros(3, *perception.encoder.state_shape)
    for step in range(6):
        state = perception.step(state, glimpse_of(seen[:, step], 5))
        assert torch.allclose(state[:, 0], states[:, step], atol=1e-5)


@pytest.fixture
def circles():
    pytest.importorskip("ap_gym", reason="needs ap_gym: pip install 'foveal-env[bench]'")
    return ActivePerceptionWorld("CircleSquare-v0", learning.new_perception("CircleSquare-v0", seed=0).frozen())


@pytest.mark.filterwarnings("default")
def test_a_gaze_moves_the_sensor_of_ap_gym_no_further_than_it_may(circles):
    start = circles.start(circles.scenes(torch.arange(4)))
    goal = torch.tensor([0.9, -0.9]).expand(4, 2)
    *_, last = rollout(circles, Explorer(circles), start, generator=torch.Generator(), greedy=True)
    assert last.after.ended.all()
    after, reward = circles.look(start, goal)
    moved = after.observation[:, 25:27] - start.observation[:, 25:27]
    assert (moved.norm(dim=1) <= circles.move + 1e-5).all()
    assert (after.observation[:, 25:27] - goal).norm(dim=1).lt((start.observation[:, 25:27] - goal).norm(dim=1)).all()
    assert torch.allclose(reward, -after.outcome.loss, atol=2e-3)  # less the small cost of a move
    assert after.outcome.correct.shape == (4,)


@pytest.mark.filterwarnings("default")
def test_the_traces_of_a_group_begin_alike_in_ap_gym(circles):
    start = circles.start(circles.scenes(torch.arange(3))).rows(torch.arange(3).repeat_interleave(2))
    gaze = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(3, 1)
    once, _ = circles.look(start, gaze)
    again, _ = circles.look(start, gaze.flip(1))
    once_more, _ = circles.look(start, gaze)
    assert torch.equal(once.observation, once_more.observation)
    assert not torch.equal(once.observation, again.observation)
    assert torch.equal(start.observation[::2], start.observation[1::2])
