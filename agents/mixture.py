"""A policy that answers a mixture of Gaussians over the gaze (arXiv 2604.20392): its net, draws and densities.

Shapes: B batch, K Gaussians, G numbers of a gaze, A numbers of an action, N tokens of an observation, D their width.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

EXCLUDED_LOGIT = -1e4  # of a Gaussian that is not chosen
STOP_LOGIT = -2.0  # log odds of a stop before training: one in eight
SCALE_OF_HEADS = 0.1  # of their first weights: a new policy says about the same of every observation


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What a mixture policy is made of.

    A grid is for searches. Without one, a Gaussian that moves towards what was seen finds one thing and never the
    others. With one, a policy looks at all cells at first, and learns which.

    Args:
        components: number of Gaussians, K.
        grid: side of a grid of K = grid x grid Gaussians in place of `components`, one for each cell of the image,
            whose mean stays in its cell. 0 is no grid.
        width: units of each of the two hidden layers.
        std_start: standard deviation of each Gaussian when training begins, in half sides of the image. None is 0.2,
            or with a grid half the side of a cell.
        std_end: the same when training ends; in between it falls linearly. None is half of the first.
        shared: share the weights over places (`foveal_agents.map_policy`): what is learned at one place holds at all.
            The grid then is that of the head's map. None is to do so if the head has one, as that of a search.
        channels: channels of a policy that shares its weights.
        trust: weight of the head's log map in such a policy when training begins; it is learned. At 1 a new policy
            looks where the head believes the target most likely, at 0 anywhere.
        inhibition_radius: radius of inhibition of return (Posner and Cohen 1984), in half sides of the image: no cell
            of the grid is looked at whose centre is closer than this to an earlier gaze. A policy that sees nothing new
            at a spot would look there for ever. 0 is none; one that shares its weights is told what is near earlier
            gazes, and learns what that means.

    Raises ValueError if a number is out of range.
    """

    components: int = 8
    grid: int = 0
    width: int = 256
    std_start: float | None = None
    std_end: float | None = None
    shared: bool | None = None
    channels: int = 32
    trust: float = 1.0
    inhibition_radius: float = 0.0

    def __post_init__(self):
        for name in ("components", "width", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("grid", "inhibition_radius"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("std_start", "std_end"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")

    @property
    def size(self) -> int:
        """Number of Gaussians, K."""
        return self.grid**2 or self.components

    def deviation(self, remaining: float) -> float:
        """Return the standard deviation of each Gaussian, when the share `remaining` in [0, 1] of training is left."""
        start = self.std_start if self.std_start is not None else 1 / self.grid if self.grid else 0.2
        end = self.std_end if self.std_end is not None else start / 2
        return end + (start - end) * remaining


class Choice(NamedTuple):
    """What a policy answers: a mixture of K isotropic Gaussians over the gaze, and how likely it stops."""

    means: Tensor  # [B, K, G] in (-1, 1), G = 2, or 3 with the zoom
    log_weights: Tensor  # [B, K]
    stop: Tensor | None  # [B] log odds, or None if an episode cannot be stopped


class MixturePolicy(nn.Module):
    """From an observation to a `Choice`; the deviation of the Gaussians is given, not learned.

    Args:
        shape: (N, D) of an observation.
        mixture: what the policy is made of.
        gaze_size: numbers of a gaze, G.
        stop: whether an episode can be stopped.
        precision: arithmetic of the hidden layers; weights, means and densities are float32 in any case.

    Raises ValueError if there is an inhibition radius and no grid.
    """

    cells: Tensor  # [K, 2] centres (x, y) of the cells of the grid; [0, 2] without one
    reads_map = False  # whether `forward` is told what the head says of each cell

    def __init__(
        self,
        shape: tuple[int, int],
        mixture: Mixture = Mixture(),
        *,
        gaze_size: int = 2,
        stop: bool = False,
        precision: torch.dtype = torch.float32,
    ):
        super().__init__()
        if mixture.inhibition_radius and not mixture.grid:
            raise ValueError("inhibition_radius needs a grid")
        size, width = math.prod(shape), mixture.width
        self.mixture, self.gaze_size, self.precision = mixture, gaze_size, precision
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.heads = nn.Linear(width, (gaze_size + 1) * mixture.size)
        self.stop = nn.Linear(width, 1) if stop else None
        line = (torch.arange(mixture.grid) * 2 + 1) / max(1, mixture.grid) - 1
        self.register_buffer("cells", torch.cartesian_prod(line, line).view(-1, 2), persistent=False)
        self._spread_out()

    @torch.no_grad()
    def _spread_out(self) -> None:
        """Set the first weights: means in the middle of their cells, or on a circle, so that no two are twins."""
        count = self.mixture.size
        nn.init.orthogonal_(self.heads.weight, SCALE_OF_HEADS)
        angle = torch.arange(count) * 2 * math.pi / count
        start = torch.zeros(count, self.gaze_size + 1)
        if count > 1 and not self.mixture.grid:
            start[:, :2] = torch.stack([angle.cos(), angle.sin()], dim=-1) * 0.5
        self.heads.bias.copy_(start.flatten())
        if self.stop is not None:
            self.stop.weight.zero_()
            self.stop.bias.fill_(STOP_LOGIT)

    def forward(self, observation: Tensor, excluded: Tensor | None = None, told: Tensor | None = None) -> Choice:
        """Map [B, N, D] to a choice that leaves out the Gaussians `excluded` [B, K] bool; `told` is not read."""
        with torch.autocast(observation.device.type, self.precision, enabled=self.precision != torch.float32):
            hidden = self.body(observation)
        hidden = hidden.float()
        raw = self.heads(hidden).unflatten(-1, (self.mixture.size, self.gaze_size + 1))
        stop = None if self.stop is None else self.stop(hidden)[:, 0]
        means = raw[..., :-1].tanh()
        if self.mixture.grid:
            means = torch.cat([self.cells + means[..., :2] / self.mixture.grid, means[..., 2:]], dim=-1)
        weights = raw[..., -1] if excluded is None else raw[..., -1].masked_fill(excluded, EXCLUDED_LOGIT)
        return Choice(means, weights.log_softmax(dim=-1), stop)

    def excluded(self, gazes: Tensor) -> Tensor:
        """Return which Gaussians inhibition of return leaves out after each of the gazes [B, T, G], [B, T, K] bool.

        A gaze that was not taken, NaN, leaves out none.
        """
        if not self.mixture.inhibition_radius:
            return torch.zeros(*gazes.shape[:2], self.mixture.size, dtype=torch.bool, device=gazes.device)
        distance = torch.cdist(gazes[..., :2], self.cells, compute_mode="donot_use_mm_for_euclid_dist")
        return (distance < self.mixture.inhibition_radius).cumsum(dim=1, dtype=torch.int16) > 0

    def entropy(self, choice: Choice, deviation: float) -> Tensor:
        """Return about the entropy of the gaze, [B] in nats.

        Without a grid it is a lower bound; with one, what the entropy would be if no two cells overlapped.
        """
        if not self.mixture.grid:
            return entropy_bound(choice.means, choice.log_weights, deviation)
        which = -(choice.log_weights.exp() * choice.log_weights).sum(dim=-1)
        return which + 0.5 * self.gaze_size * math.log(2 * math.pi * math.e * deviation**2)


def best(choice: Choice) -> Tensor:
    """Return the likeliest action [B, A]: the mean of the heaviest Gaussian, and a stop if it is likelier than not."""
    rows = torch.arange(len(choice.means), device=choice.means.device)
    gaze = choice.means[rows, choice.log_weights.argmax(dim=-1)]
    return gaze if choice.stop is None else torch.cat([gaze, choice.stop.sign()[:, None]], dim=1)


def draw(choice: Choice, deviation: float, generator: torch.Generator) -> Tensor:
    """Draw an action [B, A]; if episodes can be stopped, its last entry is 1 to stop and -1 to go on."""
    gaze = sample(choice.means, choice.log_weights, deviation, generator)
    if choice.stop is None:
        return gaze
    uniform = torch.rand(len(gaze), 1, dtype=torch.float32, generator=generator).to(gaze.device)
    return torch.cat([gaze, (choice.stop.sigmoid()[:, None] - uniform).sign()], dim=1)


def log_likelihood(action: Tensor, choice: Choice, deviation: float) -> Tensor:
    """Return the log density [B] of actions [B, A]; the gaze of one that stops does not count."""
    density = gaze_density(action[:, : choice.means.shape[-1]], choice, deviation)
    if choice.stop is None:
        return density
    stopped = action[:, -1] > 0
    goes_on = nn.functional.logsigmoid(-choice.stop) + density
    return torch.where(stopped, nn.functional.logsigmoid(choice.stop), goes_on)


def gaze_density(gaze: Tensor, choice: Choice, deviation: float | Tensor) -> Tensor:
    """Return the log density [B] of gazes [B, G], or of their places [B, 2] alone."""
    return log_density(gaze, choice.means[..., : gaze.shape[-1]], choice.log_weights, deviation)


def sample(means: Tensor, log_weights: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Draw a gaze [B, G] from each mixture; the world clips one that lies outside the image."""
    uniform = torch.rand(len(means), 1, dtype=torch.float32, generator=generator).to(means.device)
    below = log_weights.exp().cumsum(dim=-1) < uniform
    component = below.sum(dim=-1).clamp(max=means.shape[1] - 1)
    noise = torch.randn(len(means), means.shape[-1], dtype=torch.float32, generator=generator).to(means.device)
    return means[torch.arange(len(means), device=means.device), component] + deviation * noise


def log_density(gaze: Tensor, means: Tensor, log_weights: Tensor, deviation: float | Tensor) -> Tensor:
    """Return the log density [B] of gazes [B, G]; a deviation that is a tensor, [], is differentiated."""
    squared = (gaze[:, None] - means).square().sum(dim=-1) / deviation**2
    log = deviation.log() if isinstance(deviation, Tensor) else math.log(deviation)
    scale = means.shape[-1] * (0.5 * math.log(2 * math.pi) + log)
    return (log_weights - 0.5 * squared).logsumexp(dim=-1) - scale


def entropy_bound(means: Tensor, log_weights: Tensor, deviation: float) -> Tensor:
    """Return a lower bound [B] of the entropy of each mixture in nats (Huber et al. 2008, theorem 2).

    Of a single Gaussian in the plane it is 1 - log 2 = 0.31 nats too low, whatever its deviation.
    """
    squared = (means[:, :, None] - means[:, None]).square().sum(dim=-1) / (2 * deviation**2)
    scale = 0.5 * means.shape[-1] * math.log(4 * math.pi * deviation**2)
    overlap = (log_weights[:, None] - 0.5 * squared).logsumexp(dim=-1) - scale
    return -(log_weights.exp() * overlap).sum(dim=-1)
