"""The contract of an encoder in the smallest recurrent net: a baseline, and proof that the contract is general."""

import torch
from torch import Tensor, nn

from encoders.base import Encoder, Glimpse, Layout
from encoders.multizoom import PatchStem


class Gru(Encoder):
    """One GRU cell whose input is all patches of the glimpse, their positions and the prompt.

    Args:
        patch: side P of a patch in px, after resizing.
        zooms: number of concentric patches.
        zoom_range: first and last zoom; a patch of zoom z covers min(H, W) / 2**z px.
        grid: side G of the dense foveal grid, 0 for none.
        grid_zoom: zoom of the patches of the foveal grid.
        channels: channels of the image, 1 or 3.
        pixel_mean: mean of the pixels of the training images, subtracted.
        pixel_deviation: their standard deviation, divided by.
        prompt_size: length Q of the prompt vector, 0 for none.
        width: width D of the state, a single token.
    """

    def __init__(
        self,
        *,
        patch: int = 16,
        zooms: int = 3,
        zoom_range: tuple[float, float] = (0.0, 2.0),
        grid: int = 0,
        grid_zoom: float = 2.0,
        channels: int = 1,
        pixel_mean: float = 0.5,
        pixel_deviation: float = 0.25,
        prompt_size: int = 0,
        width: int = 256,
    ):
        layout = Layout(patch=patch, zooms=zooms, zoom_range=zoom_range, grid=grid, grid_zoom=grid_zoom)
        super().__init__(layout, channels=channels, prompt_size=prompt_size)
        self.pixel_mean, self.pixel_deviation = pixel_mean, pixel_deviation
        self.state_shape = (1 + bool(prompt_size), width)
        self.stem = PatchStem(layout, channels=channels, width=width)
        self.position = nn.Linear(3, width)
        self.prompt = nn.Linear(prompt_size, width) if prompt_size else None
        self.mix = nn.Linear(width * layout.patches, width)
        self.cell = nn.GRUCell(width * self.state_shape[0], width)

    def initial(self, batch: int, prompt: Tensor | None = None) -> Tensor:
        """Return [B, N, D]: zeros, and the embedded prompt as the last token where there is one."""
        self.check_prompt(batch, prompt)
        state = self.mix.weight.new_zeros(batch, *self.state_shape)
        if self.prompt is not None:
            state[:, -1] = self.prompt(prompt)
        return state

    def detached(self, state: Tensor) -> Tensor:
        """Return a state without its gradient, but for that of the prompt, which is the same in all of them."""
        return state.detach() if self.prompt is None else torch.cat([state[:, :-1].detach(), state[:, -1:]], dim=1)

    def step(self, state: Tensor, glimpse: Glimpse) -> Tensor:
        """Return the state [B, N, D] after one glimpse."""
        patches, where = glimpse
        pixels = (patches - self.pixel_mean) / self.pixel_deviation
        tokens = self.stem(pixels.flatten(0, 1)).unflatten(0, patches.shape[:2]) + self.position(where)
        seen = nn.functional.gelu(self.mix(nn.functional.gelu(tokens).flatten(1)))
        after = self.cell(torch.cat([seen, state[:, 1:].flatten(1)], dim=1), state[:, 0]).to(state.dtype)
        return torch.cat([after[:, None], state[:, 1:]], dim=1)
