"""Functions as commands: what they take is read from signatures, and what it means from docstrings.

A command is a function. Its parameters are options; `command` is given the line that was typed. A parameter annotated
with `Options` takes those of other functions, one annotated with `PlugIns` those of the classes that options name.
Other than with jsonargparse alone, a flag needs no value (`--resume`, `--no_resume`), a list no brackets
(`--baselines random raster`), a list without a default is positional, and an error is one line.
"""

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import reduce
from inspect import Parameter
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from docstring_parser import parse as parse_docstring
from jsonargparse import ActionYesNo, ArgumentError, ArgumentParser

from foveal_env.checkpoint import write_json
from foveal_env.registry import Option, Registry, build, options_of, takes_any

try:
    import fcntl
except ImportError:  # Windows has no locks of this kind
    fcntl = None

LISTS = (list[str], list[str] | None, Sequence[str])


class Place(NamedTuple):
    """An option of the command line, and where its value goes."""

    option: Option
    keys: tuple[str, ...]  # a parameter of the command, and keys of dictionaries below it


class Options(NamedTuple):
    """Marks a parameter that takes options of some functions or classes, as a dictionary."""

    makers: tuple[Callable[..., Any], ...]
    only: Set[str] = frozenset()  # none for all
    skip: Set[str] = frozenset()

    def places(self, parameter: str) -> dict[str, Place]:
        """Return the places of the options by name."""
        options = {name: option for maker in self.makers for name, option in options_of(maker).items()}
        kept = (self.only or options.keys()) - self.skip
        return {name: Place(option, (parameter, name)) for name, option in options.items() if name in kept}


class PlugIns(NamedTuple):
    """Marks a parameter that takes the options of plug-ins: for each name a dictionary."""

    registry: Registry
    named_by: tuple[str, ...]  # options of the command that hold the names
    skip: Set[str] = frozenset()  # parameters that the command gives itself

    def places(self, parameter: str, plug_in: str, words: Sequence[str], config: Mapping[str, Any]) -> dict[str, Place]:
        """Return the places of one plug-in's options, prefixed by its short name or by its class in lower case.

        One that takes any keywords has what `words` and `config` name, too.
        """
        kind, prefix = self.registry.resolve(plug_in), plug_in.rpartition(":")[2].lower()
        options = options_of(kind)
        if takes_any(kind):
            typed = [word.partition("=")[0].partition(".")[2] for word in words if word.startswith(f"--{prefix}.")]
            options = {name: Option(Any, None, None, kind) for name in [*typed, *config.get(prefix, ())]} | options
        return {
            f"{prefix}.{name}": Place(option, (parameter, plug_in, name))
            for name, option in options.items()
            if name not in self.skip
        }


