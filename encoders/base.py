"""The contract of an encoder: which patches it wants, and how a glimpse changes its state.

Shapes: B batch, K patches of one glimpse, C channels, P patch side in px, N state tokens, D width, Q prompt size.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Glimpse(NamedTuple):
    """The patches of one look at each image of a batch."""

    patches: Tensor  # [B, K, C, P, P] float32 in [0, 1], rows along y; 0 outside the image
    where: Tensor  # [B, K, 3] float32 (x, y, z) of each patch's own centre; x, y in [-1, 1] span the whole image


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which patches one look takes: `zooms` concentric ones and, if `grid` > 0, a dense foveal grid.

    The concentric zooms are ``linspace(*zoom_range, zooms)`` (arXiv 2508.16317); the grid is `grid` x `grid` patches
    of zoom `grid_zoom` that tile the fovea around the gaze (arXiv 2604.20392). The number of patches does not depend
    on the image.

    Args:
        patch: side P of a patch in px, after resizing.
        zooms: number of concentric patches.
        zoom_range: first and last zoom; a patch of zoom z covers min(H, W) / 2**z px, or field / 2**z.
        field: side in px of what a patch of zoom 0 covers, whatever the size of the image. What has a fixed size in px
            is then as readable on any image. 0: zoom 0 covers the shorter side of each image.
        grid: side G of the dense foveal grid, 0 for none.
        grid_zoom: zoom of the patches of the foveal grid.
    """

    patch: int = 16
    zooms: int = 3
    zoom_range: tuple[float, float] = (0.0, 2.0)
    field: int = 0
    grid: int = 0
    grid_zoom: float = 2.0

    def __post_init__(self):
        object.__setattr__(self, "zoom_range", tuple(self.zoom_range))  # JSON gives a list
        least = min(self.zooms, self.grid, self.field)
        if self.patch < 1 or least < 0 or self.zooms + self.grid == 0:
            raise ValueError(f"a layout needs patch >= 1 px and at least one zoom or a grid, got {self}")

    @property
    def patches(self) -> int:
        """Number of patches of one look, K."""
        return self.zooms + self.grid**2

    @property
    def pixels(self) -> int:
        """Sensor pixels of one look, K * P * P."""
        return self.patches * self.patch**2

    def offsets(self) -> Tensor:
        """Return [K, 3]: (dx, dy, z), the patch centre relative to the gaze in sides of that patch, and its zoom.

        With a `field` the zoom here is relative to that, and `zoom_shift` makes it relative to an image.
        """
        z = torch.linspace(*self.zoom_range, self.zooms, dtype=torch.float32)
        concentric = torch.stack([torch.zeros_like(z), torch.zeros_like(z), z], dim=-1)
        steps = torch.arange(self.grid, dtype=torch.float32) - (self.grid - 1) / 2
        dy, dx = torch.meshgrid(steps, steps, indexing="ij")
        dense = torch.stack([dx, dy, torch.full_like(dx, self.grid_zoom)], dim=-1)
        return torch.cat([concentric, dense.reshape(-1, 3)])

    def zoom_shift(self, shorter: Tensor) -> Tensor:
        """Return what is added to the zooms in images whose shorter sides are `shorter` px, of the same shape."""
        return (shorter / self.field).log2() if self.field else torch.zeros_like(shorter)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What an encoder is given, measured on the scenes that it learns from.

    Args:
        channels: channels of the images, 1 or 3.
        prompt_size: length Q of the prompt vectors, 0 for none.
        pixel_mean: mean of the pixels of the training images, in [0, 1].
        pixel_deviation: their standard deviation.
    """

    channels: int = 1
    prompt_size: int = 0
    pixel_mean: float = 0.5
    pixel_deviation: float = 0.25


class Encoder(nn.Module):
    """Base of all encoders: an internal state that each glimpse updates.

    A subclass sets `state_shape`, (N, D), and implements `step`. Its constructor takes `inputs: Inputs` and
    `layout: Layout`, with these annotations, and hands both to this one. Further options are keywords with defaults.
    `step` must treat the rows of a batch independently, and return a finite float state of the same shape.
    Everything that the encoder remembers, the prompt included, lives in the state: callers keep, reset and repeat that
    one tensor and nothing else. An encoder that sets `prompt` has the embedded prompt as its last state token.

    Args:
        inputs: what it is given.
        layout: patches of one look.
    """

    state_shape: tuple[int, int]  # (N, D)
    state_grid: tuple[int, int] | None = (
        None  # (rows, columns) of the first tokens, row by row, if they lie on the image
    )
    prompt: nn.Linear | None  # from a prompt [B, Q] to the last state token [B, D]

    def __init__(self, inputs: Inputs = Inputs(), layout: Layout = Layout()):
        super().__init__()
        self.inputs, self.layout, self.prompt = inputs, layout, None

    def initial(self, batch: int, prompt: Tensor | None = None) -> Tensor:
        """Return the state before any glimpse, [B, N, D]: zeros, and the embedded prompt [B, Q] as the last token."""
        self.check_prompt(batch, prompt)
        zero = next(self.parameters()).new_zeros(1, *self.state_shape).expand(batch, -1, -1)
        return zero if self.prompt is None else torch.cat([zero[:, :-1], self.prompt(prompt)[:, None]], dim=1)

    def step(self, state: Tensor, glimpse: Glimpse) -> Tensor:
        """Return the state [B, N, D] after one glimpse."""
        raise NotImplementedError

    def detached(self, state: Tensor) -> Tensor:
        """Return a state without its gradient, except that of the prompt's token, which is constant in an episode."""
        return state.detach() if self.prompt is None else torch.cat([state[:, :-1].detach(), state[:, -1:]], dim=1)

    @property
    def observation_shape(self) -> tuple[int, int]:
        """Shape (n, d) of what `observe` returns."""
        return self.state_shape

    def observe(self, state: Tensor) -> Tensor:
        """Return what an agent sees of a state, [B, n, d]; by default all of it."""
        return state

    def check_prompt(self, batch: int, prompt: Tensor | None) -> None:
        """Raise ValueError unless `prompt` is what this encoder takes.

        Whether it is finite is looked at on the CPU alone. Elsewhere the device would have to be waited for.
        """
        size, shape = self.inputs.prompt_size, None if prompt is None else tuple(prompt.shape)
        if size and shape != (batch, size):
            raise ValueError(f"this encoder takes a prompt of shape {(batch, size)}, got {shape}")
        if size and prompt is not None and prompt.is_cpu and not torch.isfinite(prompt).all():
            raise ValueError("a prompt must be finite")
        if not size and prompt is not None and prompt.shape[-1]:
            raise ValueError(f"this encoder takes no prompt (prompt_size=0), got one of shape {shape}")
