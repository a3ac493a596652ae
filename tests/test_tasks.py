"""What the tasks ask and how they judge; episodes that end early, are stopped, or choose their zoom."""

import itertools
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from PIL import Image

from foveal_agents.base import evaluate, make_agent
from foveal_agents.mixture import Choice, best, draw, log_likelihood
from foveal_agents.sb3 import Sb3VecEnv
from foveal_encoders.base import Layout
from foveal_env.env import FovealEnv, FovealVectorEnv
from foveal_env.make import make_source, make_world
from foveal_env.perception import Perception
from foveal_env.retina import extract
from foveal_env.sources.arranged import GAP
from foveal_env.tasks.locate import Locate, distance, iou
from foveal_env.tasks.reconstruct import Reconstruct
from foveal_env.tasks.search import CELLS
from foveal_env.tasks.several import Several
from foveal_env.world import World

SMALL = {"patch": 6, "zooms": 2, "width": 12, "depth": 1}


@pytest.fixture(scope="module")
def searching(tmp_path_factory):
    """The path of a small untrained perception that searches."""
    options = {"canvas": 70, "candidates": 3}
    perception = Perception.build(make_source("search", "train", **options), task="search", **SMALL)
    perception.spec |= {"source": "search", "source_options": options}
    path = tmp_path_factory.mktemp("perception") / "search.safetensors"
    perception.save(path)
    return str(path)


def test_the_same_scene_has_another_target_under_another_prompt():
    source = make_source("search", "test", canvas=[90, 200], candidates=4, background="photos")
    index = torch.arange(12)
    asked = [source.scenes(index, question=question) for question in range(4)]
    for other in asked[1:]:
        for row in range(12):
            assert torch.equal(asked[0].images.pixels(row), other.images.pixels(row))
        assert (asked[0].label != other.label).all()
    for one in asked:
        assert torch.equal(one.prompt.argmax(dim=1), one.label)
        assert (one.prompt.sum(dim=1) == 1).all()
        assert (one.box[:, :2].abs() + one.box[:, 2:] / 2 <= 1.0001).all()
    side = asked[0].images.size[:, :1].float()
    for number, one in enumerate(asked):
        for other in asked[:number]:
            apart = (one.box[:, :2] - other.box[:, :2]).abs().amax(dim=1) * side[:, 0] / 2
            assert (apart >= 28 + GAP - 1e-3).all()  # no two candidates touch


@pytest.mark.parametrize("canvas", [60, 1000, 1350, 2500])
def test_candidates_lie_everywhere(canvas):
    source = make_source("search", "test", canvas=canvas)
    corner = source.corners(torch.arange(3000), canvas, torch.full((4,), 28))
    assert corner.min() >= 0
    assert corner.max() + 28 <= canvas
    room = canvas - 28
    for axis in range(2):
        assert corner[..., axis].max() > room * 0.9
        assert corner[..., axis].min() < room * 0.1


def test_the_target_is_where_its_box_is():
    source = make_source("search", "test", canvas=100, clutter=0, candidates=2)
    scenes = source.scenes(torch.arange(20))
    for row in range(20):
        shown = _target(scenes, row)
        assert any(torch.equal(shown, picture) for picture in source.pictures[source.labels == scenes.label[row]])


def _target(scenes, row):
    size = scenes.images.size[row, 0]
    left, top = ((scenes.box[row, :2] + 1) * size / 2 - 14).round().long().tolist()
    return scenes.images.pixels(row)[0, top : top + 28, left : left + 28]


@pytest.mark.parametrize(("aim", "share"), [(0.0, 0.25), (0.5, 0.625), (1.0, 1.0)])
def test_stage_one_looks_near_every_candidate_unless_told_to_aim(aim, share):
    source = make_source("search", "train", canvas=[100, 120], aim=aim)
    scenes = source.scenes(torch.arange(600))
    box = source.candidate_boxes(scenes, torch.Generator().manual_seed(0), progress=0.0)
    candidates = torch.stack([source.scenes(torch.arange(600), question=question).box for question in range(4)], dim=1)
    chosen = (candidates == box[:, None]).all(dim=-1)
    assert (chosen.sum(dim=1) == 1).all()
    assert chosen[:, 0].float().mean().item() == pytest.approx(share, abs=0.05)
    with pytest.raises(ValueError, match="aim lies in"):
        make_source("search", "train", aim=2.0)


