"""How exact the averages are, and whether what was learned holds on the same scenes enlarged."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import foveal_env.images
from benchmarks.images import DEVICE, LAYOUT, noise, random_gazes, seconds
from foveal_agents.base import evaluate, make_agent
from foveal_encoders.base import Layout
from foveal_env.data import Scenes
from foveal_env.images import Images
from foveal_env.make import make_source, make_world
from foveal_env.retina import extract, patch_squares
from foveal_env.sources.base import Source
from foveal_env.world import World


def photographs(count: int = 24) -> list[Tensor]:
    """Return photographs [3, H, W]: the two of scikit-learn, and test images of Imagenette."""
    from sklearn.datasets import load_sample_images

    found = [torch.from_numpy(picture.copy()).permute(2, 0, 1) for picture in load_sample_images().images]
    images = make_source("imagenette", "test").scenes(torch.arange(0, 40 * count, 40)).images
    return found + [images.pixels(row) for row in range(count)]


def digit_scenes() -> list[Tensor]:
    """Return test scenes [1, S, S] of 60 to 500 px."""
    found = []
    for canvas, clutter in ((60, 4), (100, 8), (140, 14), (500, 200)):
        images = make_source("digits", "test", canvas=canvas, clutter=clutter).scenes(torch.arange(6)).images
        found += [images.pixels(row) for row in range(6)]
    return found


def errors(pictures: list[Tensor], *, gazes: int = 64, seed: int = 0) -> np.ndarray:
    """Return |glimpse - exact box average| of every pixel that shrinks the image, uniform gazes and zooms 0 to 5."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for picture in pictures:
        height, width = picture.shape[1:]
        images, whole = Images.prepare([picture.to(DEVICE)]), picture.double() / 255
        for _ in range(gazes):
            zoom = float(torch.rand((), generator=generator) * 5)
            if min(height, width) / 2**zoom <= LAYOUT.patch:
                continue
            layout = Layout(patch=LAYOUT.patch, zooms=1, zoom_range=(zoom, zoom))
            gaze = torch.rand(1, 2, generator=generator) * 2 - 1
            centre, side = patch_squares(torch.tensor([[height, width]]), gaze, layout)
            step = side.item() / layout.patch
            rows, columns = (
                shares(centre[0, 0, 1 - axis].item() - side.item() / 2, step, layout.patch, (height, width)[axis])
                for axis in (0, 1)
            )
            exact = rows @ whole @ columns.T
            found.append((extract(images, gaze.to(DEVICE), layout).patches[0, 0].cpu() - exact).abs().flatten())
    return torch.cat(found).numpy()


def shares(start: float, step: float, boxes: int, count: int) -> Tensor:
    """Return [boxes, count]: the share of each box in each pixel of a line."""
    first = start + step * torch.arange(boxes, dtype=torch.float64)[:, None]
    pixel = torch.arange(count, dtype=torch.float64)
    return (torch.minimum(first + step, pixel + 1) - torch.maximum(first, pixel)).clamp(min=0) / step


def accuracy_of_averages() -> dict[str, Any]:
    """Errors of what ships, and of the same structure with fewer and more texels across a box, with their times."""
    sets = {"photographs": photographs(), "digit scenes": digit_scenes()}
    gazes, table = random_gazes(16, 64), {}
    shipped = foveal_env.images.FINEST
    large = Images.prepare([noise(2048, 2048).to(DEVICE)]).rows(torch.zeros(64, dtype=torch.int64))
    for finest in (1.0, 2.0, 3.0, shipped, 6.0, 8.0):
        foveal_env.images.FINEST = finest
        found = {name: errors(pictures) for name, pictures in sets.items()}
        table[finest] = {
            "mean": {name: float(values.mean()) for name, values in found.items()},
            "p999": {name: float(np.quantile(values, 0.999)) for name, values in found.items()},
            "milliseconds_2048": round(seconds(lambda: [extract(large, g, LAYOUT) for g in gazes]) / 16 * 1e3, 3),
        }
    foveal_env.images.FINEST = shipped
    chosen = table[shipped]
    return {
        "error_mean": round(max(chosen["mean"].values()), 6),
        "error_p999": round(max(chosen["p999"].values()), 6),
        "by_texels_across_a_box": table,
    }


class Enlarged(Source):
    """The scenes of a source, each pixel enlarged to factor x factor."""

    def __init__(self, source: Source, factor: int):
        super().__init__(source.split)
        self.source, self.factor = source, factor
        self.channels, self.classes, self.count = source.channels, source.classes, source.count
        self.prompt_size, self.knows_target = source.prompt_size, source.knows_target

    def scenes(self, index: Tensor) -> Scenes:
        """Return the scenes with these indices, enlarged."""
        scenes = self.source.scenes(index)
        pictures = torch.stack([scenes.images.pixels(row) for row in range(len(scenes))])
        large = pictures.repeat_interleave(self.factor, dim=2).repeat_interleave(self.factor, dim=3)
        return replace(scenes, images=Images.prepare(large))


def accuracy_by_scale(scenes: int = 900) -> dict[str, Any]:
    """Train a policy as the main job does, then look at the same test scenes at 1 to 16 times their size."""
    training = make_world(split="train", reward="probability", precision="auto", device=DEVICE)
    agent = make_agent("grpo", training, seed=0)
    for _ in agent.train(750_592):
        pass
    world, found = make_world(split="test", precision="auto", device=DEVICE), {}
    for factor in (1, 2, 4, 8, 16):
        place = World(Enlarged(world.source, factor), world.perception, glimpses=world.glimpses)
        accuracy = evaluate(place, agent, scenes=scenes, batch=max(16, 512 // factor**2)).accuracy
        found[f"{factor}x, {140 * factor} px"] = round(accuracy[-1], 4)
    return {"accuracy_by_scale": found, "accuracy_by_scale_scenes": scenes}
