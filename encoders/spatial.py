"""A state that lies on the image: cells that each glimpse writes into where its patches are, and registers beside."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from foveal_encoders.base import Encoder, Glimpse, Inputs, Layout

GREY_LEVEL = 1 / 255  # the least contrast that is more than rounding
KEEP = -1.0  # first log odds of what a step writes: cells keep most of what they hold
OFTEN = 8  # looks at a cell that count as many


class View(NamedTuple):
    """What one level of a glimpse shows: a concentric patch, or all patches of the grid as one."""

    features: Tensor  # [B, F, f, f]
    centre: Tensor  # [B, 2] (x, y) in gaze coordinates
    half: Tensor  # [B, 2] half width and half height in gaze coordinates


class Spatial(Encoder):
    """Keeps where things are: S x S cells of the image, registers, and the prompt.

    A small convolutional net reads all patches with the same weights; prompt and level scale and shift its features.
    They are laid onto the cells by the area that they share, and a gated update, the same for every cell, writes them.
    The first L + 1 numbers of a cell are not learned: how much of it each of the L levels has seen so far, and how
    often the sharpest one has. The registers take in the mean of the cells and what the concentric patches show.

    The idea of a canvas that is written where a glimpse lies is that of CanViT (arXiv 2603.22570); this one is small
    and convolutional.

    State [B, S * S + registers (+ 1), D]: the cells row by row, the registers, the prompt's token if there are prompts.

    Args:
        inputs: what it is given.
        layout: patches of one look. The patches of the grid are read as one image.
        side: cells along a side of the image, S.
        width: numbers D of a token.
        registers: tokens that do not lie on the image.
        filters: channels of the first convolution; the last has three times as many.
        hidden: channels of the update of a cell.
        mixed: channels of the update once it is mixed with that of the neighbours.

    Raises ValueError if a number is out of range.
    """

    low: Tensor  # [S] where each cell begins, along an axis
    high: Tensor  # [S] where it ends

    def __init__(
        self,
        inputs: Inputs = Inputs(),
        layout: Layout = Layout(patch=12, zooms=3, zoom_range=(1.5, 3.17), field=288, grid=2, grid_zoom=1.0),
        *,
        side: int = 12,
        width: int = 40,
        registers: int = 2,
        filters: int = 16,
        hidden: int = 48,
        mixed: int = 32,
    ):
        super().__init__(inputs, layout)
        if layout.patch < 2:
            raise ValueError(f"patch must be at least 2 px, got {layout.patch}")
        levels = layout.zooms + (layout.grid > 0)
        self.measured = levels + 1
        if min(side, registers, filters, hidden, mixed) < 1 or width <= self.measured:
            raise ValueError(
                f"side, registers, filters, hidden and mixed must be at least 1, and width more than "
                f"{self.measured}, got {side}, {registers}, {filters}, {hidden}, {mixed} and {width}"
            )
        prompted = bool(inputs.prompt_size)
        self.side, self.registers, self.state_grid = side, registers, (side, side)
        self.state_shape = (side**2 + registers + prompted, width)
        deep = 3 * filters
        self.trunk = nn.Sequential(
            nn.Conv2d(2 * inputs.channels, 2 * filters, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * filters, deep, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(deep, deep, 3, padding=1),
        )
        self.prompt = nn.Linear(inputs.prompt_size, width) if prompted else None
        self.level = nn.Parameter(torch.randn(levels, 2 * deep) * 0.02)
        self.modulate = nn.Linear(width, 2 * deep, bias=False) if prompted else None
        self.lay = nn.ModuleList([nn.Linear(deep, hidden) for _ in range(levels)])
        self.read = nn.Linear(width, hidden)
        self.context = nn.Linear(width * (1 + registers + prompted), hidden, bias=False)
        self.mix = nn.Conv2d(hidden, mixed, 3, padding=1)
        self.gate, self.write = nn.Linear(mixed, width), nn.Linear(mixed, width)
        sharp = deep * (layout.patch // 2) ** 2 if layout.zooms else 0
        shown = width * (1 + registers + prompted) + mixed + sharp
        self.notice = nn.Sequential(nn.Linear(shown, 2 * width), nn.GELU(), nn.Linear(2 * width, 2 * registers * width))
        edge = torch.linspace(-1, 1, side + 1)
        self.register_buffer("low", edge[:-1].clone(), persistent=False)
        self.register_buffer("high", edge[1:].clone(), persistent=False)
        with torch.no_grad():
            self.gate.bias.fill_(KEEP)

    def step(self, state: Tensor, glimpse: Glimpse) -> Tensor:
        """Return the state [B, N, D] after one glimpse."""
        count, measured = self.side**2, self.measured
        cells, rest = state[:, :count], state[:, count:]
        views = self._views(glimpse, rest)
        laid, cover = self._laid(views)
        seen = torch.maximum(cells[..., : measured - 1], cover)
        often = (cells[..., measured - 1 : measured] + cover[..., -1:] / OFTEN).clamp(max=1)
        context = torch.cat([cells.mean(dim=1), rest.flatten(1)], dim=1)
        hidden = (self.read(cells) + laid + self.context(context)[:, None]).relu()
        mixed = self.mix(hidden.unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)).relu()
        mixed = mixed.permute(0, 2, 3, 1).flatten(1, 2)  # [B, S * S, mixed]
        after = torch.lerp(cells, self.write(mixed).float().tanh(), self.gate(mixed).float().sigmoid())
        after = torch.cat([seen, often, after[..., measured:]], dim=-1)
        return torch.cat([after, self._noticed(context, mixed, views, rest)], dim=1)

    def _views(self, glimpse: Glimpse, rest: Tensor) -> list[View]:
        """Return the levels of a glimpse, those of the grid first and then from the widest to the sharpest."""
        patches, where = glimpse
        zooms, grid, batch = self.layout.zooms, self.layout.grid, len(patches)
        pixels = (patches - self.inputs.pixel_mean) / self.inputs.pixel_deviation
        deviation, mean = (m[..., None, None] for m in torch.std_mean(patches.flatten(-2), dim=-1, correction=0))
        pixels = torch.cat([pixels, (patches - mean) / (deviation + GREY_LEVEL)], dim=2)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        if grid:
            whole = pixels[:, zooms:].unflatten(1, (grid, grid)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
            centre, zoom = where[:, zooms:, :2].mean(dim=1), where[:, zooms, 2]
            found.append((self._features(whole), centre, zoom - math.log2(grid)))
        if zooms:
            small = self._features(pixels[:, :zooms].flatten(0, 1)).unflatten(0, (batch, zooms))
            found += [(small[:, level], where[:, level, :2], where[:, level, 2]) for level in range(zooms)]
        modulation = self.level.expand(batch, -1, -1)
        if self.modulate is not None:
            modulation = modulation + self.modulate(rest[:, -1])[:, None]
        shape = self._shape(where)
        views = []
        for level, (features, centre, zoom) in enumerate(found):
            scale, shift = modulation[:, level, :, None, None].to(features.dtype).chunk(2, dim=1)
            shown = torch.addcmul(shift, features, 1 + scale).relu()
            views.append(View(shown, centre, shape * torch.exp2(-zoom)[:, None]))
        return views

    def _shape(self, where: Tensor) -> Tensor:
        """Return the half sides [B, 2] (x, y) of a patch of zoom 0 in gaze coordinates: 1 on the shorter side.

        The spacing of the patches of a grid tells them; without a grid images are taken for squares.
        """
        grid = self.layout.grid
        if grid < 2:
            return where.new_ones(len(where), 2)
        places = where[:, self.layout.zooms :].unflatten(1, (grid, grid))
        steps = torch.stack([places[:, 0, -1, 0] - places[:, 0, 0, 0], places[:, -1, 0, 1] - places[:, 0, 0, 1]], dim=1)
        return steps.abs() / (grid - 1) / 2 * torch.exp2(places[:, 0, 0, 2:])

    def _features(self, pixels: Tensor) -> Tensor:
        """Map [M, 2C, P, P] to [M, F, f, f]."""
        return self.trunk(pixels.contiguous(memory_format=torch.channels_last))

    def _laid(self, views: list[View]) -> tuple[Tensor, Tensor]:
        """Return what lies on the cells [B, S * S, hidden], and the share of them that each level covers [B, S * S, L].

        A feature counts by the share of the cell that it covers; so does the bias of its level.
        """
        by_row, across, covers = [], [], []
        for lay, view in zip(self.lay, views, strict=True):
            flat = lay(view.features.permute(0, 2, 3, 1))  # [B, f, f, hidden]
            columns, rows = (self._shares(view, axis) for axis in (0, 1))  # [B, S, f]
            covers.append((rows.sum(dim=-1)[:, :, None] * columns.sum(dim=-1)[:, None]).flatten(1))
            by_row.append((rows.to(flat.dtype) @ flat.flatten(2)).unflatten(-1, (flat.shape[1], -1)))
            across.append(columns.to(flat.dtype))
        laid = torch.cat(across, dim=-1)[:, None] @ torch.cat(by_row, dim=2)  # [B, S, S, hidden]
        return laid.flatten(1, 2), torch.stack(covers, dim=-1)

    def _shares(self, view: View, axis: int) -> Tensor:
        """Return the share of each cell, along one axis, that each of the f features of a view covers, [B, S, f]."""
        count, half = view.features.shape[-1], view.half[:, axis, None, None]
        step = 2 * half / count
        first = view.centre[:, axis, None, None] - half + step * torch.arange(count, device=half.device)
        ends = torch.minimum(first + step, self.high[:, None]), torch.maximum(first, self.low[:, None])
        return (ends[0] - ends[1]).clamp(min=0) * (self.side / 2)

    def _noticed(self, context: Tensor, mixed: Tensor, views: list[View], rest: Tensor) -> Tensor:
        """Return registers and prompt [B, R (+ 1), D] after a step."""
        sharp = [views[-1].features.flatten(1)] if self.layout.zooms else []
        shown = torch.cat(
            [context.to(mixed.dtype), mixed.mean(dim=1), *(part.to(mixed.dtype) for part in sharp)], dim=1
        )
        gate, new = self.notice(shown).float().unflatten(1, (2, self.registers, -1)).unbind(dim=1)
        registers = torch.lerp(rest[:, : self.registers], new.tanh(), (gate + KEEP).sigmoid())
        return torch.cat([registers, rest[:, self.registers :]], dim=1)
