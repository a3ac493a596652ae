"""A mixture policy whose weights are shared over places: what it learns at one place holds at all of them.

Shapes: B batch, S cells along a side of the image, K = S * S Gaussians, N tokens of an observation, D their width.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from foveal_agents.mixture import EXCLUDED_LOGIT, STOP_LOGIT, Choice, Mixture, MixturePolicy
from foveal_env.world import World

LEAST_LOG = -14.0  # of the probability of a cell, as the policy reads it
NEAR = 1.2  # radius around a gaze in which cells count as looked at, in sides of a cell
CONTRAST = 4.0  # by which the net's own logits count, so that it can soon outvote the map


class MapPolicy(MixturePolicy):
    """Reads a map of the image, cell by cell, and answers with a Gaussian for each cell.

    What it reads of a cell: how likely the frozen head has the target there, whether an earlier gaze was near, the
    cell's place, and of a state that lies on the image the cell's own numbers. Of any other state each cell takes what
    it attends to. Convolutions and a mean over all cells follow. What they say is added to the head's log map, times a
    learned weight: a new policy looks where the head believes the target most likely.

    Args:
        shape: (N, D) of an observation.
        mixture: what the policy is made of; its grid is the side S.
        state_grid: (rows, columns) of the observation's first tokens, if they lie on the image.
        reads_map: whether it is given the head's map.
        gaze_size: numbers of a gaze, G.
        stop: whether an episode can be stopped.
        precision: arithmetic of the hidden layers; weights, means and densities are float32 in any case.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        mixture: Mixture,
        *,
        state_grid: tuple[int, int] | None = None,
        reads_map: bool = False,
        gaze_size: int = 2,
        stop: bool = False,
        precision: torch.dtype = torch.float32,
    ):
        nn.Module.__init__(self)
        self.mixture, self.gaze_size, self.precision, self.reads_map = mixture, gaze_size, precision, reads_map
        side, channels, (tokens, width) = mixture.grid, mixture.channels, shape
        self.side, self.lies_on_image = side, state_grid == (side, side)
        line = (torch.arange(side) * 2 + 1) / side - 1
        y, x = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("cells", torch.stack([x, y], dim=-1).flatten(0, 1), persistent=False)
        self.own = nn.Linear(width, channels)  # of a cell's own numbers, or of the tokens that it attends to
        self.beside = tokens - side**2 if self.lies_on_image else 0
        self.context = nn.Linear(width * self.beside, channels, bias=False) if self.beside else None
        self.ask = (
            None if self.lies_on_image else nn.Sequential(nn.Linear(2, width), nn.GELU(), nn.Linear(width, width))
        )
        self.normal = nn.LayerNorm(width)
        self.first = nn.Conv2d(channels + 6, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.whole = nn.Linear(channels, channels)
        self.heads = nn.Conv2d(channels, gaze_size + 1, 1)
        self.trust = nn.Parameter(torch.tensor(float(mixture.trust)))  # weight of the head's log map
        self.stop = nn.Linear(channels, 1) if stop else None
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)
        if self.stop is not None:
            nn.init.zeros_(self.stop.weight)
            nn.init.constant_(self.stop.bias, STOP_LOGIT)

    def forward(self, observation: Tensor, excluded: Tensor | None = None, told: Tensor | None = None) -> Choice:
        """Map [B, N, D] to a choice.

        Args:
            observation: [B, N, D].
            excluded: [B, K] bool, cells near earlier gazes; they are left out if the mixture has an inhibition radius.
            told: [B, K, 3], of each cell the head's logit and where in it the target would be (x, y).
        """
        log_map, points = self._told(told, len(observation))
        with torch.autocast(observation.device.type, self.precision, enabled=self.precision != torch.float32):
            hidden = self._hidden(observation, excluded, log_map)
            raw = self.heads(hidden).float().flatten(2).transpose(1, 2)  # [B, K, G + 1]
            stop = None if self.stop is None else self.stop(hidden.mean(dim=(2, 3))).float()[:, 0]
        moved = raw[..., :-1].tanh()
        means = torch.cat([(points + moved[..., :2] / self.side).clamp(-1, 1), moved[..., 2:]], dim=-1)
        weights = self.trust * log_map + CONTRAST * raw[..., -1]
        if self.mixture.inhibition_radius and excluded is not None:
            weights = weights.masked_fill(excluded, EXCLUDED_LOGIT)
        return Choice(means, weights.log_softmax(dim=-1), stop)

    def summary(self, observation: Tensor, told: Tensor | None = None) -> Tensor:
        """Return what the net makes of all cells, [B, channels]: a critic can read it."""
        return self._hidden(observation, None, self._told(told, len(observation))[0]).mean(dim=(2, 3))

    def _hidden(self, observation: Tensor, excluded: Tensor | None, log_map: Tensor) -> Tensor:
        """Return the last hidden layer, [B, channels, S, S]."""
        batch, side = len(observation), self.side
        near = torch.zeros(batch, side**2, device=observation.device) if excluded is None else excluded.float()
        seen = torch.stack([near, near.mean(dim=1, keepdim=True).expand_as(near) * 5], dim=-1)
        read = [self._of_state(observation), seen, log_map[..., None] / 5, 2 * (log_map / 2).exp()[..., None]]
        cells = torch.cat([*(part.float() for part in read), self.cells.expand(batch, -1, -1)], dim=-1)
        hidden = self.first(cells.unflatten(1, (side, side)).permute(0, 3, 1, 2)).relu()
        hidden = self.second(hidden).relu()
        return (hidden + self.whole(hidden.mean(dim=(2, 3)))[..., None, None]).relu()

    def _told(self, told: Tensor | None, batch: int) -> tuple[Tensor, Tensor]:
        """Return the log probabilities of the cells [B, K], and where they point [B, K, 2]."""
        if told is None or not self.reads_map:
            return self.cells.new_zeros(batch, self.side**2), self.cells.expand(batch, -1, -1)
        return told[..., 0].float().log_softmax(dim=-1).clamp(min=LEAST_LOG), told[..., 1:]

    def _of_state(self, observation: Tensor) -> Tensor:
        """Return what the state tells of each cell, [B, K, channels]."""
        tokens, count = self.normal(observation), self.side**2
        if self.ask is not None:
            scores = self.ask(self.cells) @ tokens.transpose(1, 2) / math.sqrt(tokens.shape[-1])  # [B, K, N]
            return self.own(scores.softmax(dim=-1) @ tokens)
        own = self.own(tokens[:, :count])
        return own if self.context is None else own + self.context(tokens[:, count:].flatten(1))[:, None]

    def excluded(self, gazes: Tensor) -> Tensor:
        """Return which cells are near any gaze up to each of [B, T, G], [B, T, K] bool; a gaze of NaN is near none."""
        radius = self.mixture.inhibition_radius or NEAR * 2 / self.side
        distance = torch.cdist(gazes[..., :2], self.cells, compute_mode="donot_use_mm_for_euclid_dist")
        return (distance < radius).cumsum(dim=1, dtype=torch.int16) > 0