def test_a_prompt_can_be_an_example_of_the_class():
    source = make_source("search", "test", canvas=100, prompt="example")
    scenes = source.scenes(torch.arange(8))
    assert scenes.prompt.shape == (8, 196)
    assert 0 < scenes.prompt.max() <= 1
    own = source.pictures[(source.labels[:, None] == scenes.label).nonzero()[:, 0]]
    assert len(own) > 8
    shown = torch.stack([_target(scenes, row) for row in range(8)])
    small = torch.nn.functional.adaptive_avg_pool2d(shown[:, None].float() / 255, 14).flatten(1)
    assert ((small - scenes.prompt).abs().amax(dim=1) > 0.05).all()  # another picture of that class
    with pytest.raises(ValueError, match="unknown prompt 'word'; known: class, example"):
        make_source("search", "test", prompt="word")


def test_candidates_can_be_the_classes_of_a_folder(tmp_path):
    random = np.random.default_rng(0)
    for name in ("cat", "dog", "eel"):
        (tmp_path / name).mkdir()
        for number in range(12):
            Image.fromarray(random.integers(256, size=(40, 50, 3), dtype=np.uint8)).save(
                tmp_path / name / f"{number}.png"
            )
    source = make_source("search", "train", of="folder", folder=str(tmp_path), candidates=3, canvas=120, side=32)
    assert source.pictures.shape[1:] == (32, 32)
    assert source.scenes(torch.arange(4)).box[:, 2].tolist() == pytest.approx([64 / 120] * 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"canvas": 20}, "the target of 28 px is larger than the canvas of 20 px"),
        ({"canvas": 60, "candidates": 9}, "9 pictures of 28 px have no place on a canvas of 60 px"),
        ({"candidates": 1}, "candidates must be 2 to 10"),
        ({"of": "cifar10"}, "candidates come from a digit-type source or a folder"),
        ({"background": "nowhere"}, "there are none in 'nowhere'"),
        ({"canvas": []}, "a canvas and clutter of at least 0 are needed"),
    ],
)
def test_scenes_that_cannot_be_made_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_source("search", "test", **options)


def test_each_question_has_its_answer():
    source = make_source("questions", "test", clutter=0)
    index = torch.arange(60)
    for number, name in enumerate(source.questions):
        scenes = make_source("questions", "test", clutter=0, ask=name).scenes(index)
        assert (scenes.prompt[:, :3].argmax(dim=1) == number).all()
        assert (scenes.prompt[:, 3:].sum(dim=1) == (number > 0)).all()
        for row in range(60):
            assert torch.equal(scenes.images.pixels(row), source.scenes(index).images.pixels(row))
    assert set(scenes.label.tolist()) == {0, 1, 2, 3}  # of "count"
    assert source.scenes(index).prompt[:, :3].sum(dim=0).min() > 8


def test_a_box_is_judged_by_distance_and_overlap():
    source = make_source("search", "test")
    scenes = source.scenes(torch.arange(5))
    task = Locate((8, 12))
    perfect = task.score(scenes.box.clone(), scenes)
    assert perfect.loss.max() < 1e-4
    assert perfect.probability.tolist() == pytest.approx([1] * 5, abs=1e-4)
    assert perfect.correct.all()
    moved = scenes.box + torch.tensor([1.0, 0, 0, 0]) * scenes.box[:, 2:3]  # by its own width
    judged = task.score(moved, scenes)
    assert judged.loss.tolist() == pytest.approx([np.log(2)] * 5, abs=1e-4)
    assert not judged.score.any()
    assert not judged.correct.any()
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert iou(unit, unit + torch.tensor([0.5, 0, 0, 0])).item() == pytest.approx(1 / 3)
    assert distance(torch.tensor([[0.3, 0.4]]), unit).item() == pytest.approx(0.5)


