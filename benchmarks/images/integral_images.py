"""What a prepared image could be instead: integral images, as in arXiv 2604.20392, against the pyramid that was chosen.

Compiled as the pyramid is. `rounded` is the papers' way, four corners in whole pixels of a table of 32 bits; `exact`
interpolates a table of 64 bits between pixels, which is right for every box.
"""

import time
from typing import Any

import numpy as np
import torch
from numba import njit

from benchmarks import RESULTS
from benchmarks.images import LAYOUT, noise, random_gazes
from benchmarks.images.accuracy import digit_scenes, photographs, shares
from foveal_env.checkpoint import write_json
from foveal_env.images import Images
from foveal_env.kernels.threads import share
from foveal_env.retina import extract, patch_squares


@njit(nogil=True, cache=True)
def integrate(picture, table):
    """Fill table [H + 1, W + 1, C] with the sums of picture [H, W, C]."""
    for y in range(picture.shape[0]):
        for c in range(picture.shape[2]):
            row = table[0, 0, 0] * 0
            for x in range(picture.shape[1]):
                row += picture[y, x, c]
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


KINDS: dict[str, Any] = {"rounded": (rounded, np.uint32), "exact": (exact, np.float64)}


def prepared(picture: torch.Tensor, kind: str) -> np.ndarray:
    """Return the table of a picture [C, H, W]."""
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
    table = np.zeros((pixels.shape[0] + 1, pixels.shape[1] + 1, pixels.shape[2]), KINDS[kind][1])
    integrate(pixels, table)
    return table


def average(table: np.ndarray, kind: str, centre: torch.Tensor, side: torch.Tensor, patch: int) -> np.ndarray:
    """Return the patches [N, C, P, P] of squares with centre [N, 2] and side [N]."""
    out = np.empty((len(side), table.shape[2], patch, patch), np.float32)
    arrays = table, centre.double().numpy(), side.double().numpy(), out
    share(lambda first, last: KINDS[kind][0](*arrays, first, last), len(side), seconds=8e-9 * out.size)
    return out


def main() -> None:
    """Measure and write results/structures.json."""
    gazes, results = random_gazes(16, 64), {}
    for size in (64, 224, 8192):
        picture = noise(size, size)
        images = Images.prepare([picture]).rows(torch.zeros(64, dtype=torch.int64))
        squares = [patch_squares(images.size, gaze, LAYOUT) for gaze in gazes]
        squares = [(centre.flatten(0, 1), side.flatten()) for centre, side in squares]
        tables = {kind: prepared(picture, kind) for kind in KINDS}
        row: dict[str, Any] = {kind: [] for kind in ("pyramid", *KINDS)}
        for _ in range(9):
            start = time.perf_counter()
            for gaze in gazes:
                extract(images, gaze, LAYOUT)
            row["pyramid"].append(time.perf_counter() - start)
            for kind, table in tables.items():
                start = time.perf_counter()
                for square in squares:
                    average(table, kind, *square, LAYOUT.patch)
                row[kind].append(time.perf_counter() - start)
        results[f"milliseconds_64_glimpses_{size}"] = {
            kind: round(float(np.median(times[1:])) / len(gazes) * 1e3, 2) for kind, times in row.items()
        }
        times = {}
        for kind, prepare in {
            "pyramid": lambda p=picture: Images.prepare([p]),
            **{kind: lambda p=picture, k=kind: prepared(p, k) for kind in KINDS},
        }.items():
            start = time.perf_counter()
            prepare()
            times[kind] = round((time.perf_counter() - start) * 1e3, 2)
        results[f"milliseconds_to_prepare_{size}"] = times
    results["memory_over_decoded"] = {"pyramid": 1.34, "rounded": 4.0, "exact": 8.0}
    generator = torch.Generator().manual_seed(0)
    found: dict[str, list] = {kind: [] for kind in ("pyramid", *KINDS)}
    for picture in photographs() + digit_scenes():
        size = torch.tensor([picture.shape[1:]])
        images, tables = Images.prepare([picture]), {kind: prepared(picture, kind) for kind in KINDS}
        for _ in range(16):
            gaze = torch.rand(1, 2, generator=generator) * 2 - 1
            centre, side = patch_squares(size, gaze, LAYOUT)
            for number, (middle, length) in enumerate(zip(centre[0].double(), side[0].double(), strict=True)):
                if length <= LAYOUT.patch:
                    continue
                corner, step = (middle - length / 2).tolist(), length.item() / LAYOUT.patch
                rows, columns = (shares(corner[1 - a], step, LAYOUT.patch, size[0, a].item()) for a in (0, 1))
                right = (rows @ (picture.double() / 255) @ columns.T).numpy()
                one = centre[0, number : number + 1], side[0, number : number + 1]
                pyramid = images.box_averages(one[0][None], one[1][None], LAYOUT.patch)[0, 0].numpy()
                found["pyramid"].append(np.abs(pyramid - right).ravel())
                for kind, table in tables.items():
                    found[kind].append(np.abs(average(table, kind, *one, LAYOUT.patch)[0] - right).ravel())
    for name, of in {"error_mean_255": np.mean, "error_p999_255": lambda e: np.quantile(e, 0.999)}.items():
        results[name] = {kind: round(float(of(np.concatenate(e))) * 255, 3) for kind, e in found.items()}
    write_json(RESULTS / "structures.json", {"command": "python -m benchmarks.images.integral_images", **results})
    for name, row in results.items():
        print(f"{name:36} {row}")


if __name__ == "__main__":
    main()
