"""Draws what an agent saw: the image, the windows of the last glimpse, and the path of its gaze. Pure."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from foveal_encoders.base import Layout
from foveal_env.retina import patch_squares

PATH, WINDOW, NOW = (255, 176, 0), (86, 180, 233), (255, 80, 80)
TRUTH, ANSWER = (0, 220, 120), (0, 220, 255)


def draw(
    image: np.ndarray,
    gazes: np.ndarray,
    layout: Layout,
    *,
    side: int = 480,
    zoom_reach: float = 1.0,
    truth: np.ndarray | None = None,
    answer: np.ndarray | None = None,
) -> np.ndarray:
    """Draw a scan path on an image.

    Args:
        image: [C, H, W] uint8, C = 1 or 3.
        gazes: [T, 2] (x, y) or [T, 3] (x, y, z) in [-1, 1], in the order they were taken; rows of NaN are left out.
        layout: the patches of one look; those of the last gaze are drawn as windows.
        side: px of the drawing's longer side.
        zoom_reach: shift of the zoom that z = 1 stands for.
        truth: [M, 4] boxes (x, y of the centre, width, height) in gaze coordinates; drawn in green.
        answer: [M, 4] boxes of the answer; drawn in cyan.

    Returns:
        [h, w, 3] uint8, the aspect ratio kept.
    """
    channels, height, width = image.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixels = np.repeat(image, 3, axis=0) if channels == 1 else image
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    smooth = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    picture = picture.resize(size, smooth)
    pencil = ImageDraw.Draw(picture)
    taken = gazes[~np.isnan(gazes).any(axis=1)]
    points = [tuple(point) for point in ((taken[:, :2] + 1) / 2 * np.array(size)).tolist()]
    if points:
        shift = taken[-1, 2] * zoom_reach if taken.shape[1] > 2 else 0.0
        _draw_windows(pencil, (height, width), taken[-1, :2], shift, layout, np.array(size) / (width, height))
        pencil.line(points, fill=PATH, width=2)
    for number, (x, y) in enumerate(points):
        fill = NOW if number == len(points) - 1 else PATH
        pencil.ellipse((x - 9, y - 9, x + 9, y + 9), fill=fill, outline=(0, 0, 0))
        pencil.text((x, y), str(number), fill=(0, 0, 0), anchor="mm", font=ImageFont.load_default(13))
    for boxes, colour in ((truth, TRUTH), (answer, ANSWER)):
        for x, y, across, down in [] if boxes is None else boxes.tolist():
            corners = (x - across / 2, y - down / 2, x + across / 2, y + down / 2)
            scaled = [(corner + 1) / 2 * size[axis % 2] for axis, corner in enumerate(corners)]
            pencil.rectangle(scaled, outline=colour, width=3)
    return np.asarray(picture)


def _draw_windows(
    pencil: ImageDraw.ImageDraw,
    size: tuple[int, int],
    gaze: np.ndarray,
    shift: float,
    layout: Layout,
    scale: np.ndarray,
) -> None:
    gazes = torch.as_tensor(gaze, dtype=torch.float32)[None]
    centre, side = patch_squares(torch.tensor([size]), gazes, layout, torch.tensor([shift], dtype=torch.float32))
    for (x, y), half in zip(centre[0].tolist(), (side[0] / 2).tolist(), strict=True):
        corners = ((x - half) * scale[0], (y - half) * scale[1], (x + half) * scale[0], (y + half) * scale[1])
        pencil.rectangle(corners, outline=WINDOW, width=2)
