"""What the markers of a JPEG file tell of its damage.

The format has no checksum. A decoder makes some image of nearly any bytes, and Pillow does not pass on what libjpeg
says of them. So most damage inside the coded pixels cannot be seen; only markers that are missing or misplaced can.
"""

import re

MARKER = re.compile(rb"\xff[\x01-\xfe]")  # in coded pixels a 0 follows each 255
RESTART, START, END, SCAN, LOWEST = 0xD0, 0xD8, 0xD9, 0xDA, 0xC0
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def damage_of_jpeg(data: bytes) -> str | None:
    """Say what is wrong with the markers of a file that was decoded all the same; None if nothing is."""
    place, is_scan, restarts = 2, False, 0
    while match := MARKER.search(data, place):
        code, stray = match[0][1], len(data[place : match.start()].rstrip(b"\xff"))  # 255 may fill up
        place = match.end()
        if is_scan and RESTART <= code < START:
            if code != RESTART + restarts % 8:
                return "its restart markers are out of order"
            restarts += 1
            continue
        if stray and not is_scan:
            return f"there are {stray} stray bytes before marker {code:#x}"
        if code == END:
            return None
        if code < LOWEST or RESTART <= code <= START:
            return f"there is a marker {code:#x} out of place"
        place += int.from_bytes(data[place : place + 2], "big")
        is_scan, restarts = code == SCAN, 0
    return "its end is missing"


def size_of_jpeg(data: bytes) -> tuple[int, int]:
    """Return (width, height) in px, as a file or a part of one says; ValueError if it does not."""
    place = 2
    while match := MARKER.search(data, place):
        place, length = match.end(), int.from_bytes(data[match.end() : match.end() + 2], "big")
        if match[0][1] in FRAMES:
            height, width = (int.from_bytes(data[place + skip : place + skip + 2], "big") for skip in (3, 5))
            return width, height
        place += length
    raise ValueError("it is a JPEG without a size")
