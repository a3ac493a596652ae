import pytest
import torch

from foveal_env.gaze_law import GazeLaw
from foveal_env.make import make_source, make_world


@pytest.fixture(scope="module")
def world():
    return make_world(canvas=100)


@pytest.fixture(scope="module")
def episode(world):
    return world.start(world.scenes(torch.arange(2000)))


def draw(law, world, episode):
    return law.draw(world.source, episode, torch.Generator().manual_seed(0), 0.0)


def test_without_a_target_gazes_are_uniform(world, episode):
    gaze = draw(GazeLaw(near_target=0.0), world, episode)
    assert gaze.abs().max() <= 1
    assert gaze.std(dim=0).tolist() == pytest.approx([3**-0.5] * 2, rel=0.04)


def test_near_gazes_are_normal_around_the_target(world, episode):
    gaze, box = draw(GazeLaw(near_target=1.0, near_deviation=0.2), world, episode), episode.scenes.box
    inside = box[:, :2].abs().amax(dim=1) < 0.4  # not clipped
    assert (gaze - box[:, :2])[inside].std().item() == pytest.approx(0.2 * 0.56, rel=0.06)


def test_a_seed_draws_the_same_gazes_for_ever(world, episode):
    generator = torch.Generator().manual_seed(0)
    torch.rand(2000, 2, generator=generator)  # the uniform ones, drawn first
    centre, sides = episode.scenes.box.split(2, dim=1)
    wanted = (centre + 0.2 * sides * torch.randn(2000, 2, generator=generator)).clamp(-1, 1)
    assert torch.equal(draw(GazeLaw(near_target=1.0, near_deviation=0.2), world, episode), wanted)


def test_near_gazes_stay_in_the_image(world, episode):
    assert draw(GazeLaw(near_target=1.0, near_deviation=5.0), world, episode).abs().max() == 1


def test_the_share_of_near_gazes_is_the_one_asked_for(world, episode):
    gaze = draw(GazeLaw(near_target=0.5, near_deviation=0.0), world, episode)
    assert (gaze == episode.scenes.box[:, :2]).all(dim=1).float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_a_policy_is_followed_in_whole_scenes(episode):
    gazes = GazeLaw(policy_share=0.5).draw_policy(
        lambda scenes, generator: torch.full((len(scenes), 3, 2), 0.25),
        episode.scenes,
        torch.Generator().manual_seed(0),
    )
    follows = ~gazes.isnan()
    assert 0.4 < follows[:, 0, 0].float().mean() < 0.6
    assert (follows == follows[:, :1, :1]).all()
    assert (gazes[follows] == 0.25).all()


def test_a_source_without_a_target_is_looked_at_at_random():
    source = make_source("digits", "train", canvas=32)
    blind = type("Blind", (type(source),), {"knows_target": False})("train", canvas=32)
    assert GazeLaw().for_source(source).near_target == 0.7
    assert GazeLaw().for_source(blind).near_target == 0.0
    with pytest.raises(ValueError, match="near_target must be 0"):
        GazeLaw(near_target=0.5).for_source(blind)


@pytest.mark.parametrize("options", [{"near_target": 2}, {"policy_share": -1}, {"near_deviation": -0.1}])
def test_what_is_out_of_range_is_named(options):
    name, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=f"{name} .*got {value}"):
        GazeLaw(**options)
