"""What is timed and compared: ``python -m benchmarks.NAME`` writes results/NAME.json and a table."""

import re
import shlex
from pathlib import Path
from typing import Any

from foveal_env.checkpoint import write_atomically, write_json

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


def publish(name: str, results: dict[str, Any], table: str) -> None:
    """Write results/NAME.json, and put the table between README's markers of that name."""
    write_json(RESULTS / f"{name}.json", results)
    put_in(ROOT / "README.md", name, table)
    print(table)


def put_in(page: Path, name: str, text: str) -> None:
    """Put a text between a page's markers of that name; ValueError if it has none."""
    begin, end = f"<!-- benchmarks.{name} -->", f"<!-- end of benchmarks.{name} -->"
    old = page.read_text()
    if begin not in old or end not in old:
        raise ValueError(f"{page.name} has no place for this table: the lines {begin} and {end}")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    new = pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", old)
    write_atomically(page, new.encode())


def call(words: str, *more: str) -> None:
    """Call the command line with some words and more arguments, and say what is called."""
    arguments = [*words.split(), *more]
    import train

    print(f"\n$ python train.py {shlex.join(arguments)}", flush=True)
    train.main(arguments)
