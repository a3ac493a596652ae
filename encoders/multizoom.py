"""The iterative multi-zoom transformer of arXiv 2508.16317 and 2604.20392: a plain ViT over state and patches."""

import math

import torch
from torch import Tensor, nn

from encoders.base import Encoder, Glimpse, Layout

GREY_LEVEL = 1 / 255  # the least contrast that is more than rounding
SHARPNESS = 5.0  # of the spatial softmax, so that it singles places out from the first update on


class PatchStem(nn.Sequential):
    """A patch becomes a token: two 3x3 convolutions of stride 2, then a linear layer.

    The papers use a linear layer on the pixels; with small models the convolutions learn much faster.
    """

    def __init__(self, layout: Layout, *, channels: int, width: int, filters: int = 32):
        side = (layout.patch + 3) // 4
        super().__init__(
            nn.Conv2d(channels, filters, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(filters, 2 * filters, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(2 * filters * side * side, width),
        )


class Keypoints(nn.Sequential):
    """Where in a patch something stands out: the spatial softmax of Levine et al. (arXiv 1504.00702).

    Each of some learned maps of a patch becomes the mean place under its softmax over the pixels.
    """

    def __init__(self, layout: Layout, *, channels: int, points: int, filters: int):
        super().__init__(
            nn.Conv2d(channels, filters, 3, padding=1), nn.GELU(), nn.Conv2d(filters, points, 3, padding=1)
        )
        centre = (torch.arange(layout.patch) + 0.5) / layout.patch * 2 - 1
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        self.register_buffer("places", torch.stack([x, y], dim=-1).flatten(0, 1), persistent=False)  # [P * P, 2]

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Map [M, C, P, P] to points [M, points, 2], (x, y) in [-1, 1] of the patch, and the peaks [M, points].

        A peak is the largest share that the softmax gives to a pixel, in [0, 1]: how much stands out.
        """
        shares = (SHARPNESS * super().forward(patches).flatten(2).float()).softmax(dim=-1)
        return shares @ self.places, shares.amax(dim=-1)


class Block(nn.Module):
    """One pre-norm transformer layer over [B, L, D]; a prompt scales and shifts what its two halves read.

    That is the adaptive normalisation of Peebles and Xie (arXiv 2212.09748). It begins as none at all.
    """

    def __init__(self, width: int, heads: int, *, prompted: bool = False):
        super().__init__()
        self.heads = heads
        self.modulate = nn.Linear(width, 4 * width) if prompted else None
        if prompted:
            nn.init.zeros_(self.modulate.weight)
            nn.init.zeros_(self.modulate.bias)
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Map [B, L, D] to [B, L, D], given the embedded prompt [B, D] where there is one."""
        read, thought = self.norm_attention(tokens), None
        if prompt is not None:
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


class MultiZoom(Encoder):
    """A plain ViT reads [state tokens, patch tokens]; its outputs at the state positions are the next state.

    The position of a patch enters as a small MLP of its (x, y, z). A learned embedding of each state token is added
    again at every step (arXiv 2604.20392), so the initial state is zero. A prompt is one more state token, which
    every step reads and none changes, and it modulates every layer. The state is not detached here: whoever trains it
    does, or does not.

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
        frequencies: sines and cosines of x and y, of period 1, 1/2, 1/4, ... images, that help to tell places apart on
            large images; 0 is the papers' position, (x, y, z) alone.
        contrast: each patch enters twice, the second time less its own mean and over its own deviation, so that faint
            things are seen: a digit on a canvas of 1000 px is four grey levels in the widest window.
        keypoints: points of each patch that tell where in the image something stands out (spatial softmax), 0 for none;
            for searches, where the token of a whole patch is slow to learn where in it the target may be. Of an image
            that is not square the places along its longer axis are stretched.
        filters: of the stem's first convolution; its second has twice as many.
        width: width D of a token.
        depth: number of transformer layers.
        heads: attention heads of a layer; they divide the width.
        state_tokens: number of learned state tokens.
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
        frequencies: int = 0,
        contrast: bool = False,
        keypoints: int = 0,
        filters: int = 32,
        width: int = 96,
        depth: int = 2,
        heads: int = 3,
        state_tokens: int = 8,
    ):
        layout = Layout(patch=patch, zooms=zooms, zoom_range=zoom_range, grid=grid, grid_zoom=grid_zoom)
        super().__init__(layout, channels=channels, prompt_size=prompt_size)
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got width={width} and heads={heads}")
        if keypoints < 0:
            raise ValueError(f"keypoints must be at least 0, got {keypoints}")
        self.pixel_mean, self.pixel_deviation = pixel_mean, pixel_deviation
        self.state_shape = (state_tokens + bool(prompt_size), width)
        self.state_embedding = nn.Parameter(torch.randn(self.state_shape) * 0.02)
        self.contrast = contrast
        self.stem = PatchStem(layout, channels=channels * (1 + contrast), filters=filters, width=width)
        self.keypoints = self.places = None
        if keypoints:
            self.keypoints = Keypoints(
                layout, channels=channels * (1 + contrast), points=keypoints, filters=filters // 2
            )
            self.places = nn.Linear(keypoints * (3 + 4 * frequencies), width)
        self.position = nn.Sequential(nn.Linear(3 + 4 * frequencies, width), nn.GELU(), nn.Linear(width, width))
        self.register_buffer("waves", math.pi * 2.0 ** torch.arange(frequencies), persistent=False)
        self.prompt = nn.Linear(prompt_size, width) if prompt_size else None
        self.blocks = nn.ModuleList([Block(width, heads, prompted=bool(prompt_size)) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)

    def initial(self, batch: int, prompt: Tensor | None = None) -> Tensor:
        """Return [B, N, D]: zeros, and the embedded prompt as the last token where there is one."""
        self.check_prompt(batch, prompt)
        if self.prompt is None:
            return self.state_embedding.new_zeros(1, *self.state_shape).expand(batch, -1, -1)
        state = self.state_embedding.new_zeros(batch, *self.state_shape)
        state[:, -1] = self.prompt(prompt)
        return state

    def detached(self, state: Tensor) -> Tensor:
        """Return a state without its gradient, but for that of the prompt, which is the same in all of them."""
        return state.detach() if self.prompt is None else torch.cat([state[:, :-1].detach(), state[:, -1:]], dim=1)

    def _waved(self, where: Tensor) -> Tensor:
        """Return (x, y, ...) [..., 3] and the sines and cosines of x and y."""
        if not len(self.waves):
            return where
        phase = (where[..., :2, None] * self.waves).flatten(-2)
        return torch.cat([where, phase.sin(), phase.cos()], dim=-1)

    def step(self, state: Tensor, glimpse: Glimpse) -> Tensor:
        """Return the state [B, N, D] after one glimpse."""
        patches, where = glimpse
        pixels = (patches - self.pixel_mean) / self.pixel_deviation
        if self.contrast:
            deviation, mean = torch.std_mean(patches, dim=(-1, -2), correction=0, keepdim=True)
            pixels = torch.cat([pixels, (patches - mean) / (deviation + GREY_LEVEL)], dim=2)
        tokens = self.stem(pixels.flatten(0, 1)).unflatten(0, patches.shape[:2]) + self.position(self._waved(where))
        if self.keypoints is not None:
            points, peaks = (found.unflatten(0, patches.shape[:2]) for found in self.keypoints(pixels.flatten(0, 1)))
            points = where[..., None, :2] + points * torch.exp2(-where[..., None, 2:])  # of the image
            tokens = tokens + self.places(self._waved(torch.cat([points, peaks[..., None]], dim=-1)).flatten(2))
        tokens = torch.cat([state + self.state_embedding, tokens], dim=1)
        prompt = None if self.prompt is None else state[:, -1]
        for block in self.blocks:
            tokens = block(tokens, prompt)
        after = self.norm(tokens[:, : state.shape[1]]).to(state.dtype)
        return after if self.prompt is None else torch.cat([after[:, :-1], state[:, -1:]], dim=1)
