import pytest
import torch

from foveal_env.gaze_law import GazeLaw
from foveal_env.make import make_source
from foveal_env.perception import Perception
from foveal_env.pretraining import Pretraining
from foveal_env.world import Rules, World


@pytest.fixture
def pretraining(tiny):
    """Make short trainings, all alike but for their options."""

    def make(law=None, **options):
        source = make_source("digits", "train", canvas=32, clutter=1)
        perception = Perception.build(source, seed=3, **tiny)
        short = {"steps": 6, "batch": 8, "glimpses": 1, "precision": "float32", "learning_rate": 1e-2, **options}
        return Pretraining(perception, source, law or GazeLaw(), **short)

    return make


def weights(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def run(job, updates):
    return [job.update()["loss"].mean().item() for _ in range(updates)]


class Watched(GazeLaw):
    """A law that looks at one spot, and remembers what it was asked."""

    def draw(self, source, episode, generator, progress):
        self.calls.append((episode.glimpses.clone(), progress))
        return torch.full((len(episode.glimpses), 2), 0.25)


@pytest.fixture
def watched():
    law = Watched(near_target=0.0)
    object.__setattr__(law, "calls", [])
    object.__setattr__(law, "for_source", lambda source: law)
    return law


def test_it_learns(pretraining):
    losses = run(pretraining(GazeLaw(near_target=1.0, near_deviation=0.0), steps=60, batch=32), 60)
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])


def test_an_update_is_one_of_training_even_after_a_validation(pretraining):
    job = pretraining()
    job.perception.eval()
    job.update()
    assert job.perception.training


@pytest.mark.parametrize("auxiliary_task", [None, "point"])
def test_stopped_and_resumed_is_never_stopped(pretraining, auxiliary_task, tmp_path):
    whole, first, second = (pretraining(auxiliary_task=auxiliary_task) for _ in range(3))
    run(whole, 6)
    run(first, 3)
    first.save(tmp_path / "t.safetensors")
    second.load(tmp_path / "t.safetensors")
    run(second, 3)
    assert torch.equal(weights(whole.perception), weights(second.perception))
    assert not torch.equal(weights(whole.perception), weights(first.perception))


@pytest.mark.parametrize(("first_look", "looks"), [("centre", 3), (None, 2)])
def test_losses_are_those_of_each_look(pretraining, first_look, looks):
    assert pretraining(glimpses=2, first_look=first_look).update()["loss"].shape == (looks,)


def test_it_looks_through_the_world(pretraining, watched):
    """The loss of a training that looks at one spot is that of a world in which an agent does."""
    job = pretraining(watched, glimpses=2)
    world = World(job.world.source, job.perception, Rules(glimpses=2))
    from foveal_env.randomness import draw_of_update

    episode = world.start(world.scenes(draw_of_update(0, 0, 8)[1]))
    expected = [episode.outcome.loss.mean()]
    for _ in range(2):
        episode, _ = world.look(episode, torch.full((8, 2), 0.25))
        expected.append(episode.outcome.loss.mean())
    assert torch.equal(job.update()["loss"], torch.stack(expected).detach())


def test_the_law_is_told_how_far_the_training_is(pretraining, watched):
    run(pretraining(watched, steps=4, first_look=None), 4)
    assert [progress for _, progress in watched.calls] == [0.0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first_look": "left"}, "unknown first_look 'left'"),
        ({"first_look": None, "policy_gazes": lambda scenes, generator: None}, "a policy that is followed"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"glimpses": 0}, "glimpses must be at least 1"),
        ({"precision": "int4"}, "unknown precision"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_impossible_trainings_are_refused(pretraining, options, message):
    with pytest.raises(ValueError, match=message):
        pretraining(**options)


def test_resuming_another_perception_is_refused(pretraining, tiny, tmp_path):
    pretraining().save(tmp_path / "t.safetensors")
    source = make_source("digits", "train", canvas=32, clutter=1)
    other = Pretraining(Perception.build(source, **{**tiny, "width": 24}), source)
    with pytest.raises(ValueError, match="belongs to another perception"):
        other.load(tmp_path / "t.safetensors")


@pytest.mark.parametrize(("first_look", "glimpses", "equal"), [(None, 1, True), ("centre", 2, False)])
def test_no_gradient_crosses_looks_unless_asked(pretraining, first_look, glimpses, equal):
    jobs = [pretraining(first_look=first_look, glimpses=glimpses, backprop_through_time=through) for through in (0, 1)]
    for job in jobs:
        job.update()
    assert torch.equal(*[weights(job.perception) for job in jobs]) == equal


def test_an_auxiliary_task_teaches_the_encoder_and_leaves_no_trace(pretraining):
    plain, job = pretraining(), pretraining(auxiliary_task="point")
    for one in (plain, job):
        one.update()
    assert not torch.equal(weights(plain.perception), weights(job.perception))
    assert {name for name, _ in plain.perception.named_parameters()} == {
        name for name, _ in job.perception.named_parameters()
    }


def test_an_auxiliary_head_learns(pretraining):
    job = pretraining(auxiliary_task="point", steps=60, auxiliary_weight=30.0)

    def far():
        scenes = job.world.source.scenes(torch.arange(50))
        with torch.no_grad():
            return job.auxiliary.score(job.auxiliary(job.world.start(scenes).state), scenes).loss.mean().item()

    before = far()
    run(job, 60)
    assert far() < before


def test_a_followed_policy_is_asked_about_each_batch(pretraining):
    asked = []

    def gazes(scenes, generator):
        asked.append(len(scenes))
        return torch.full((len(scenes), 2, 2), 0.25)

    run(pretraining(policy_gazes=gazes), 2)
    assert asked == [8, 8]


def test_scenes_are_made_ahead_for_every_update_but_the_first(pretraining, monkeypatch):
    job, asked, made = pretraining(steps=4), [], []
    scenes = job.world.scenes
    monkeypatch.setattr(job.world, "prefetch", lambda index: asked.append(index.tolist()))
    monkeypatch.setattr(job.world, "scenes", lambda index: made.append(index.tolist()) or scenes(index))
    run(job, 4)
    assert asked == made[1:]
