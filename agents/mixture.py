"""A policy that answers a mixture of Gaussians over the gaze (arXiv 2604.20392): its net, draws and densities."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

LEFT_OUT = -1e4  # logit of a Gaussian that is not chosen
START_TO_STOP = -2.0  # log odds of a stop before training: one in eight


class Choice(NamedTuple):
    """What a policy answers: a mixture of K isotropic Gaussians over the gaze, and how likely it stops."""

    means: Tensor  # [B, K, G] in (-1, 1), G = 2, or 3 with the zoom
    log_weights: Tensor  # [B, K]
    scales: Tensor  # [K], times the deviation that all share: that of each Gaussian
    stop: Tensor | None  # [B] log odds, or None where an episode cannot be stopped


class MixturePolicy(nn.Module):
    """From an observation to a `Choice`; the deviation of the Gaussians is given, not learned.

    Args:
        shape: (N, D) of an observation.
        mixtures: K, where there is no grid.
        width: units of each of the two hidden layers.
        grid: K = grid x grid Gaussians, one for each cell of the image, whose mean stays in its cell; 0 for none.
        rings: with a grid, so many rings of 12 Gaussians around the present gaze besides: small saccades. Ring r tiles
            the square of 4 x 4 cells around the gaze, of 1 / 2**r the grid's side each, but for the inner 2 x 2, which
            ring r + 1 tiles; the last has all 16. A Gaussian of a cell half as wide has half the deviation.
        gaze_size: G.
        stop: whether an episode can be stopped.
        precision: arithmetic of the hidden layers; weights, means and densities are float32 in any case.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        mixtures: int,
        width: int,
        grid: int = 0,
        rings: int = 0,
        gaze_size: int = 2,
        stop: bool = False,
        precision: torch.dtype = torch.float32,
    ):
        super().__init__()
        cells, levels = tiling(grid, rings)
        size, mixtures = math.prod(shape), len(cells) or mixtures
        self.mixtures, self.grid, self.gaze_size, self.precision = mixtures, grid, gaze_size, precision
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.heads = nn.Linear(width, (gaze_size + 1) * mixtures)
        self.stop = nn.Linear(width, 1) if stop else None
        nn.init.orthogonal_(self.heads.weight, 0.1)
        self.register_buffer("cells", cells, persistent=False)  # centres, of those of a ring from the present gaze
        self.register_buffer("in_ring", levels > 0, persistent=False)
        self.register_buffer("scales", 0.5**levels if grid else torch.ones(mixtures), persistent=False)
        with torch.no_grad():  # means start in the middle of a cell, or on a circle: no two components are twins
            angle = torch.arange(mixtures) * 2 * math.pi / mixtures
            start = torch.zeros(mixtures, gaze_size + 1)
            start[:, :2] = torch.stack([angle.cos(), angle.sin()], dim=-1) * 0.5 * (mixtures > 1 and not grid)
            if rings:  # the grid and each ring are as likely as each other
                start[:, -1] = -levels.bincount()[levels].log()
            self.heads.bias.copy_(start.flatten())
            if stop:
                self.stop.weight.zero_()
                self.stop.bias.fill_(START_TO_STOP)

    def forward(self, observation: Tensor, gaze: Tensor | None = None, left_out: Tensor | None = None) -> Choice:
        """Map [B, N, D] to a choice.

        Args:
            observation: [B, N, D].
            gaze: [B, G], the present one; needed where there are rings.
            left_out: [B, K] bool, Gaussians that are not chosen.
        """
        with torch.autocast(observation.device.type, self.precision, enabled=self.precision != torch.float32):
            hidden = self.body(observation)
        hidden = hidden.float()
        raw = self.heads(hidden).unflatten(-1, (self.mixtures, self.gaze_size + 1))
        stop = None if self.stop is None else self.stop(hidden)[:, 0]
        means = raw[..., :-1].tanh()
        if self.grid:
            within = means[..., :2] * (self.scales / self.grid)[:, None]
            means = torch.cat([self.centres(gaze) + within, means[..., 2:]], dim=-1)
        weights = raw[..., -1] if left_out is None else raw[..., -1].masked_fill(left_out, LEFT_OUT)
        return Choice(means, weights.log_softmax(dim=-1), self.scales, stop)

    def centres(self, gaze: Tensor | None) -> Tensor:
        """Return the centres of all cells, [B, K, 2] where there are rings around the gaze [B, G], or else [K, 2]."""
        if not self.in_ring.any():
            return self.cells
        return self.cells + gaze[:, None, :2].nan_to_num() * self.in_ring[:, None]

    def left_out(self, gazes: Tensor, inhibition: float) -> Tensor | None:
        """Return which cells [B, K] bool are not to be chosen after gazes [B, T, G], the present one the last, or None.

        Left out are those whose centre is closer to any of the gazes than `inhibition`, in half sides of the image, and
        for the cells of a ring as much less as they are smaller; and of a ring those whose centre is not in the image.
        """
        if not (inhibition or self.in_ring.any()):
            return None
        centres = self.centres(gazes[:, -1]).expand(len(gazes), -1, -1)
        distances = torch.cdist(gazes[..., :2], centres, compute_mode="donot_use_mm_for_euclid_dist")
        outside = (centres.abs() > 1).any(dim=-1) | (gazes[:, -1:, 0].isnan() & self.in_ring)
        return (distances < inhibition * self.scales).any(dim=1) | outside

    def entropy(self, choice: Choice, deviation: float) -> Tensor:
        """Return about the entropy of the gaze, [B] in nats: a lower bound; of a grid as if no two cells overlapped.

        The smaller deviations of the rings do not count: else a bonus on the entropy would be one on large saccades.
        """
        if not self.grid:
            return entropy_bound(choice.means, choice.log_weights, deviation)
        which = -(choice.log_weights.exp() * choice.log_weights).sum(dim=-1)
        return which + 0.5 * self.gaze_size * math.log(2 * math.pi * math.e * deviation**2)


