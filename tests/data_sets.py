"""Data sets with the files of torchvision's and few images, for the tests of the sources that read them."""

import pickle

import numpy as np
from image_files import photo
from PIL import Image

WORDNET = ("n01440764", "n02102040", "n02979186", "n03000684")  # some of Imagenette's classes


def write_data_sets(root):
    for number, name in enumerate(("MNIST", "FashionMNIST", "KMNIST")):
        write_mnist(root / name / "raw", seed=number)
    write_cifar(root / "cifar-10-batches-py")
    write_imagenette(root / "imagenette2-160")
    return root


def write_mnist(folder, *, seed):
    """Write pictures of ten classes, class by class, black at the margin: 1,000 for training and 100 for testing."""
    folder.mkdir(parents=True)
    for part, count in (("train", 1000), ("t10k", 100)):
        pictures = np.zeros((count, 28, 28), np.uint8)
        pictures[:, 4:24, 4:24] = photo(count, 20, 20, seed=seed)
        write_idx(folder / f"{part}-images-idx3-ubyte", pictures)
        write_idx(folder / f"{part}-labels-idx1-ubyte", (np.arange(count) * 10 // count).astype(np.uint8))


def write_idx(path, array):
    """Write uint8 as MNIST's files hold it: two zeros, the type, the number of dimensions, the shape, the data."""
    shape = np.array(array.shape, ">u4").tobytes()
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + shape + array.tobytes())


def write_cifar(folder):
    """Write 5 batches of 20 images for training, class by class, and one of 100 for testing."""
    folder.mkdir()
    for seed, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        count = 100 if name == "test_batch" else 20
        labels = [number * 10 // count for number in range(count)]
        batch = {"data": photo(count, 3072, 1, seed)[..., 0], "labels": labels}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {number}" for number in range(10)]}))


def write_imagenette(folder):
    """Write images of several sizes: of each class 10 for training and 12 for validation."""
    for part, count in (("train", 10), ("val", 12)):
        for label, wordnet in enumerate(WORDNET):
            (folder / part / wordnet).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(photo(20 + number, 30, seed=count * label + number))
                image.save(folder / part / wordnet / f"{number}.JPEG")