def make_policy(world: World, mixture: Mixture) -> MixturePolicy:
    """Return a new policy for a world: flat, or with weights shared over places if `mixture.shared` says so.

    Raises ValueError if it should share weights and has no grid, or another grid than the head's map.
    """
    rules, encoder = world.rules, world.perception.encoder if world.map_side else None
    options = {"gaze_size": rules.gaze_size, "stop": rules.stop, "precision": world.perception.precision}
    fits = world.map_side > 0 and mixture.grid in (0, world.map_side)
    if not (fits if mixture.shared is None else mixture.shared):
        return MixturePolicy(world.observation_shape, mixture, **options)
    grid = mixture.grid or world.map_side
    if not grid:
        raise ValueError("shared weights need a grid: set grid, or look through a head with a map, as that of a search")
    if world.map_side and grid != world.map_side:
        raise ValueError(f"the head's map has {world.map_side} x {world.map_side} cells: leave grid out, got {grid}")
    place = {"state_grid": None if encoder is None else encoder.state_grid, "reads_map": bool(world.map_side)}
    return MapPolicy(world.observation_shape, replace(mixture, grid=grid), **place, **options)


def told_by_head(world: World, state: Tensor) -> Tensor:
    """Return what the frozen head says of each cell, [B, K, 3]: the logit, and where in it the target would be.

    It is read off a state, or an observation that holds all of it, [B, N, D].
    """
    logits, points = world.target_map(state)
    return torch.cat([logits.flatten(1)[..., None], points], dim=-1)
