"""A searcher without learning: it looks where the map of the answer is highest."""

import torch
from torch import Tensor

from agents.base import Agent
from foveal_env.tasks.search import CELLS
from foveal_env.world import Episode, World


class MostLikely(Agent):
    """Looks at the cell in which the head of a search believes the target most likely."""

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        cell = world.perception.task(episode.state)[:, 2:].argmax(dim=1)
        return (torch.stack([cell % CELLS, cell // CELLS], dim=1) + 0.5) / CELLS * 2 - 1