def test_success_and_spl_of_a_search(searching):
    world = make_world(perception=searching, split="test", glimpses=3, task_options={"tolerance": 0.5})
    task, scenes = world.perception.task, world.scenes(torch.arange(3))
    pointed = scenes.box[:, :2] + torch.tensor([[0.49, 0], [0.51, 0], [0, 0]]) * scenes.box[:, 2:]
    cells = torch.zeros(3, CELLS, CELLS)
    column, row = ((scenes.box[0, :2] + 1) / 2 * CELLS).long().tolist()
    cells[0, row, column] = 5.0
    judged = task.score(torch.cat([pointed, cells.flatten(1)], dim=1), scenes)
    assert judged.correct.tolist() == [True, False, True]
    assert judged.score.tolist() == pytest.approx([np.exp(5) / (np.exp(5) + 255), 1 / 256, 1 / 256], rel=1e-4)
    assert judged.loss[1].item() == pytest.approx(np.log(1.51) + np.log(256), rel=1e-4)
    episode = world.start(scenes)
    for number, gaze in enumerate((scenes.box[:, :2], scenes.box[:, :2], -scenes.box[:, :2])):
        episode, _ = world.look(episode, gaze)
        assert episode.glimpses.max() == number + 1
    found = torch.tensor([True, False, True])
    told = type(episode.outcome)(*[episode.outcome.loss, episode.outcome.score, found, pointed])
    info = task.info(type(episode)(scenes, episode.state, told, episode.gazes, episode.glimpses, episode.ended))
    gazes = episode.gazes.nan_to_num(9.0)
    for row in range(3):
        taken = [gaze for gaze in gazes[row].numpy() * 35 if abs(gaze[0]) < 100]
        path = sum(np.linalg.norm(b - a) for a, b in itertools.pairwise(taken))
        straight = max(0, np.linalg.norm(scenes.box[row, :2].numpy() * 35) - 14)
        assert info["path_length"][row].item() == pytest.approx(path, rel=1e-4)
        question = straight / max(path, straight) if straight else 1.0
        assert info["spl"][row].item() == pytest.approx(found[row].item() * question, rel=1e-4)


def test_a_tolerance_of_zero_is_refused(searching):
    with pytest.raises(ValueError, match="tolerance must be above 0"):
        make_world(perception=searching, task_options={"tolerance": 0})
    with pytest.raises(TypeError, match="toleranze"):
        make_world(perception=searching, task_options={"toleranze": 1})


def test_an_episode_ends_as_soon_as_the_target_is_found(searching, monkeypatch):
    world = make_world(perception=searching, glimpses=3, task_options={"tolerance": 0.8}, reward="gain")
    episode = world.start(world.scenes(torch.arange(40)))
    begun, total, seen, see = episode, torch.zeros(40), [], world._see
    monkeypatch.setattr(world, "_see", lambda state, *rest: seen.append(len(state)) or see(state, *rest))
    for _ in range(3):
        before = episode
        episode, reward = world.look(episode, torch.rand(40, 2) * 2 - 1)
        assert torch.equal(episode.state[before.ended], before.state[before.ended])
        assert not reward[before.ended].any()
        assert torch.equal(episode.ended, before.ended | episode.outcome.correct | (episode.glimpses == 3))
        total += reward
        assert seen[-1] == (~before.ended).sum()  # the encoder is not asked about episodes that are over
    assert 0 < (episode.glimpses < 3).sum() < 40
    assert torch.allclose(total, begun.outcome.loss - episode.outcome.loss, atol=1e-5)
    taken = (~episode.gazes[:, 1:, 0].isnan()).sum(dim=1)
    assert torch.equal(taken, episode.glimpses)


def test_a_stop_ends_the_episode_and_takes_no_glimpse(small_perception):
    world = make_world(perception=small_perception, glimpses=3, stop=True, price=0.1)
    assert world.action_size == 3
    start = world.start(world.scenes(torch.arange(2)))
    action = torch.tensor([[0.2, 0.3, 0.7], [0.2, 0.3, -0.7]])
    after, reward = world.look(start, action)
    assert after.ended.tolist() == [True, False]
    assert after.glimpses.tolist() == [0, 1]
    assert torch.equal(after.state[0], start.state[0])
    assert reward[0] == 0
    assert reward[1] == pytest.approx((start.outcome.loss - after.outcome.loss)[1].item() - 0.1, abs=1e-5)
    plain, _ = world.look(start, action[:, :2])  # a gaze alone never stops
    assert not plain.ended.any()
    sparse = make_world(perception=small_perception, glimpses=3, stop=True, reward="correct")
    episode = sparse.start(sparse.scenes(torch.arange(60)))
    _, paid = sparse.look(episode, torch.ones(60, 3))
    assert torch.equal(paid, episode.outcome.correct.float())
    assert paid.any()


