"""Memory and time of preparing a picture."""

import io
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.images.inputs import DEVICE, photographs
from benchmarks.images.timing import seconds
from foveal_env.images import Images


def preparation() -> dict[str, Any]:
    """Memory and time of preparing pictures, against their decoded size and the decoding of their JPEG."""
    ratios, memory = {}, {}
    photos = photographs(8)
    tile = photos[0][:, :427, :427]
    named = {"imagenette 160 px": photos[2], "427 x 640 px": photos[0], "2135 x 2135 px": tile.repeat(1, 5, 5)}
    for name, picture in named.items():
        file = io.BytesIO()
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=90)
        data = file.getvalue()
        decode, prepare = [], []
        upright = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
        given = torch.from_numpy(upright).permute(2, 0, 1)  # as the decoder leaves it
        repeat = max(1, 400_000 // upright.size)
        for _ in range(15):
            decode.append(seconds(lambda d=data: np.array(Image.open(io.BytesIO(d))), rounds=1, repeat=repeat))
            prepare.append(seconds(lambda p=given: Images.prepare([p.to(DEVICE)]), rounds=1, repeat=repeat))
        ratios[name] = round(float(np.median(prepare) / np.median(decode)), 3)
        memory[name] = round(Images.prepare([picture]).texels.numel() / picture.numel(), 3)
    return {
        "prepare_over_decode": max(ratios.values()),
        "prepare_over_decode_by_picture": ratios,
        "memory_over_decoded": max(memory.values()),
    }
