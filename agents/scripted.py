"""Scripted agents: the baselines that learning must beat, and the bounds that it cannot."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from foveal_agents.base import Agent
from foveal_env.data import Episode
from foveal_env.world import World


class Random(Agent):
    """Uniform over the image."""

    is_stochastic = True

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        gaze = torch.rand(len(episode.glimpses), 2, dtype=torch.float32, generator=generator) * 2 - 1
        return gaze.to(world.device)


class Centre(Agent):
    """Always the centre."""

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        return torch.zeros(len(episode.glimpses), 2, dtype=torch.float32, device=world.device)


class Fixed(Agent):
    """Base of agents that follow the same path in every image."""

    def path(self, glimpses: int) -> Tensor:
        """Return the path, [T, 2]."""
        raise NotImplementedError

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        return self.path(world.rules.glimpses).to(world.device)[episode.glimpses]


class Raster(Fixed):
    """Row by row from the top-left; the T gazes are the centres of T cells of equal area that tile the image."""

    def path(self, glimpses: int) -> Tensor:
        """Return the path, [T, 2]."""
        rows = math.isqrt(glimpses)
        lengths = [glimpses // rows + (row < glimpses % rows) for row in range(rows)]
        path, top = [], 0.0
        for length in lengths:
            height = length / glimpses
            path += [((2 * column + 1) / length - 1, 2 * (top + height / 2) - 1) for column in range(length)]
            top += height
        return torch.tensor(path, dtype=torch.float32)


class Spiral(Fixed):
    """From the centre outwards by the golden angle, at equal area for each gaze (Vogel's spiral)."""

    def path(self, glimpses: int) -> Tensor:
        """Return the path, [T, 2]."""
        number = torch.arange(glimpses, dtype=torch.float32)
        angle = number * math.pi * (3 - math.sqrt(5))
        radius = ((number + 0.5) / glimpses).sqrt()
        return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)


class Saliency(Agent):
    """The most salient spot not looked at yet, by the spectral residual of the whole image (Hou and Zhang, CVPR 2007).

    It sees the image itself, not the state. As a baseline it asks what looking at what stands out is worth, whatever
    the question. As in the authors' program, the map has 64 x 64 px, its spectrum is averaged over 3 x 3, and the
    smoothing has a deviation of 2.5 px of these. It is written here because the one library that has it is OpenCV with
    its contributed modules, far larger than all of this package.

    Args:
        world: world that it is made for.
        seed: not used.
        inhibition_radius: radius in half sides of the image; places that close to an earlier gaze count as looked at.
        side: side of the map in px. It sees side x side px before the first glimpse: to be fair to agents that do not,
            take the root of the sensor pixels of a look.
    """

    def __init__(self, world: World, *, seed: int = 0, inhibition_radius: float = 0.15, side: int = 64):
        super().__init__(world, seed=seed)
        if side < 8:
            raise ValueError(f"side must be at least 8 px, got {side}")
        self.inhibition_radius, self.side, self.deviation = inhibition_radius, side, 2.5 * side / 64

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        size = episode.scenes.images.size.flip(1).to(world.device).float()  # (width, height)
        longest = size.amax(dim=1, keepdim=True)
        image = episode.scenes.images.box_averages(size[:, None] / 2, longest, self.side)[:, 0].float().mean(dim=1)
        line = (torch.arange(self.side, dtype=torch.float32, device=world.device) * 2 + 1) / self.side - 1
        x, y = torch.meshgrid(line, line, indexing="xy")
        places = torch.stack([x, y], dim=-1).flatten(0, 1) * (longest / size)[:, None]  # [B, places, 2]
        outside = ~(places.abs() <= 1).all(dim=-1)
        flat = image.flatten(1)
        mean = (flat * ~outside).sum(dim=1, keepdim=True) / (~outside).sum(dim=1, keepdim=True)
        salient = self.residual(torch.where(outside, mean, flat).view_as(image)).flatten(1)
        left_out = outside | near(places, episode.gazes, self.inhibition_radius)
        return at_highest(salient.masked_fill(left_out, -1), places)

    def residual(self, image: Tensor) -> Tensor:
        """Return the saliency of images [B, S, S]: what is left of the log spectrum without its local mean."""
        spectrum = torch.fft.fft2(image)
        log = spectrum.abs().clamp(min=1e-12).log()
        local = functional.avg_pool2d(functional.pad(log[:, None], (1, 1, 1, 1), mode="circular"), 3, stride=1)[:, 0]
        salient = torch.fft.ifft2(torch.polar((log - local).exp(), spectrum.angle())).abs().square()
        offset = torch.arange(-5, 6, dtype=torch.float32, device=image.device)
        kernel = (-(offset**2) / (2 * self.deviation**2)).exp()
        kernel = kernel / kernel.sum()
        smooth = functional.conv2d(salient[:, None], kernel.view(1, 1, 1, -1), padding=(0, 5))
        return functional.conv2d(smooth, kernel.view(1, 1, -1, 1), padding=(5, 0))[:, 0]


