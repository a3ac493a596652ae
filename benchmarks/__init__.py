"""What is timed and compared: ``python -m benchmarks.NAME`` writes results/NAME.json and a table."""

import re
import shlex
from pathlib import Path
from typing import Any

from foveal_agents.base import Agent, Evaluation, evaluate
from foveal_env.checkpoint import write_atomically, write_json
from foveal_env.world import World

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
BATCH_PIXELS = 2**27  # of the scenes that are held at once


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


def judged(world: World, agent: Agent, scenes: int) -> Evaluation:
    """Evaluate an agent, with no more scenes at a time than memory holds."""
    side = getattr(world.source, "canvas", None) or max(world.source.canvases)
    return evaluate(world, agent, scenes=scenes, seed=agent.seed, batch=max(4, min(512, BATCH_PIXELS // side**2)))
