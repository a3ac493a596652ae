"""A writer of TIFF files of nearly every kind, small and without a library: what a reader makes of them is compared."""

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np

WHITE_IS_0, GREY, RGB, PALETTE, CMYK, LAB = 0, 1, 2, 3, 5, 8  # what samples mean
UNCOMPRESSED, DEFLATE = 1, 8
CHUNKY, PLANAR = 1, 2
TYPES = {"H": 3, "I": 4}  # codes of a tag's values


def write_tiff(
    path: Path,
    samples: np.ndarray,
    *,
    photometric: int = GREY,
    bits: int = 8,
    compression: int = UNCOMPRESSED,
    orientation: int = 1,
    planes: int = CHUNKY,
    byte_order: str = "<",
    tile: int | None = None,
    rows: int = 7,
    extra: int | None = None,
    colours: np.ndarray | None = None,
    more: dict[int, list[int]] | None = None,
) -> Path:
    """Write samples [H, W, S] as they are stored, which is upright if `orientation` is 1.

    Args:
        path: the file.
        samples: integers below 2**bits.
        photometric: what they mean.
        bits: bits of a sample.
        compression: UNCOMPRESSED or DEFLATE.
        orientation: TIFF's number of how to turn it, 1 to 8.
        planes: CHUNKY or PLANAR.
        byte_order: "<" or ">".
        tile: side of a tile in px; None for strips.
        rows: rows of a strip.
        extra: what the last sample is: 1 for alpha that the colours are multiplied with, 2 for any other alpha.
        colours: [2**bits, 3] uint16, of a palette.
        more: values of further tags, by number.
    """
    height, width, count = samples.shape
    layers = [samples] if planes == CHUNKY else [samples[..., channel, None] for channel in range(count)]
    pieces = [
        zlib.compress(_packed(piece, bits, byte_order)) if compression == DEFLATE else _packed(piece, bits, byte_order)
        for layer in layers
        for piece in (_tiles(layer, tile) if tile else np.split(layer, range(rows, height, rows)))
    ]
    data = b"".join(pieces)
    offsets = [8, *itertools.accumulate(map(len, pieces), initial=8)][1:-1]
    tags = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * count),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        274: ("H", [orientation]),
        277: ("H", [count]),
        284: ("H", [planes]),
        **({322: ("I", [tile]), 323: ("I", [tile])} if tile else {278: ("I", [rows])}),
        324 if tile else 273: ("I", offsets),
        325 if tile else 279: ("I", [len(piece) for piece in pieces]),
    }
    if extra is not None:
        tags[338] = ("H", [extra])
    if colours is not None:
        tags[320] = ("H", colours.T.flatten().tolist())
    tags |= {tag: ("H", values) for tag, values in (more or {}).items()}
    path.write_bytes(_file(tags, data, byte_order))
    return path


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Return stored pixels [H, W, ...] as they are to be shown."""
    turned = stored.swapaxes(0, 1) if orientation > 4 else stored
    from_right, from_bottom = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    return turned[:: -1 if from_bottom else 1, :: -1 if from_right else 1]


def _tiles(layer: np.ndarray, side: int) -> list[np.ndarray]:
    height, width, count = layer.shape
    down, across = -(-height // side), -(-width // side)
    whole = np.zeros((down * side, across * side, count), layer.dtype)
    whole[:height, :width] = layer
    return list(whole.reshape(down, side, across, side, count).swapaxes(1, 2).reshape(-1, side, side, count))


def _packed(piece: np.ndarray, bits: int, byte_order: str) -> bytes:
    if bits in (8, 16):
        return piece.astype(f"{byte_order}u{bits // 8}").tobytes()
    lines = piece.reshape(len(piece), -1, 1)
    single = lines >> np.arange(bits)[::-1] & 1  # the bits of each sample, highest first
    return np.packbits(single.reshape(len(piece), -1).astype(np.uint8), axis=1).tobytes()


def _file(tags: dict[int, tuple[str, list[int]]], data: bytes, byte_order: str) -> bytes:
    """Return header, data, and one directory of tags with the values that do not fit into it."""
    data += b"\0" * (len(data) % 2)
    first = 8 + len(data)
    entries, values, place = b"", b"", first + 2 + 12 * len(tags) + 4
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"{byte_order}{len(numbers)}{kind}", *numbers)
        head = struct.pack(f"{byte_order}HHI", tag, TYPES[kind], len(numbers))
        if len(packed) <= 4:
            entries += head + packed.ljust(4, b"\0")
        else:
            entries += head + struct.pack(f"{byte_order}I", place + len(values))
            values += packed + b"\0" * (len(packed) % 2)
    order = b"II" if byte_order == "<" else b"MM"
    header = order + struct.pack(f"{byte_order}HI", 42, first)
    directory = struct.pack(f"{byte_order}H", len(tags)) + entries + struct.pack(f"{byte_order}I", 0)
    return header + data + directory + values
