"""Tables in Markdown, and their places in a page: the lines between two markers."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from foveal_env.checkpoint import write_atomically


def line(cells: Sequence[Any]) -> str:
    """Return a line of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(heads: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; each row has as many cells as there are heads."""
    return "\n".join(line(cells) for cells in (heads, ["---"] * len(heads), *rows))


def put_in(page: Path, name: str, text: str) -> None:
    """Put a text between a page's markers of `benchmarks.NAME`; ValueError if it has none."""
    begin, end = f"<!-- benchmarks.{name} -->", f"<!-- end of benchmarks.{name} -->"
    old = page.read_text()
    if begin not in old or end not in old:
        raise ValueError(f"{page.name} has no place for this table: the lines {begin} and {end}")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    new = pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", old)
    write_atomically(page, new.encode())
