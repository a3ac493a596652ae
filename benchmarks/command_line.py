"""The project's own command line, called from a benchmark: what it trains can be trained by hand."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from foveal_agents.commands import main


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Return options as they are typed.

    True is a switch, and False leaves it out; a tuple is several words; a list or None is JSON.
    """
    words: list[str] = []
    for name, value in options.items():
        if value is False:
            continue
        words.append(f"--{name}")
        if isinstance(value, tuple):
            words += map(str, value)
        elif value is not True:
            words.append(json.dumps(value) if value is None or isinstance(value, list) else str(value))
    return words


def with_prefix(prefix: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of one part under their names on the command line: "encoder" and "width" give "encoder.width"."""
    return {f"{prefix}.{name}": value for name, value in options.items()}


def run_command(command: str, options: Mapping[str, Any]) -> None:
    """Run a command of train.py in this process, and say which."""
    arguments = [command, *words_of(options)]
    print(f"\n$ python train.py {shlex.join(arguments)}", flush=True)
    main(arguments)
