"""What all parts look at, and with what: layout, encoder, gazes and images."""

import torch
from torch import Tensor

from foveal_encoders.base import Inputs, Layout
from foveal_encoders.multizoom import MultiZoom
from foveal_env.make import make_source
from foveal_env.sources.files import FileImages
from foveal_env.sources.pictures import WholeImages

LAYOUT = Layout(patch=16, zooms=8, zoom_range=(0.0, 5.0))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WIDTH, DEPTH, HEADS = 96, 2, 3  # of the two encoders that are compared, those of the shipped perception


def random_gazes(count: int, batch: int, seed: int = 0) -> list[Tensor]:
    """Return `count` batches of uniform gazes."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(batch, 2, generator=generator) * 2 - 1).to(DEVICE) for _ in range(count)]


def noise(height: int, width: int) -> Tensor:
    """Return an image [3, H, W] of noise; what an image shows does not change the time."""
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def glimpse_encoder() -> MultiZoom:
    """Return the encoder that reads eight zooms of 16 px."""
    return MultiZoom(Inputs(channels=3), LAYOUT, width=WIDTH, depth=DEPTH, heads=HEADS).eval().to(DEVICE)


def photographs(count: int = 24) -> list[Tensor]:
    """Return photographs [3, H, W]: the two of scikit-learn, and test images of Imagenette."""
    from sklearn.datasets import load_sample_images

    found = [torch.from_numpy(photo.copy()).permute(2, 0, 1) for photo in load_sample_images().images]
    source = make_source("imagenette", "test")
    assert isinstance(source, WholeImages)
    assert isinstance(source.images, FileImages)
    numbers = sorted(range(source.count), key=source.images.paths.__getitem__)[: 40 * count : 40]
    images = source.scenes(torch.tensor(numbers)).images
    return found + [images.pixels(row) for row in range(count)]


def digit_scenes() -> list[Tensor]:
    """Return test scenes [1, S, S] of 60 to 500 px."""
    found = []
    for canvas, clutter in ((60, 4), (100, 8), (140, 14), (500, 200)):
        images = make_source("digits", "test", canvas=canvas, clutter=clutter).scenes(torch.arange(6)).images
        found += [images.pixels(row) for row in range(6)]
    return found