def test_the_zoom_of_the_action_moves_every_patch(small_perception):
    world = make_world(perception=small_perception, zoom=True, zoom_reach=2.0)
    scenes, layout = world.scenes(torch.arange(3)), world.layout
    start = world.start(scenes)
    closer, _ = world.look(start, torch.tensor([[0.1, -0.2, 0.5]] * 3))
    there = torch.tensor([[0.1, -0.2]] * 3)
    seen = world.perception.step(start.state, extract(scenes.images, there, layout, torch.ones(3)))
    assert torch.equal(closer.state, seen)
    assert closer.gazes[:, 1].tolist()[0] == pytest.approx([0.1, -0.2, 0.5])
    sharper = Layout(patch=layout.patch, zooms=layout.zooms, zoom_range=tuple(z + 1 for z in layout.zoom_range))
    assert torch.allclose(
        extract(scenes.images, there, layout, torch.ones(3)).patches, extract(scenes.images, there, sharper).patches
    )


@pytest.mark.parametrize("options", [{}, {"stop": True}, {"zoom": True}, {"stop": True, "zoom": True, "clock": True}])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_environments_with_every_kind_of_action(searching, options, mode):
    chosen = {"perception": searching, "glimpses": 3, "task_options": {"tolerance": 1.0}, **options}
    single = gym.make("foveal_env/Classify-v0", **chosen)
    check_env(single.unwrapped, skip_render_check=True)
    _, info = single.reset(seed=3)
    assert {"distance", "path_length", "spl"} <= set(info)
    assert np.shape(info["prediction"]) == (2,)
    native = gym.make_vec("foveal_env/Classify-v0", num_envs=4, autoreset_mode=mode, **chosen)
    alone = gym.make_vec("foveal_env/Classify-v0", num_envs=1, autoreset_mode=mode, **chosen)
    together, apart = native.reset(seed=3)[0], alone.reset(seed=3)[0]
    ends = 0
    for step in range(8):
        assert np.allclose(together[0], apart[0], atol=1e-5)
        actions = np.random.default_rng(step).uniform(-1, 1, native.action_space.shape).astype(np.float32)
        together, reward, ended, _, infos = native.step(actions)
        apart, one, over, _, _ = alone.step(actions[:1])
        assert (reward[0], ended[0]) == (pytest.approx(one[0], abs=1e-5), over[0])
        ends += ended.sum()
    assert ends > 2
    assert infos["prediction"].shape == (4, 2)


def test_several_questions_are_judged_by_their_own_heads():
    source = make_source("questions", "test")
    scenes = source.scenes(torch.arange(30))
    task = Several((8, 12), **Several.config_for(source))
    state = torch.randn(30, 8, 12)
    judged, asked = task.score(task(state), scenes), scenes.prompt[:, :3].argmax(dim=1)
    assert judged.prediction.shape == (30, 2)
    for number, head in enumerate(task.heads.values()):
        rows = (asked == number).nonzero().flatten()
        own = head.score(head(state[rows]), scenes.rows(rows))
        assert torch.equal(judged.loss[rows], own.loss)
        assert torch.equal(judged.correct[rows], own.correct)
    where = int((asked == 1).nonzero()[0])
    assert torch.equal(task.boxes(judged.prediction[where], scenes.prompt[where])[0, :2], judged.prediction[where])
    large = int((asked == 0).nonzero()[0])
    assert not len(task.boxes(judged.prediction[large], scenes.prompt[large]))
    assert task.answer_text(judged.prediction[large], scenes.prompt[large]) == str(int(judged.prediction[large, 0]))


def test_what_a_question_tells_is_of_the_scenes_that_ask_it():
    perception = Perception.build(make_source("questions", canvas=180), task="several", patch=8, zooms=2, width=24)
    world = World(make_source("questions", "test", canvas=180), perception.frozen(), glimpses=2)
    scenes = world.scenes(torch.arange(20))
    info = perception.task.info(world.start(scenes))
    asked = perception.task.asked(scenes.prompt)
    assert set(info) == {"distance", "path_length", "spl"}
    assert torch.equal(~info["distance"].isnan(), asked == 1)
    env = FovealVectorEnv(20, world=world)
    _, infos = env.reset(options={"scene": np.arange(20)})
    assert infos["_distance"].tolist() == (asked == 1).tolist()
    assert not np.isnan(infos["distance"]).any()
    for scene in range(6):
        _, told = FovealEnv(world=world).reset(options={"scene": scene})
        assert ("distance" in told) == (asked[scene] == 1)
    assert len(make_source("search", canvas=[60, 100]).scenes(torch.arange(0))) == 0


