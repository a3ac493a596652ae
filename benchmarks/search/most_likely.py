"""A searcher without learning: it looks where the map of the answer is highest."""

import torch
from torch import Tensor

from foveal_agents.base import Agent
from foveal_env.data import Episode
from foveal_env.tasks.search import CELLS
from foveal_env.world import World


class MostLikely(Agent):
    """Looks at the cell in which the head of a search believes the target most likely.

    Args:
        world: what it is made for.
        seed: not used.
        around: cells whose centre is closer than this to an earlier gaze are left out, in half sides of the image; 0
            for none.
    """

    def __init__(self, world: World, *, seed: int = 0, around: float = 0.1):
        super().__init__(world, seed=seed)
        line = (torch.arange(CELLS, device=world.device) + 0.5) / CELLS * 2 - 1
        self.around, self.places = around, torch.cartesian_prod(line, line).flip(1)  # (x, y), row by row

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        likely = world.perception.task(episode.state)[:, 2:]
        squared = (self.places[:, None] - episode.gazes[:, None, :, :2]).square().sum(dim=-1)
        return self.places[likely.masked_fill((squared < self.around**2).any(dim=-1), -torch.inf).argmax(dim=1)]
