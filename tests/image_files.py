"""Files of images for the tests that read some."""

import numpy as np
import tifffile
from PIL import Image


def photo(height=40, width=60, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def saved(path, image, **options):
    image.save(path, **options)
    return path


def write_pyramid(path, image, factors=(1, 2, 4, 8), tile=32, **options):
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, factor in enumerate(factors):
            height, width = (length // factor * factor for length in image.shape[:2])
            level = image[:height, :width].reshape(height // factor, factor, width // factor, factor, 3).mean((1, 3))
            file.write(
                level.round().astype(np.uint8),
                tile=(tile, tile),
                photometric="rgb",
                subifds=len(factors) - 1 if number == 0 else None,
                subfiletype=int(number > 0),
                **options,
            )
    return path


def write_folder(root, *, classes=("cat", "dog"), count=20):
    """Write a folder of classes with images of several sizes, kinds and modes."""
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(count):
            mode = ("RGB", "L", "RGBA", "P", "CMYK")[number % 5]
            image = Image.fromarray(photo(10 + number, 40 - number, seed=number)).convert(mode)
            image.save(root / name / f"{number}.{'tiff' if mode == 'CMYK' else 'png'}")
    return root
