"""The entropy-limit searcher: a near-optimal rule that learns nothing but how far its perception sees."""

import torch
from torch import Tensor

from foveal_agents.base import Agent
from foveal_agents.scripted import at_highest, near
from foveal_env.data import Episode
from foveal_env.world import World

RINGS = 12  # distances at which the visibility is measured
SPREAD = (0.05, 1.2)  # the smallest and the largest of them, in half sides of the image
SCENES = 256  # at each


class EntropyLimit(Agent):
    """Looks where it expects the entropy of the head's map to fall most (Najemnik and Geisler, Vision Research 2009).

    A look at place k lowers the expected entropy by about half the sum over all places i of p(i) d'(i, k)^2. Here p is
    the head's map and d' the visibility at the distance of i from k. It is measured once, on scenes of the world that
    the agent is made for: how many nats a look at that distance from the target adds to the log probability of the
    target's cell. Make it for a world of training scenes, and let it look in any other with images of that size.

    Args:
        world: world that it measures in; the head of its perception must have a map of cells, and its source must know
            the target.
        seed: seed of the scenes on which it measures.
        inhibition_radius: radius in half sides of the image; cells that point closer than this to an earlier gaze are
            left out. 0 leaves out none.

    Raises ValueError if the head has no map of cells, or the target is not known.
    """

    def __init__(self, world: World, *, seed: int = 0, inhibition_radius: float = 0.1):
        super().__init__(world, seed=seed)
        if not (world.map_side and world.source.knows_target):
            raise ValueError(
                "the agent 'entropy_limit' needs a head with a map of cells, as that of a search has, and a source "
                "that knows the target"
            )
        self.inhibition_radius = inhibition_radius
        self._visibility: Tensor | None = None  # [RINGS], once it is measured

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        logits, points = world.target_map(episode.state)
        likely = logits.flatten(1).softmax(dim=-1)
        if self._visibility is None:
            self._visibility = visibility(self.world, self.seed)
        fall = torch.einsum("bi,bik->bk", likely, interpolated(self._visibility, torch.cdist(points, points)))
        left_out = near(points, episode.gazes, self.inhibition_radius)
        return at_highest(fall.masked_fill(left_out, -torch.inf), points)


@torch.no_grad()
def visibility(world: World, seed: int) -> Tensor:
    """Return how many nats a look adds to the log probability of the target's cell, [RINGS], at rising distances."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for radius in torch.linspace(*SPREAD, RINGS).tolist():
        index = torch.randint(2**40, (SCENES,), generator=generator)
        episode = world.start(world.scenes(index))
        angle = torch.rand(SCENES, generator=generator) * 2 * torch.pi
        away = radius * torch.stack([angle.cos(), angle.sin()], dim=-1).to(world.device)
        after, _ = world.look(episode, episode.scenes.box[:, :2] + away)
        gained = (after.outcome.score.clamp(min=1e-6) / episode.outcome.score.clamp(min=1e-6)).log()
        inside = ((episode.scenes.box[:, :2] + away).abs() <= 1).all(dim=-1)
        found.append(gained[inside].mean() if inside.any() else gained.new_zeros(()))
    return torch.stack(found).clamp(min=0)


def interpolated(values: Tensor, distance: Tensor) -> Tensor:
    """Return values [RINGS] at distances [...], linear between the rings, the first below them and 0 beyond."""
    first, last = SPREAD
    place = (distance - first) / (last - first) * (RINGS - 1)
    low = place.floor().clamp(0, RINGS - 2).long()
    share = (place - low).clamp(0, 1)
    between = values[low] * (1 - share) + values[low + 1] * share
    return between.where(distance <= last, 0.0)
