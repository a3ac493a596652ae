"""Where the scripted agents look."""

from dataclasses import replace

import pytest
import torch

from foveal_agents.base import make_agent
from foveal_agents.entropy import interpolated, visibility
from foveal_agents.rollout import evaluate, rollout
from foveal_env.images import Images
from foveal_env.make import make_world


def first_step(world, agent, scenes=20):
    start = world.start(world.scenes(torch.arange(scenes)))
    return next(iter(rollout(world, agent, start, generator=torch.Generator(), greedy=True)))


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


def test_random_gazes_are_uniform(small_world):
    gazes = evaluate(small_world, make_agent("random", small_world), scenes=500).gazes[:, 1:].flatten(0, 1)
    assert gazes.mean(dim=0).tolist() == pytest.approx([0, 0], abs=0.06)
    assert gazes.var(dim=0).tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.03)


def test_saliency_looks_at_what_stands_out_and_nowhere_twice(small_world):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(90, 110, (2, 1, 120, 240), generator=generator, dtype=torch.uint8)
    pixels[:, :, 20:32, 200:212] = 255  # two spots, on images twice as wide as high
    pixels[:, :, 80:92, 40:52] = 0
    spots = torch.tensor([[206 / 240, 26 / 120], [46 / 240, 86 / 120]]) * 2 - 1
    scenes = replace(small_world.scenes(torch.arange(2)), images=Images.prepare(pixels))
    agent = make_agent("saliency", small_world, inhibition_radius=0.3)
    steps = list(rollout(small_world, agent, small_world.start(scenes), generator=generator, greedy=True))
    gazes = torch.stack([step.action for step in steps], dim=1)  # [2, T, 2]
    nearest = torch.cdist(spots[None], gazes[:, :2]).amin(dim=2)
    assert nearest.max() < 0.15
    assert torch.cdist(gazes, gazes)[:, 0, 1:].min() >= 0.3
    assert gazes.abs().max() <= 1


def test_the_most_likely_cell_is_the_highest_of_the_head(searching):
    world = make_world(perception=searching, glimpses=2)
    step = first_step(world, make_agent("most_likely", world, inhibition_radius=0.0))
    cells, _ = world.target_map(step.before.state)
    assert cells.shape == (20, world.map_side, world.map_side)
    column, row = ((step.action + 1) / 2 * world.map_side).long().unbind(dim=1)
    assert torch.equal(cells[torch.arange(20), row, column], cells.flatten(1).amax(dim=1))


def test_the_most_likely_cell_is_looked_at_once(searching):
    world = make_world(perception=searching, glimpses=6, ends_on_success=False)
    gazes = evaluate(world, make_agent("most_likely", world, inhibition_radius=0.2), scenes=20).gazes
    apart = torch.cdist(gazes, gazes) + torch.eye(7) * 9
    assert apart.min() >= 0.2 - 1e-6


def test_the_most_likely_cell_needs_a_map(small_world):
    with pytest.raises(ValueError, match=r"'most_likely' needs a head with a map of cells.*'classify' has none"):
        make_agent("most_likely", small_world)


def test_the_oracle_looks_at_the_target(small_world):
    near = evaluate(small_world, make_agent("oracle", small_world, deviation=0.0), scenes=20)
    boxes = small_world.scenes(torch.arange(20)).box
    assert torch.allclose(near.gazes[:, 2], boxes[:, :2])


def test_the_oracle_needs_a_source_that_knows_the_target(small_world, monkeypatch):
    monkeypatch.setattr(type(small_world.source), "knows_target", False)
    with pytest.raises(ValueError, match="'oracle' needs a source that knows where the target is"):
        make_agent("oracle", small_world)


def test_the_greedy_oracle_leaves_the_least_loss(small_world):
    step = first_step(small_world, make_agent("greedy_oracle", small_world, grid=3))
    for x in (-2 / 3, 0.0, 2 / 3):
        for y in (-2 / 3, 0.0, 2 / 3):
            other, _ = small_world.look(step.before, torch.tensor([[x, y]]).expand(20, 2))
            assert (step.after.outcome.loss <= other.outcome.loss + 1e-5).all()


def test_the_entropy_limit_looks_between_what_it_cannot_tell_apart(searching, monkeypatch):
    world = make_world(perception=searching, glimpses=2)
    agent = make_agent("entropy_limit", world, inhibition_radius=0.0)
    side = world.map_side
    line = (torch.arange(side) * 2 + 1) / side - 1
    places = torch.cartesian_prod(line, line).flip(1)[None]
    logits = torch.full((1, side, side), -50.0)
    logits[0, 8, 4] = logits[0, 8, 10] = 0.0  # two places that are equally likely
    monkeypatch.setattr(type(world), "target_map", lambda self, state: (logits, places))
    episode = world.start(world.scenes(torch.arange(1)))
    agent._visibility = torch.linspace(1, 0, 12)  # far-sighted: it sees both from between them
    x, y = agent.act(world, episode, generator=torch.Generator(), greedy=True)[0].tolist()
    assert line[4] <= x <= line[10]
    assert y == pytest.approx(line[8].item(), abs=0.07)
    agent._visibility = torch.tensor([1.0] + [0.0] * 11)  # near-sighted: it goes to one of them
    x, y = agent.act(world, episode, generator=torch.Generator(), greedy=True)[0].tolist()
    assert min(abs(x - line[4]), abs(x - line[10])) < 1e-5


def test_visibility_falls_with_the_distance():
    seen = visibility(make_world(perception="search", canvas=250), 0)
    assert seen[0] > 2 * seen[6] >= 0
    assert interpolated(seen, torch.tensor([0.0, 0.05, 1.2, 5.0])).tolist() == pytest.approx(
        [seen[0].item(), seen[0].item(), seen[-1].item(), 0.0]
    )
