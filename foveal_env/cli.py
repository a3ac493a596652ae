"""A program of several commands: it reads their options, keeps a record of each run, and says errors in one line."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import ArgumentError

from foveal_env.checkpoint import write_json
from foveal_env.options import (
    Place,
    check_keys,
    marks_of,
    parse,
    places_of,
    read_mapping,
    summary,
    take_option,
    with_files,
)
from foveal_env.registry import Option, build, difference, options_of

try:
    import fcntl
except ImportError:  # Windows has no locks of this kind
    fcntl = None


class Program(NamedTuple):
    """A program of several commands.

    Args:
        name: what is typed to start it, "foveal" or "python train.py".
        purpose: what it is for, in a line.
        commands: functions by name.
        main_job: command and options that run if no command is given.
        may_change: options that may differ from those of the run that `--resume` goes on with.
        adding: commands that add files to their output folder, and so need no `--overwrite` in their own.
    """

    name: str
    purpose: str
    commands: Mapping[str, Callable[..., None]]
    main_job: Sequence[str]
    may_change: Set[str]
    adding: Set[str] = frozenset()

    def run(self, words: Sequence[str]) -> None:
        """Run a command line; an error is one line, or a traceback if the variable FOVEAL_DEBUG is set."""
        try:
            self._run(list(words))
            if sys.stdout:
                sys.stdout.flush()
        except BrokenPipeError:  # the reader has enough, as `head` does
            drop_unwritable_output()
            raise SystemExit(1) from None
        except (ArgumentError, ValueError, TypeError, OSError, ImportError) as error:
            if os.environ.get("FOVEAL_DEBUG"):
                raise
            drop_unwritable_output()
            raise SystemExit(f"{self.name.split()[-1]}: error: {' '.join(str(error).split())}") from None
        except KeyboardInterrupt:
            raise SystemExit("stopped") from None

    def _run(self, words: list[str]) -> None:
        left_out = ("--resume", "--overwrite")
        typed = shlex.join([*self.name.split(), *(word for word in words if word not in left_out)])
        if not words or (words[0].startswith("-") and words[0].partition("=")[0] not in ("-h", "--help", "--config")):
            words = [*self.main_job, *words]
        if words[0] in ("-h", "--help"):
            print(self.overview())
            return
        name = None if words[0].startswith("--config") else words[0]
        if name is not None and name not in self.commands:
            raise ValueError(f"unknown command {name!r}; known: {', '.join(self.commands)}")
        words, file = take_option("config", words if name is None else words[1:])
        config: Mapping[str, Any] = {}
        if file is not None:
            name, config = self.read(file, name)
        assert name is not None
        function = self.commands[name]
        words, config = with_files(function, words, config)
        places = places_of(function, words, config)
        check_keys(function, places, config)
        values = parse(f"{self.name.split()[-1]} {name}", summary(function), places, words, config)
        with alone_in(Path(values["out"])):
            self._build(name, values, places, typed)

    def _build(self, name: str, values: Any, places: Mapping[str, Place], typed: str) -> None:
        """Write run.json, and call a command with the values of its options."""
        function = self.commands[name]
        self.record(name, values.as_dict())
        keywords: dict[str, Any] = {parameter: {} for parameter in marks_of(function)}
        for option, place in places.items():
            group = reduce(lambda group, key: group.setdefault(key, {}), place.keys[:-1], keywords)
            group[place.keys[-1]] = values[option]
        keywords.pop("overwrite", None)
        build(function, command=typed, **keywords)

    def record(self, name: str, values: dict[str, Any]) -> None:
        """Write run.json to the output folder.

        Raises ValueError if there is a run that would be replaced without `--overwrite`, or if `--resume` would go on
        with another run.
        """
        path = Path(values["out"]) / "run.json"
        resume, overwrite = (values.pop(flag, False) for flag in ("resume", "overwrite"))
        if resume and overwrite:
            raise ValueError("--resume and --overwrite exclude each other")
        values = json.loads(json.dumps(values))
        if path.is_file() and not overwrite:
            command, before = self.read(str(path))
            is_alone = len(list(path.parent.iterdir())) == 1  # of a run that failed before it did anything
            if resume:
                self._check_resumed(path, (command, before), (name, values))
            elif not is_alone and (command != name or name not in self.adding):
                also = ", or --resume to go on with it" if command == name and "resume" in self._own(name) else ""
                raise ValueError(
                    f"{path.parent} holds a run of {command!r} already: choose another --out, or --overwrite{also}"
                )
        write_json(path, {name: values})

    def _own(self, name: str) -> Mapping[str, Option]:
        return options_of(self.commands[name])

    def _check_resumed(self, path: Path, before: tuple[str, dict[str, Any]], now: tuple[str, dict[str, Any]]) -> None:
        """Raise ValueError, which names the option, if a run.json is of another run."""
        (command, old), (name, new) = before, now
        if command != name:
            raise ValueError(f"--resume: {path} is of {command!r}, not of {name!r}")
        check_keys(self.commands[name], new, old, path)
        for key in new.keys() & old.keys() - self.may_change:
            one, other = old[key], new[key]
            if isinstance(one, dict) and isinstance(other, dict):  # what only one version of this program knows is new
                other = {name: value for name, value in other.items() if name in one}
            found = difference({key: one}, {key: other})
            if found:
                raise ValueError(
                    f"--resume goes on with the run of {path}, whose {found}; begin a new one in another --out"
                )

    def read(self, path: str, name: str | None = None) -> tuple[str, dict[str, Any]]:
        """Return the command and the options of a run.json, or of the same in YAML.

        Args:
            path: the file. If a command is given, it may hold the options alone.
            name: command that was typed, if any.

        Raises ValueError if it is neither, or of another command.
        """
        content = read_mapping(path)
        is_run = any(key in self.commands for key in content)
        if name is not None and not is_run:
            return name, content
        given = {key: value for key, value in content.items() if value is not None}
        if len(given) != 1 or not is_run or not isinstance(next(iter(given.values())), dict):
            raise ValueError(f"{path} is no run.json: it holds one command with its options")
        command, options = next(iter(given.items()))
        if name not in (None, command):
            raise ValueError(f"{path} has options of {command!r}, not of {name!r}")
        return command, options

    def overview(self) -> str:
        """Return the help of the whole program."""
        lines = [self.purpose, "", f"usage: {self.name} [COMMAND] [options]", ""]
        lines += [f"  {name:10} {summary(function)}" for name, function in self.commands.items()]
        lines += ["", f"  Without a command it runs: {shlex.join(self.main_job)}"]
        lines += ["  --config runs/NAME/run.json --out runs/AGAIN   repeats a run; further options change it"]
        return "\n".join(lines)


def drop_unwritable_output() -> None:
    """Send output nowhere if it cannot be written: Python would try again when it ends, and say so."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold an output folder, and make it; ValueError if another process holds it. A process that dies lets go."""
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ValueError(f"another run writes to {folder}: wait for its end, or choose another --out") from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(handle)