def test_a_reconstruction_of_the_mean_explains_nothing_and_the_picture_everything():
    source = make_source("digits", "test", canvas=40, clutter=0)
    scenes = source.scenes(torch.arange(200))
    task = Reconstruct((8, 12), **{**Reconstruct.config_for(source), **Reconstruct.statistics_of(source)})
    grey = task.score(torch.full((200, 1, 16, 16), task.mean), scenes)
    assert grey.loss.mean().item() == pytest.approx(1, abs=0.1)
    perfect = task.score(scenes.images.thumbnails(16), scenes)
    assert not perfect.loss.any()
    assert (perfect.probability == 1).all()
    assert scenes.images.thumbnails(40)[0].mul(255).round().to(torch.uint8).equal(scenes.images.pixels(0))


def test_the_likelihood_of_actions_that_stop():
    choice = Choice(torch.zeros(4000, 1, 2), torch.zeros(4000, 1), torch.full((4000,), 0.5))
    actions = draw(choice, 0.2, torch.Generator().manual_seed(0))
    stopped = actions[:, -1] > 0
    assert stopped.float().mean().item() == pytest.approx(torch.tensor(0.5).sigmoid().item(), abs=0.03)
    likelihood = log_likelihood(actions, choice, 0.2)
    assert likelihood[stopped].exp().tolist() == pytest.approx([0.6225] * int(stopped.sum()), abs=1e-3)
    other = actions.clone()
    other[:, :2] += 1  # where an action stops, its gaze does not count
    assert torch.equal(log_likelihood(other, choice, 0.2)[stopped], likelihood[stopped])
    assert best(choice)[0].tolist() == [0, 0, 1]


def test_a_policy_learns_to_stop_when_looking_no_longer_pays(toy_world):
    """In the toy world one look at the target tells everything: any further one only costs."""
    world = World(toy_world.source, toy_world.perception, glimpses=4, reward="gain", stop=True, price=0.02)
    options = {"scenes": 32, "group": 8, "minibatch": 512, "width": 64, "learning_rate": 3e-3, "discount": 1.0}
    agent = make_agent("grpo", world, seed=0, averaging=0.9, last_deviation=0.05, **options)
    before = evaluate(world, agent, scenes=200)
    list(agent.train(200_000))
    after = evaluate(world, agent, scenes=200)
    assert before.glimpses.float().mean() == 4
    assert 0.5 <= after.glimpses.float().mean() < 1.5  # none where the target is in the centre
    assert after.mean_loss[-1] < 0.05


def test_a_perception_is_asked_what_it_has_learned_to_be_asked(tmp_path):
    for name in range(10):
        (tmp_path / f"class {name}").mkdir()
        for number in range(12):
            noise = np.random.default_rng(number).integers(256, size=(30, 30), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / f"class {name}" / f"{number}.png")
    other = {"of": "folder", "folder": str(tmp_path)}
    with pytest.raises(ValueError, match=r"its prompts is .'0', '1'.*the source's is .'class 0'"):
        gym.make("foveal_env/Search-v0", source_options=other)
    with pytest.raises(ValueError, match=r"its prompts is .'0', '1'.*an example of 14 x 14 px"):
        gym.make("foveal_env/Search-v0", source_options={"prompt": "example"})
    world = make_world(perception="search", canvas=100)
    with pytest.raises(ValueError, match=r"a scene has candidates 0 to 3, question .7"):
        world.source.scenes(torch.arange(2), question=7)
    scenes = world.source.scenes(torch.arange(2))
    with pytest.raises(ValueError, match="a prompt must be finite"):
        world.start(replace(scenes, prompt=scenes.prompt * torch.nan))


def test_a_group_shares_scene_and_prompt(monkeypatch):
    world = make_world(perception="search", canvas=100, glimpses=2)
    agent = make_agent("grpo", world, scenes=3, group=4, width=8)
    seen, look = [], World.look
    monkeypatch.setattr(
        World, "look", lambda self, episode, action: seen.append(episode) or look(self, episode, action)
    )
    next(agent.train(1))
    for values in (seen[0].scenes.prompt, seen[0].scenes.index[:, None]):
        groups = values.unflatten(0, (3, 4))
        assert (groups == groups[:, :1]).all()
    assert len(set(seen[0].scenes.index.tolist())) == 3


