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
    stop: Tensor | None  # [B] log odds, or None where an episode cannot be stopped


class MixturePolicy(nn.Module):
    """From an observation to a `Choice`; the deviation of the Gaussians is given, not learned.

    Args:
        shape: (N, D) of an observation.
        components: K, where there is no grid.
        width: units of each of the two hidden layers.
        grid: K = grid x grid Gaussians, one for each cell of the image, whose mean stays in its cell; 0 for none.
        gaze_size: G.
        stop: whether an episode can be stopped.
        precision: arithmetic of the hidden layers; weights, means and densities are float32 in any case.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        components: int,
        width: int,
        grid: int = 0,
        gaze_size: int = 2,
        stop: bool = False,
        precision: torch.dtype = torch.float32,
    ):
        super().__init__()
        size, components = math.prod(shape), grid**2 or components
        self.components, self.grid, self.gaze_size, self.precision = components, grid, gaze_size, precision
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.heads = nn.Linear(width, (gaze_size + 1) * components)
        self.stop = nn.Linear(width, 1) if stop else None
        nn.init.orthogonal_(self.heads.weight, 0.1)
        line = (torch.arange(grid) * 2 + 1) / max(1, grid) - 1
        self.register_buffer("cells", torch.cartesian_prod(line, line).view(-1, 2), persistent=False)  # centres
        with torch.no_grad():  # means start in the middle of a cell, or on a circle: no two components are twins
            angle = torch.arange(components) * 2 * math.pi / components
            start = torch.zeros(components, gaze_size + 1)
            start[:, :2] = torch.stack([angle.cos(), angle.sin()], dim=-1) * 0.5 * (components > 1 and not grid)
            self.heads.bias.copy_(start.flatten())
            if stop:
                self.stop.weight.zero_()
                self.stop.bias.fill_(START_TO_STOP)

    def forward(self, observation: Tensor, seen: Tensor | None = None) -> Choice:
        """Map [B, N, D] to a choice that leaves out the Gaussians `seen` [B, K] bool."""
        with torch.autocast(observation.device.type, self.precision, enabled=self.precision != torch.float32):
            hidden = self.body(observation)
        hidden = hidden.float()
        raw = self.heads(hidden).unflatten(-1, (self.components, self.gaze_size + 1))
        stop = None if self.stop is None else self.stop(hidden)[:, 0]
        means = raw[..., :-1].tanh()
        if self.grid:
            means = torch.cat([self.cells + means[..., :2] / self.grid, means[..., 2:]], dim=-1)
        weights = raw[..., -1] if seen is None else raw[..., -1].masked_fill(seen, LEFT_OUT)
        return Choice(means, weights.log_softmax(dim=-1), stop)

    def near(self, gazes: Tensor, radius: float) -> Tensor:
        """Return which cells have a centre closer than `radius` to which of the gazes [B, T, G], [B, T, K] bool."""
        return torch.cdist(gazes[..., :2], self.cells, compute_mode="donot_use_mm_for_euclid_dist") < radius

    def entropy(self, choice: Choice, deviation: float) -> Tensor:
        """Return about the entropy of the gaze, [B] in nats: a lower bound; of a grid as if no two cells overlapped."""
        if not self.grid:
            return entropy_bound(choice.means, choice.log_weights, deviation)
        which = -(choice.log_weights.exp() * choice.log_weights).sum(dim=-1)
        return which + 0.5 * self.gaze_size * math.log(2 * math.pi * math.e * deviation**2)


def best(choice: Choice) -> Tensor:
    """Return the likeliest action [B, A]: the mean of the heaviest Gaussian; a stop where it is likelier than not."""
    rows = torch.arange(len(choice.means), device=choice.means.device)
    gaze = choice.means[rows, choice.log_weights.argmax(dim=-1)]
    return gaze if choice.stop is None else torch.cat([gaze, choice.stop.sign()[:, None]], dim=1)


def draw(choice: Choice, deviation: float, generator: torch.Generator) -> Tensor:
    """Draw an action [B, A]; its last entry is 1 to stop and -1 to go on, where that can be chosen."""
    gaze = sample(choice.means, choice.log_weights, deviation, generator)
    if choice.stop is None:
        return gaze
    uniform = torch.rand(len(gaze), 1, generator=generator).to(gaze.device)
    return torch.cat([gaze, (choice.stop.sigmoid()[:, None] - uniform).sign()], dim=1)


def log_likelihood(action: Tensor, choice: Choice, deviation: float) -> Tensor:
    """Return the log density [B] of actions [B, A]; where one stops, the gaze does not count."""
    density = gaze_density(action[:, : choice.means.shape[-1]], choice, deviation)
    if choice.stop is None:
        return density
    stopped = action[:, -1] > 0
    goes_on = nn.functional.logsigmoid(-choice.stop) + density
    return torch.where(stopped, nn.functional.logsigmoid(choice.stop), goes_on)


def gaze_density(gaze: Tensor, choice: Choice, deviation: float) -> Tensor:
    """Return the log density [B] of gazes [B, G], or of their places [B, 2] alone."""
    return log_density(gaze, choice.means[..., : gaze.shape[-1]], choice.log_weights, deviation)


def sample(means: Tensor, log_weights: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Draw a gaze [B, G] from each mixture; it may lie outside the image, where the world clips it."""
    uniform = torch.rand(len(means), 1, generator=generator).to(means.device)
    below = log_weights.exp().cumsum(dim=-1) < uniform
    component = below.sum(dim=-1).clamp(max=means.shape[1] - 1)
    noise = torch.randn(len(means), means.shape[-1], generator=generator).to(means.device)
    return means[torch.arange(len(means), device=means.device), component] + deviation * noise


def log_density(gaze: Tensor, means: Tensor, log_weights: Tensor, deviation: float) -> Tensor:
    """Return the log density [B] of gazes [B, G]."""
    squared = (gaze[:, None] - means).square().sum(dim=-1) / deviation**2
    scale = 0.5 * means.shape[-1] * math.log(2 * math.pi * deviation**2)
    return (log_weights - 0.5 * squared).logsumexp(dim=-1) - scale


def entropy_bound(means: Tensor, log_weights: Tensor, deviation: float) -> Tensor:
    """Return a lower bound [B] of the entropy of each mixture in nats (Huber et al. 2008, theorem 2).

    Of a single Gaussian in the plane it is 1 - log 2 = 0.31 nats too low, whatever its deviation.
    """
    squared = (means[:, :, None] - means[:, None]).square().sum(dim=-1) / (2 * deviation**2)
    scale = 0.5 * means.shape[-1] * math.log(4 * math.pi * deviation**2)
    overlap = (log_weights[:, None] - 0.5 * squared).logsumexp(dim=-1) - scale
    return -(log_weights.exp() * overlap).sum(dim=-1)
