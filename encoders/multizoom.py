"""The iterative multi-zoom transformer of arXiv 2508.16317 and 2604.20392: a plain ViT over state and patches."""

import math

import torch
from torch import Tensor, nn

from foveal_encoders.base import Encoder, Glimpse, Inputs, Layout
from foveal_encoders.stems import Keypoints, PatchStem

GREY_LEVEL = 1 / 255  # the least contrast that is more than rounding


class Block(nn.Module):
    """One pre-norm transformer layer over [B, L, D]; a prompt scales and shifts what its two halves read.

    That is the adaptive normalisation of Peebles and Xie (arXiv 2212.09748). It begins as none at all.
    """

    def __init__(self, width: int, heads: int, *, prompted: bool = False):
        super().__init__()
        self.heads = heads
        self.modulate = _zero_linear(width, 4 * width) if prompted else None
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Map [B, L, D] to [B, L, D], given the embedded prompt [B, D] where there is one."""
        read, thought = self.norm_attention(tokens), None
        if prompt is not None and self.modulate is not None:
            scale, shift, scale_mlp, shift_mlp = self.modulate(prompt)[:, None].chunk(4, dim=-1)
            read, thought = read * (1 + scale) + shift, (scale_mlp, shift_mlp)
        split = self.query_key_value(read).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [B, heads, L, D / heads]
        # Written out: for the few dozen tokens of a glimpse the fused kernel takes up to twice as long on a CPU.
        scores = query * (query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        with torch.autocast(scores.device.type, enabled=False):  # it would copy to float32 and back
            attention = scores.softmax(dim=-1)
        mixed = attention @ value
        tokens = tokens + self.project(mixed.transpose(1, 2).flatten(2))
        read = self.norm_mlp(tokens)
        return tokens + self.mlp(read if thought is None else read * (1 + thought[0]) + thought[1])


def _zero_linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class MultiZoom(Encoder):
    """A plain ViT reads [state tokens, patch tokens]; its outputs at the state positions are the next state.

    The position of a patch enters as a small MLP of its (x, y, z). A learned embedding of each state token is added
    again at every step (arXiv 2604.20392), so the initial state is zero. A prompt is one more state token: every step
    reads it, and it modulates every layer. The state is not detached here; the training does that.

    Args:
        inputs: what it is given.
        layout: patches of one look.
        frequencies: sines and cosines of x and y, of period 1, 1/2, 1/4, ... images. They tell places apart on large
            images. 0 is the papers' position, (x, y, z) alone.
        contrast: each patch enters twice, the second time less its own mean and divided by its own deviation. Faint
            things are then seen: a digit on a canvas of 1000 px is four grey levels in the widest window.
        keypoints: points of each patch that tell where in the image something stands out (spatial softmax), 0 for
            none. If the image is not square, places along its longer axis are stretched.
        filters: filters of the stem's first convolution; the second has twice as many.
        width: width D of a token.
        depth: number of transformer layers.
        heads: attention heads of a layer; they divide the width.
        state_tokens: number of learned state tokens.
    """

    waves: Tensor  # [F] angular frequencies of x and y

    def __init__(
        self,
        inputs: Inputs = Inputs(),
        layout: Layout = Layout(),
        *,
        frequencies: int = 0,
        contrast: bool = False,
        keypoints: int = 0,
        filters: int = 32,
        width: int = 96,
        depth: int = 2,
        heads: int = 3,
        state_tokens: int = 8,
    ):
        super().__init__(inputs, layout)
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got width={width} and heads={heads}")
        if keypoints < 0:
            raise ValueError(f"keypoints must be at least 0, got {keypoints}")
        channels, prompted = inputs.channels * (1 + contrast), bool(inputs.prompt_size)
        self.state_shape, self.contrast = (state_tokens + prompted, width), contrast
        self.state_embedding = nn.Parameter(torch.randn(self.state_shape) * 0.02)
        self.stem = PatchStem(layout, channels=channels, filters=filters, width=width)
        self.keypoints = self.places = None
        if keypoints:
            self.keypoints = Keypoints(layout, channels=channels, points=keypoints, filters=filters // 2)
            self.places = nn.Linear(keypoints * (3 + 4 * frequencies), width)
        self.position = nn.Sequential(nn.Linear(3 + 4 * frequencies, width), nn.GELU(), nn.Linear(width, width))
        self.register_buffer("waves", math.pi * 2.0 ** torch.arange(frequencies), persistent=False)
        self.prompt = nn.Linear(inputs.prompt_size, width) if prompted else None
        self.blocks = nn.ModuleList([Block(width, heads, prompted=prompted) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)

    def step(self, state: Tensor, glimpse: Glimpse) -> Tensor:
        """Return the state [B, N, D] after one glimpse."""
        tokens = torch.cat([state + self.state_embedding, self._patch_tokens(glimpse)], dim=1)
        prompt = None if self.prompt is None else state[:, -1]
        for block in self.blocks:
            tokens = block(tokens, prompt)
        after = self.norm(tokens[:, : state.shape[1]]).to(state.dtype)
        return after if self.prompt is None else torch.cat([after[:, :-1], state[:, -1:]], dim=1)

    def _patch_tokens(self, glimpse: Glimpse) -> Tensor:
        """Return a token of each patch, [B, K, D]."""
        patches, where = glimpse
        pixels = (patches - self.inputs.pixel_mean) / self.inputs.pixel_deviation
        if self.contrast:
            deviation, mean = torch.std_mean(patches, dim=(-1, -2), correction=0, keepdim=True)
            pixels = torch.cat([pixels, (patches - mean) / (deviation + GREY_LEVEL)], dim=2)
        tokens = self.stem(pixels.flatten(0, 1)).unflatten(0, patches.shape[:2]) + self.position(self._waved(where))
        if self.keypoints is None or self.places is None:
            return tokens
        points, peaks = (part.unflatten(0, patches.shape[:2]) for part in self.keypoints(pixels.flatten(0, 1)))
        points = where[..., None, :2] + points * torch.exp2(-where[..., None, 2:])  # in the image
        return tokens + self.places(self._waved(torch.cat([points, peaks[..., None]], dim=-1)).flatten(2))

    def _waved(self, where: Tensor) -> Tensor:
        """Return (x, y, ...) [..., 3] and the sines and cosines of x and y."""
        if not len(self.waves):
            return where
        phase = (where[..., :2, None] * self.waves).flatten(-2)
        return torch.cat([where, phase.sin(), phase.cos()], dim=-1)