def test_options_of_several_questions_go_to_the_question(tmp_path):
    strict = make_world(perception="questions", task_options={"where": {"tolerance": 0.01}})
    assert strict.perception.task.heads["where"].tolerance == 0.01
    assert make_world(perception="questions").perception.task.heads["where"].tolerance == 0.5
    for options, message in (
        ({"where": {"tolerance": 0}}, "tolerance must be above 0"),
        ({"tolerance": 0.25}, "unknown question tolerance; known: large, where, count"),
    ):
        with pytest.raises(ValueError, match=message):
            make_world(perception="questions", task_options=options)
    mixture = make_world(perception="questions", task="several").scenes(torch.arange(40)).prompt[:, :3]
    assert (mixture.sum(dim=0) > 0).all()
    asked = make_world(perception="questions", task="count").scenes(torch.arange(40)).prompt[:, :3]
    assert asked.sum(dim=0).tolist() == [0, 0, 40]
    with pytest.raises(ValueError, match="unknown task 'all' of this perception; known: several, large, where, count"):
        make_world(perception="questions", task="all")


def test_boxes_that_are_needed_and_canvases_that_are_none(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(12):
            Image.new("L", (30, 30), number).save(tmp_path / name / f"{number}.png")
    pictures = {"source": "folder", "source_options": {"folder": str(tmp_path), "channels": 1}}
    with pytest.raises(ValueError, match=r"the task 'locate' needs to know where the target is.*no boxes"):
        gym.make("foveal_env/Locate-v0", **pictures)
    with pytest.raises(ValueError, match=r"the source 'folder' have no canvas.*canvas=None"):
        gym.make("foveal_env/Classify-v0", canvas=100, **pictures)
    with pytest.raises(ValueError, match=r"a canvas has whole px, got 250.5"):
        gym.make("foveal_env/Search-v0", canvas=250.5)


@pytest.mark.parametrize("options", [{"price": float("nan")}, {"zoom_reach": float("nan")}, {"zoom_reach": 0}])
def test_prices_and_reaches_that_are_no_numbers_are_refused(options):
    with pytest.raises(ValueError, match="zoom_reach must be above 0 and price at least 0"):
        make_world(**options)


class Bold(Locate):
    """Where is it? Rewarded for being right at once."""

    rewards = {"soon": lambda before, after, last: (after.correct & ~before.correct).float()}  # noqa: RUF012


def test_a_task_can_have_rewards_of_its_own():
    perception = Perception.build(make_source("digits"), task=f"{__name__}:Bold", **SMALL).frozen()
    world = World(make_source("digits"), perception, reward="soon")
    _, reward = world.look(world.start(world.scenes(torch.arange(5))), torch.zeros(5, 2))
    assert set(reward.tolist()) <= {0.0, 1.0}
    with pytest.raises(ValueError, match="unknown reward 'late'; known: gain, probability, correct, soon"):
        World(make_source("digits"), perception, reward="late")


@pytest.mark.parametrize(
    "options", [{}, {"id": "Search-v0", "canvas": 60}, {"id": "Questions-v0"}, {"stop": True}, {"zoom": True}]
)
def test_the_native_batch_and_stable_baselines_tell_what_singles_tell(options):
    id = f"foveal_env/{options.pop('id', 'Classify-v0')}"
    options = {"glimpses": 2, **options}
    native = gym.make_vec(id, num_envs=4, **options)
    same = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    sync = gym.make_vec(id, num_envs=4, vectorization_mode="sync", vector_kwargs=same, **options)
    adapted = Sb3VecEnv(gym.make_vec(id, num_envs=4, **options))
    adapted.seed(0)
    observations, told = native.reset(seed=0)
    expected, single = sync.reset(seed=0)
    assert np.array_equal(adapted.reset(), observations)
    assert np.allclose(observations, expected, atol=1e-5)
    for step in range(3):
        assert set(told) == set(single)
        for key in told:
            if key.startswith("_") and not key.startswith("_final"):
                assert told[key].tolist() == single[key].tolist(), key
        action = np.random.default_rng(step).uniform(-1, 1, native.action_space.shape).astype(np.float32)
        observations, _, ended, _, told = native.step(action)
        *_, single = sync.step(action)
        rows = adapted.step(action)[3]
        final = told.get("final_info", {})
        for row in range(4):
            source = final if ended[row] else told
            keys = {key for key in source if not key.startswith(("_", "final")) and source[f"_{key}"][row]}
            assert keys == set(rows[row]) - {"terminal_observation", "TimeLimit.truncated"}