class Program(NamedTuple):
    """A program of several commands.

    Args:
        name: what is typed to start it, "foveal" or "python train.py".
        purpose: what it is for, in a line.
        commands: functions by name.
        main_job: command and options that run if no command is given.
        may_change: options that may differ from those of the run that `--resume` goes on with.
    """

    name: str
    purpose: str
    commands: Mapping[str, Callable[..., None]]
    main_job: Sequence[str]
    may_change: Set[str]

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
        typed = shlex.join([*self.name.split(), *(word for word in words if word != "--resume")])
        if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--config")):
            words = [*self.main_job, *words]
        if words[0] in ("-h", "--help"):
            print(self.overview())
            return
        config: Mapping[str, Any] = {}
        if words[0] == "--config":
            name, config = self.read(words[1:2])
            words = [name, *words[2:]]
        if words[0] not in self.commands:
            raise ValueError(f"unknown command {words[0]!r}; known: {', '.join(self.commands)}")
        name, function = words[0], self.commands[words[0]]
        places = places_of(function, words[1:], config)
        values = parse(f"{self.name.split()[-1]} {name}", summary(function), places, words[1:], config)
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
        build(function, command=typed, **keywords)

    def record(self, name: str, values: dict[str, Any]) -> None:
        """Write run.json to the output folder; ValueError if `--resume` would go on with another run."""
        path = Path(values["out"]) / "run.json"
        resume = values.pop("resume", False)
        values = json.loads(json.dumps(values))
        command, before = self.read([str(path)]) if resume and path.is_file() else (name, values)
        if command != name:
            raise ValueError(f"--resume: {path} is of {command!r}, not of {name!r}")
        other = [key for key in values if key not in self.may_change and values[key] != before.get(key, values[key])]
        if other:
            raise ValueError(
                f"--resume goes on with the run of {path}, whose {other[0]} is {before[other[0]]}, not "
                f"{values[other[0]]}; begin a new one in another --out"
            )
        write_json(path, {name: values})

    def read(self, paths: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """Return the command and the options of a run.json, or of the same in YAML."""
        if not paths:
            raise ValueError("--config needs the path of a run.json")
        parser = ArgumentParser(exit_on_error=False)
        for name in self.commands:
            parser.add_argument(f"--{name}", type=dict[str, Any] | None)
        content = parser.parse_path(paths[0]).as_dict()
        given = [(name, options) for name, options in content.items() if options is not None]
        if len(given) != 1:
            raise ValueError(f"{paths[0]} is no run.json: it holds one command with its options")
        return given[0]

    def overview(self) -> str:
        """Return the help of the whole program."""
        lines = [self.purpose, "", f"usage: {self.name} [COMMAND] [options]", ""]
        lines += [f"  {name:10} {summary(function)}" for name, function in self.commands.items()]
        lines += ["", f"  Without a command it runs: {shlex.join(self.main_job)}"]
        lines += ["  --config runs/NAME/run.json   repeat a run; further options change it"]
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


def marks_of(function: Callable[..., None]) -> dict[str, Options | PlugIns]:
    """Return the parameters of a command that take dictionaries, with their marks."""
    hints = get_type_hints(function, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


def places_of(function: Callable[..., None], words: Sequence[str], config: Mapping[str, Any]) -> dict[str, Place]:
    """Return the options of a command by dotted name, with those of the plug-ins that `words` or `config` name."""
    marks = marks_of(function)
    own = {name: option for name, option in options_of(function).items() if name not in {"command", *marks}}
    places = {name: Place(option, (name,)) for name, option in own.items()}
    for parameter, mark in marks.items():
        if isinstance(mark, Options):
            places |= mark.places(parameter)
            continue
        naming = {name: own[name] for name in mark.named_by if name in own}
        for plug_in in names_in(words, naming, config):
            new = mark.places(parameter, plug_in, words, config)
            clash = {name.partition(".")[0] for name in new} & places.keys()
            if clash:
                raise ValueError(f"{plug_in!r}: its options begin with {clash.pop()!r}, an option; rename the class")
            places |= new
    return places


def names_in(words: Sequence[str], options: Mapping[str, Option], config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names that some options of a command line hold, before the other options are known."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name, option in options.items():
        default = config.get(name) or option.default
        peek.add_argument(f"--{name}", default=default, nargs="+" if option.annotation in LISTS else None)
    for value in vars(peek.parse_known_args(words)[0]).values():
        yield from [value] if isinstance(value, str) else value or ()


def parse(title: str, about: str, places: Mapping[str, Place], words: Sequence[str], config: Mapping[str, Any]) -> Any:
    """Return the values of the options by dotted name: as typed, or else as in a configuration, or else the defaults.

    Options that the configuration has for other plug-ins are left out.
    """
    parser = ArgumentParser(prog=title, description=about, exit_on_error=False)
    groups: dict[str, Any] = {}
    for name, place in places.items():
        plug_in = name.rpartition(".")[0]
        if plug_in and plug_in not in groups:
            groups[plug_in] = parser.add_argument_group(f"options of {plug_in}")
        add_option(groups.get(plug_in, parser), name, place.option)
    config = {key: value for key, value in config.items() if key in {*places, *groups} or not isinstance(value, dict)}
    if config:
        parser.add_argument("--config", action="config")
        words = [f"--config={json.dumps(config)}", *words]
    try:
        values = parser.parse_args(words)
    except ArgumentError as error:
        is_unknown = re.search("unrecognized|not accepted|not expected", str(error), re.IGNORECASE)
        known = f"; known: {' '.join(f'--{name}' for name in sorted(places))}"
        raise ValueError(f"{error}{known if is_unknown else ''}") from error
    values.pop("config", None)
    return values


def add_option(parser: Any, name: str, option: Option) -> None:
    """Add an option with its documentation to a parser, or to a group of one."""
    about: dict[str, Any] = {"help": meaning(option.owner, name.rpartition(".")[2])}
    is_required = option.default is Parameter.empty
    if not is_required:
        about["default"] = list(option.default) if option.annotation == Sequence[str] else option.default
    if option.annotation is bool and option.default is not None:
        parser.add_argument(f"--{name}", action=ActionYesNo(yes_prefix="", no_prefix="no_"), **about)
    elif option.annotation in LISTS:
        parser.add_argument(name if is_required else f"--{name}", nargs="+", type=str, **about)
    else:
        kind = Any if option.annotation is Parameter.empty else option.annotation
        parser.add_argument(f"--{name}", type=kind, required=is_required, **about)


def summary(function: Callable[..., Any]) -> str:
    """Return the first sentence of a docstring."""
    return parse_docstring(function.__doc__ or "").short_description or ""


def meaning(owner: Any, name: str) -> str:
    """Return what the docstring of a function, or of a class or one of its bases, says of a parameter."""
    for kind in owner.__mro__ if isinstance(owner, type) else [owner]:
        for entry in parse_docstring(kind.__doc__ or "").params:
            if entry.arg_name == name:
                return entry.description or ""
    return ""
