"""The entries of results, one for each agent and seed: by agent and by canvas."""

from typing import Any

import numpy as np

Entries = list[dict[str, Any]]


def by_agent(rows: Entries) -> dict[str, Entries]:
    """Return the entries of each agent, worst last glimpse first."""
    groups: dict[str, Entries] = {}
    for entry in rows:
        groups.setdefault(entry["agent"], []).append(entry)
    return dict(sorted(groups.items(), key=lambda item: np.mean([entry["accuracy"][-1] for entry in item[1]])))


def on_canvas(entries: Entries, canvas: int) -> Entries:
    """Return the entries of one canvas."""
    return [entry for entry in entries if entry["canvas"] == canvas]


def errors(entries: Entries) -> np.ndarray:
    """Return the errors in % after the first look and after each glimpse, [runs, 1 + glimpses]."""
    return 100 * (1 - np.array([entry["accuracy"] for entry in entries]))


def reads_whole_image(entries: Entries) -> bool:
    """Return whether these are the entries of a net that reads the whole image at once."""
    return "steps" in entries[0]


def has_canvases(contents: dict[str, Any]) -> bool:
    """Return whether a row was tested on several canvases, so that each of its entries has a "canvas"."""
    return isinstance(contents["canvas"], list)
