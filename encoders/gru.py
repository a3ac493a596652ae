"""The contract of an encoder in the smallest recurrent net: a baseline, and proof that the contract is general."""

import torch
from torch import Tensor, nn

from foveal_encoders.base import Encoder, Glimpse, Inputs, Layout
from foveal_encoders.stems import PatchStem


class Gru(Encoder):
    """One GRU cell whose input is all patches of the glimpse, their positions and the prompt.

    Args:
        inputs: what it is given.
        layout: patches of one look.
        width: width D of the state, a single token.
    """

    def __init__(self, inputs: Inputs = Inputs(), layout: Layout = Layout(), *, width: int = 256):
        super().__init__(inputs, layout)
        self.state_shape = (1 + bool(inputs.prompt_size), width)
        self.stem = PatchStem(layout, channels=inputs.channels, width=width)
        self.position = nn.Linear(3, width)
        self.prompt = nn.Linear(inputs.prompt_size, width) if inputs.prompt_size else None
        self.mix = nn.Linear(width * layout.patches, width)
        self.cell = nn.GRUCell(width * self.state_shape[0], width)

    def step(self, state: Tensor, glimpse: Glimpse) -> Tensor:
        """Return the state [B, N, D] after one glimpse."""
        patches, where = glimpse
        pixels = (patches - self.inputs.pixel_mean) / self.inputs.pixel_deviation
        tokens = self.stem(pixels.flatten(0, 1)).unflatten(0, patches.shape[:2]) + self.position(where)
        mixed = nn.functional.gelu(self.mix(nn.functional.gelu(tokens).flatten(1)))
        after = self.cell(torch.cat([mixed, state[:, 1:].flatten(1)], dim=1), state[:, 0]).to(state.dtype)
        return torch.cat([after[:, None], state[:, 1:]], dim=1)