class MostLikely(Agent):
    """The cell of the image in which the frozen head believes the target most likely: search without learning.

    Args:
        world: world that it is made for; the head of its perception must have a map of cells, as that of a search has.
        seed: not used.
        inhibition_radius: radius in half sides of the image; cells that point closer than this to an earlier gaze are
            left out. 0 leaves out none.

    Raises ValueError if the head has no map of cells.
    """

    def __init__(self, world: World, *, seed: int = 0, inhibition_radius: float = 0.1):
        super().__init__(world, seed=seed)
        if not world.map_side:
            raise ValueError(
                "the agent 'most_likely' needs a head with a map of cells, as that of a search has; the task "
                f"{world.perception.task_name!r} has none"
            )
        self.inhibition_radius = inhibition_radius

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        likely, places = world.target_map(episode.state)
        left_out = near(places, episode.gazes, self.inhibition_radius)
        return at_highest(likely.flatten(1).masked_fill(left_out, -torch.inf), places)


class Oracle(Agent):
    """Near the target: knows where it is, not what it is. A bound, not a competitor.

    It bounds tasks that ask for the target; of a whole image (`reconstruct`) the target is but a part.

    Args:
        world: world that it is made for; its source must know the target.
        seed: not used.
        deviation: standard deviation of the gaze around the target's centre, in sides of the target. On validation
            scenes of the shipped perceptions 0.15 was best or as good as the best, from 0 to 0.4. A gaze that never
            moves shows nothing new. One that moves more misses parts.

    Raises ValueError if the source does not know the target.
    """

    is_stochastic = True

    def __init__(self, world: World, *, seed: int = 0, deviation: float = 0.15):
        super().__init__(world, seed=seed)
        if not world.source.knows_target:
            raise ValueError("the agent 'oracle' needs a source that knows where the target is")
        self.deviation = deviation

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        box = episode.scenes.box
        return box[:, :2] + self.deviation * box[:, 2:] * torch.randn(
            len(box), 2, dtype=torch.float32, generator=generator
        ).to(box)


class GreedyOracle(Agent):
    """Tries a grid of gazes, and the target's centre if known, and takes the one that leaves the least loss.

    It knows the label. It is an upper bound for one step ahead and no policy: never compare with it.

    Args:
        world: world that it is made for.
        seed: not used.
        grid: gazes along each side of the grid that it tries.
    """

    def __init__(self, world: World, *, seed: int = 0, grid: int = 5):
        super().__init__(world, seed=seed)
        line = (torch.arange(grid, dtype=torch.float32) * 2 + 1) / grid - 1
        self.candidates = torch.cartesian_prod(line, line).reshape(-1, 2)

    def act(self, world: World, episode: Episode, *, generator: torch.Generator, greedy: bool) -> Tensor:
        """Return gazes [B, 2]."""
        batch = len(episode.glimpses)
        tries = [gaze.expand(batch, 2) for gaze in self.candidates.to(world.device)]
        if world.source.knows_target:
            tries.append(episode.scenes.box[:, :2])
        losses = torch.stack([world.look(episode, gaze)[0].outcome.loss for gaze in tries])
        return torch.stack(tries)[losses.argmin(dim=0), torch.arange(batch, device=world.device)]


def near(places: Tensor, gazes: Tensor, radius: float) -> Tensor:
    """Return which of the places [B, M, 2] are closer than `radius` to any of the gazes [B, T, 2 or 3], [B, M] bool.

    A gaze that was not taken, NaN, is near none.
    """
    nearby = torch.zeros(places.shape[:2], dtype=torch.bool, device=places.device)
    for gaze in gazes[..., :2].unbind(dim=1):
        nearby |= (places - gaze[:, None]).square().sum(dim=-1) < radius**2
    return nearby


def at_highest(values: Tensor, places: Tensor) -> Tensor:
    """Return the places [B, 2], of [B, M, 2], whose values [B, M] are highest."""
    return places[torch.arange(len(places), device=places.device), values.argmax(dim=1)]
