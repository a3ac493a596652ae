"""Damage to the bytes of a file: cut off, flipped, zeroed, exchanged, repeated, or written over."""

import random
from collections.abc import Iterator


def damaged(data: bytes, *, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, damaged bytes) without end; each differs from `data`."""
    draw, number = random.Random(seed), 0
    kinds = (cut_off, flipped, zeroed, exchanged, repeated, overwritten, without, early)
    while True:
        kind = kinds[number % len(kinds)]
        result = kind(data, draw)
        number += 1
        if result != data:
            yield f"{kind.__name__} {number}", result


def part(data: bytes, draw: random.Random) -> slice:
    """Return a part of the data: small ones are as likely as large ones."""
    length = min(len(data), round(2 ** draw.uniform(0, 12)))
    begin = draw.randrange(len(data) - length + 1)
    return slice(begin, begin + length)


def cut_off(data: bytes, draw: random.Random) -> bytes:
    """End the file early."""
    return data[: draw.randrange(len(data))]


def flipped(data: bytes, draw: random.Random) -> bytes:
    """Flip a few bits."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 4, 64))):
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def early(data: bytes, draw: random.Random) -> bytes:
    """Flip a bit in the first KB, where headers are."""
    changed = bytearray(data)
    changed[draw.randrange(min(len(data), 1024))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def zeroed(data: bytes, draw: random.Random) -> bytes:
    """Zero a part."""
    where = part(data, draw)
    return data[: where.start] + bytes(where.stop - where.start) + data[where.stop :]


def exchanged(data: bytes, draw: random.Random) -> bytes:
    """Exchange two parts of equal length."""
    one = part(data, draw)
    length = one.stop - one.start
    begin = draw.randrange(len(data) - length + 1)
    changed = bytearray(data)
    changed[one], changed[begin : begin + length] = data[begin : begin + length], data[one]
    return bytes(changed[: len(data)])


def repeated(data: bytes, draw: random.Random) -> bytes:
    """Put a part in twice."""
    where = part(data, draw)
    return data[: where.stop] + data[where.start :]


def overwritten(data: bytes, draw: random.Random) -> bytes:
    """Write noise over a part."""
    where = part(data, draw)
    return data[: where.start] + draw.randbytes(where.stop - where.start) + data[where.stop :]


def without(data: bytes, draw: random.Random) -> bytes:
    """Leave a part out."""
    where = part(data, draw)
    return data[: where.start] + data[where.stop :]