def tiling(grid: int, rings: int) -> tuple[Tensor, Tensor]:
    """Return the centres [K, 2] of the cells of a grid and of its rings, and of each the ring, 0 for the grid: [K]."""
    line = (torch.arange(grid) * 2 + 1) / max(1, grid) - 1
    centres = [torch.cartesian_prod(line, line).view(-1, 2)]
    square = torch.cartesian_prod(*[torch.tensor([-3.0, -1.0, 1.0, 3.0])] * 2)
    for ring in range(1, rings + 1):
        kept = square if ring == rings else square[(square.abs() > 1).any(dim=-1)]
        centres.append(kept / (grid * 2**ring))
    levels = torch.arange(rings + 1).repeat_interleave(torch.tensor([len(level) for level in centres]))
    return torch.cat(centres), levels


def best(choice: Choice) -> Tensor:
    """Return the likeliest action [B, A]: the mean of the heaviest Gaussian; a stop where it is likelier than not."""
    rows = torch.arange(len(choice.means), device=choice.means.device)
    gaze = choice.means[rows, choice.log_weights.argmax(dim=-1)]
    return gaze if choice.stop is None else torch.cat([gaze, choice.stop.sign()[:, None]], dim=1)


def draw(choice: Choice, deviation: float, generator: torch.Generator) -> Tensor:
    """Draw an action [B, A]; its last entry is 1 to stop and -1 to go on, where that can be chosen."""
    gaze = sample(choice.means, choice.log_weights, deviation * choice.scales, generator)
    if choice.stop is None:
        return gaze
    uniform = torch.rand(len(gaze), 1, generator=generator).to(gaze.device)
    return torch.cat([gaze, (choice.stop.sigmoid()[:, None] - uniform).sign()], dim=1)


def log_likelihood(action: Tensor, choice: Choice, deviation: float) -> Tensor:
    """Return the log density [B] of actions [B, A]; where one stops, the gaze does not count."""
    gaze = action[:, : choice.means.shape[-1]]
    density = log_density(gaze, choice.means, choice.log_weights, deviation * choice.scales)
    if choice.stop is None:
        return density
    stopped = action[:, -1] > 0
    goes_on = nn.functional.logsigmoid(-choice.stop) + density
    return torch.where(stopped, nn.functional.logsigmoid(choice.stop), goes_on)


def sample(means: Tensor, log_weights: Tensor, deviations: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a gaze [B, G] from each mixture, deviations [K]; it may lie outside the image, where the world clips it."""
    uniform = torch.rand(len(means), 1, generator=generator).to(means.device)
    below = log_weights.exp().cumsum(dim=-1) < uniform
    component = below.sum(dim=-1).clamp(max=means.shape[1] - 1)
    noise = torch.randn(len(means), means.shape[-1], generator=generator).to(means.device)
    rows = torch.arange(len(means), device=means.device)
    return means[rows, component] + deviations[component, None] * noise


def log_density(gaze: Tensor, means: Tensor, log_weights: Tensor, deviations: Tensor) -> Tensor:
    """Return the log density [B] of gazes [B, G] under mixtures of deviations [K]."""
    squared = (gaze[:, None] - means).square().sum(dim=-1) / deviations**2
    scales = 0.5 * means.shape[-1] * (2 * math.pi * deviations**2).log()
    return (log_weights - scales - 0.5 * squared).logsumexp(dim=-1)


def entropy_bound(means: Tensor, log_weights: Tensor, deviation: float) -> Tensor:
    """Return a lower bound [B] of the entropy of each mixture in nats (Huber et al. 2008, theorem 2).

    Of a single Gaussian in the plane it is 1 - log 2 = 0.31 nats too low, whatever its deviation.
    """
    squared = (means[:, :, None] - means[:, None]).square().sum(dim=-1) / (2 * deviation**2)
    scale = 0.5 * means.shape[-1] * math.log(4 * math.pi * deviation**2)
    overlap = (log_weights[:, None] - 0.5 * squared).logsumexp(dim=-1) - scale
    return -(log_weights.exp() * overlap).sum(dim=-1)
