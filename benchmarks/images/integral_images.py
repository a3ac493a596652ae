"""Integral images (arXiv 2604.20392) in place of pyramids: time, error and memory, all compiled.

`rounded` is the paper's way: four corners in whole pixels of a table of 32 bits. `exact` interpolates a table of 64
bits between pixels, which is right for every box. Needs Imagenette-160 under FOVEAL_DATA.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from benchmarks.files import write_results
from benchmarks.images.accuracy import shares
from benchmarks.images.inputs import LAYOUT, digit_scenes, noise, photographs, random_gazes
from foveal_env.images import Images
from foveal_env.kernels.threads import share
from foveal_env.retina import extract, patch_squares


@njit(nogil=True, cache=True)
def integrate(image, table):
    """Fill table [H + 1, W + 1, C] with the sums of an image [H, W, C]."""
    for y in range(image.shape[0]):
        for c in range(image.shape[2]):
            row = table[0, 0, 0] * 0
            for x in range(image.shape[1]):
                row += image[y, x, c]
                table[y + 1, x + 1, c] = table[y, x + 1, c] + row


@njit(nogil=True, cache=True, error_model="numpy")
def rounded(table, centre, side, out, first, last):
    """Average boxes between whole pixels."""
    height, width, channels, patch = table.shape[0] - 1, table.shape[1] - 1, table.shape[2], out.shape[3]
    for number in range(first, last):
        step = side[number] / patch
        for i in range(patch):
            top = int(np.round(centre[number, 1] - side[number] / 2 + i * step))
            end = max(int(np.round(centre[number, 1] - side[number] / 2 + (i + 1) * step)), top + 1)  # one px at least
            tall = end - top
            top, end = min(max(top, 0), height), min(max(end, 0), height)
            for j in range(patch):
                left = int(np.round(centre[number, 0] - side[number] / 2 + j * step))
                right = max(int(np.round(centre[number, 0] - side[number] / 2 + (j + 1) * step)), left + 1)
                area = np.float32(255 * tall * (right - left))
                left, right = min(max(left, 0), width), min(max(right, 0), width)
                a, b, c, d = table[top, left], table[top, right], table[end, left], table[end, right]
                for k in range(channels):
                    out[number, k, i, j] = np.uint32(d[k] - b[k] - c[k] + a[k]) / area


@njit(nogil=True, cache=True, error_model="numpy")
def exact(table, centre, side, out, first, last):
    """Average boxes between interpolated corners."""
    height, width, channels, patch = table.shape[0] - 1, table.shape[1] - 1, table.shape[2], out.shape[3]
    corner = np.zeros((2, patch + 1, channels))
    for number in range(first, last):
        step = side[number] / patch
        for i in range(patch + 1):
            y = min(max(centre[number, 1] - side[number] / 2 + i * step, 0.0), np.float64(height))
            row = min(int(y), height - 1)
            down = y - row
            for j in range(patch + 1):
                x = min(max(centre[number, 0] - side[number] / 2 + j * step, 0.0), np.float64(width))
                column = min(int(x), width - 1)
                right = x - column
                a, b = table[row, column], table[row, column + 1]
                c, d = table[row + 1, column], table[row + 1, column + 1]
                now, before = corner[i & 1], corner[1 - (i & 1)]
                for k in range(channels):
                    upper = a[k] + right * (b[k] - a[k])
                    lower = c[k] + right * (d[k] - c[k])
                    now[j, k] = upper + down * (lower - upper)
                if i and j:
                    for k in range(channels):
                        total = now[j, k] - now[j - 1, k] - before[j, k] + before[j - 1, k]
                        out[number, k, i - 1, j - 1] = total / (255 * step * step)


TABLES: dict[str, Any] = {"rounded": (rounded, np.uint32), "exact": (exact, np.float64)}
KINDS = ("pyramid", *TABLES)


def table_of(image: Tensor, kind: str) -> np.ndarray:
    """Return the table [H + 1, W + 1, C] of an image [C, H, W]."""
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    table = np.zeros((pixels.shape[0] + 1, pixels.shape[1] + 1, pixels.shape[2]), TABLES[kind][1])
    integrate(pixels, table)
    return table


def average(table: np.ndarray, kind: str, centre: Tensor, side: Tensor, patch: int) -> np.ndarray:
    """Return the patches [N, C, P, P] of squares with centre [N, 2] and side [N] in px."""
    out = np.empty((len(side), table.shape[2], patch, patch), np.float32)
    arrays = table, centre.double().numpy(), side.double().numpy(), out
    share(lambda first, last: TABLES[kind][0](*arrays, first, last), len(side), seconds=8e-9 * out.size)
    return out


def milliseconds(call: Callable[[], Any]) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def times_to_look(image: Tensor, *, rounds: int = 9) -> dict[str, float]:
    """Return the median milliseconds of 64 glimpses; the kinds take turns, and the first round does not count."""
    gazes = random_gazes(16, 64)
    images = Images.prepare([image]).rows(torch.zeros(64, dtype=torch.int64))
    squares = [patch_squares(images.size, gaze, LAYOUT) for gaze in gazes]
    squares = [(centre.flatten(0, 1), side.flatten()) for centre, side in squares]
    looks: dict[str, Callable[[], Any]] = {"pyramid": lambda: [extract(images, gaze, LAYOUT) for gaze in gazes]}
    for kind in TABLES:
        table = table_of(image, kind)
        looks[kind] = lambda k=kind, t=table: [average(t, k, *square, LAYOUT.patch) for square in squares]
    times = [[milliseconds(look) for look in looks.values()] for _ in range(rounds)]
    medians = np.median(times[1:], axis=0) / len(gazes)
    return {kind: round(float(median), 2) for kind, median in zip(looks, medians, strict=True)}


def times_to_prepare(image: Tensor) -> dict[str, float]:
    """Return the milliseconds of preparing an image once."""
    times = {"pyramid": milliseconds(lambda: Images.prepare([image]))}
    times |= {kind: milliseconds(lambda k=kind: table_of(image, k)) for kind in TABLES}
    return {kind: round(value, 2) for kind, value in times.items()}


def errors(image: Tensor, generator: torch.Generator, *, gazes: int = 16) -> dict[str, list[np.ndarray]]:
    """Return |average - exact| of all boxes wider than a px, of every zoom at random gazes."""
    size, images = torch.tensor([image.shape[1:]]), Images.prepare([image])
    tables = {kind: table_of(image, kind) for kind in TABLES}
    wrong: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for _ in range(gazes):
        centre, side = patch_squares(size, torch.rand(1, 2, generator=generator) * 2 - 1, LAYOUT)
        for k in (side[0] > LAYOUT.patch).nonzero().flatten().tolist():
            square = centre[:, k], side[:, k]
            truth = exact_patch(image, square[0][0].double(), side[0, k].item())
            pyramid = images.box_averages(square[0][None], square[1][None], LAYOUT.patch)[0, 0].numpy()
            wrong["pyramid"].append(np.abs(pyramid - truth).ravel())
            for kind, table in tables.items():
                wrong[kind].append(np.abs(average(table, kind, *square, LAYOUT.patch)[0] - truth).ravel())
    return wrong


def exact_patch(image: Tensor, centre: Tensor, side: float) -> np.ndarray:
    """Return the exact averages [C, P, P] of a square with centre [2] and side in px."""
    left, top = (centre - side / 2).tolist()
    step, (height, width) = side / LAYOUT.patch, image.shape[1:]
    rows, columns = shares(top, step, LAYOUT.patch, height), shares(left, step, LAYOUT.patch, width)
    return (rows @ (image.double() / 255) @ columns.T).numpy()


def statistics_of_errors() -> dict[str, dict[str, float]]:
    """Return mean and 99.9th percentile of the errors over photographs and digit scenes, in grey values of 255."""
    generator = torch.Generator().manual_seed(0)
    parts = [errors(image, generator) for image in photographs() + digit_scenes()]
    wrong = {kind: np.concatenate([value for part in parts for value in part[kind]]) * 255 for kind in KINDS}
    return {
        "error_mean_255": {kind: round(float(values.mean()), 3) for kind, values in wrong.items()},
        "error_p999_255": {kind: round(float(np.quantile(values, 0.999)), 3) for kind, values in wrong.items()},
    }


def main() -> None:
    """Measure all, write results/integral_images.json and print it."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    results: dict[str, Any] = {}
    for size in (64, 224, 8192):
        image = noise(size, size)
        results[f"milliseconds_64_glimpses_{size}"] = times_to_look(image)
        results[f"milliseconds_to_prepare_{size}"] = times_to_prepare(image)
    results["memory_over_decoded"] = {"pyramid": 1.34, "rounded": 4.0, "exact": 8.0}
    results |= statistics_of_errors()
    write_results("integral_images", {"command": "python -m benchmarks.images.integral_images", **results})
    for name, row in results.items():
        print(f"{name:36} {row}")


if __name__ == "__main__":
    main()
