"""The options of a command: what it takes is read from signatures, and what it means from docstrings.

A command is a function. Its parameters are options; `command` is given the line that was typed. A parameter annotated
with `Options` takes those of other functions, one annotated with `PlugIns` those of the classes that options name.
Other than with jsonargparse alone, a flag needs no value (`--resume`, `--no_resume`), a list no brackets
(`--baselines random raster`), a list without a default is positional, and an error is one line. Files hold options,
too: `--config FILE` those of a command, `--grpo FILE` those of a plug-in.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from inspect import Parameter
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple, get_args, get_type_hints

from docstring_parser import parse as parse_docstring
from jsonargparse import ActionYesNo, ArgumentError, ArgumentParser

from foveal_env.registry import Option, Registry, options_of, takes_any

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
        kind, prefix = self.registry.resolve(plug_in), prefix_of(plug_in)
        options = options_of(kind)
        if takes_any(kind):
            typed = [word.partition("=")[0].partition(".")[2] for word in words if word.startswith(f"--{prefix}.")]
            options = {name: Option(Any, None, None, kind) for name in [*typed, *config.get(prefix, ())]} | options
        return {
            f"{prefix}.{name}": Place(option, (parameter, plug_in, name))
            for name, option in options.items()
            if name not in self.skip
        }


def output(*, overwrite: bool = False) -> None:
    """Say how a command treats its output folder; every command that has one takes this option.

    Args:
        overwrite: replace the run that is in the output folder.
    """


def marks_of(function: Callable[..., None]) -> dict[str, Options | PlugIns]:
    """Return the parameters of a command that take dictionaries, with their marks."""
    hints = get_type_hints(function, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


def places_of(function: Callable[..., None], words: Sequence[str], config: Mapping[str, Any]) -> dict[str, Place]:
    """Return the options of a command by dotted name, with those of the plug-ins that `words` or `config` name."""
    marks = marks_of(function)
    own = {name: option for name, option in options_of(function).items() if name not in {"command", *marks}}
    places = {name: Place(option, (name,)) for name, option in own.items()}
    if "out" in own:
        places |= {name: Place(option, (name,)) for name, option in options_of(output).items()}
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


def prefixes_of(function: Callable[..., None], words: Sequence[str], config: Mapping[str, Any]) -> set[str]:
    """Return the prefixes of the plug-ins that `words`, `config` or the defaults of a command name."""
    own = options_of(function)
    marks = [mark for mark in marks_of(function).values() if isinstance(mark, PlugIns)]
    naming = {name: own[name] for mark in marks for name in mark.named_by if name in own}
    return {prefix_of(name) for name in names_in(words, naming, config)}


def prefix_of(plug_in: str) -> str:
    """Return what the options of a plug-in begin with: its short name, or its class in lower case."""
    return plug_in.rpartition(":")[2].lower()


def check_keys(
    function: Callable[..., None], known: Iterable[str], config: Mapping[str, Any], origin: object = "the configuration"
) -> None:
    """Raise ValueError if a configuration has a key that is no option; options of any plug-in may be there.

    Args:
        function: command.
        known: names of its options, dotted or not.
        config: options by name.
        origin: where they come from, for the error.
    """
    registered = {
        prefix_of(n) for mark in marks_of(function).values() if isinstance(mark, PlugIns) for n in mark.registry
    }
    prefixes = registered | prefixes_of(function, [], config)
    names = {*known, "resume", "overwrite"}
    for key, value in config.items():
        if key not in names and not (key in prefixes and isinstance(value, dict)):
            listed = " ".join(f"--{name}" for name in sorted(known))
            raise ValueError(f"{origin}: unknown key {key!r}; known: {listed}")


def take_option(name: str, words: Sequence[str]) -> tuple[list[str], str | None]:
    """Return words without the option `--name VALUE` or `--name=VALUE`, and its value; None if it is not there.

    Raises ValueError if it is there without a value.
    """
    rest, value, words = [], None, list(words)
    while words:
        word = words.pop(0)
        if word == f"--{name}":
            if not words or words[0].startswith("--"):
                raise ValueError(f"--{name} needs the path of a .json or .yaml file")
            value = words.pop(0)
        elif word.startswith(f"--{name}="):
            value = word.partition("=")[2]
        else:
            rest.append(word)
    return rest, value


def with_files(
    function: Callable[..., None], words: Sequence[str], config: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any]]:
    """Return words without the files of plug-ins' options, `--grpo FILE`, and a configuration with what these hold."""
    words, found = list(words), dict(config)
    for prefix in sorted(prefixes_of(function, words, config) - options_of(function).keys()):
        words, file = take_option(prefix, words)
        if file is not None:
            found[prefix] = {**found.get(prefix, {}), **read_mapping(file)}
    return words, found


def read_mapping(path: str) -> dict[str, Any]:
    """Return what a JSON or YAML file holds, if that is options by name; otherwise ValueError that names the file."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--content", type=dict[str, Any])
    try:
        text = Path(path).read_text()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is neither JSON nor YAML: {error}") from error
    try:
        return parser.parse_string("content:\n" + indent(text, "  ")).as_dict()["content"]
    except (ArgumentError, TypeError) as error:
        raise ValueError(f"{path} does not hold options by name, as JSON or YAML: {error}") from error


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
    files = "--config FILE takes options from a run.json, or from JSON or YAML with options by name"
    parser = ArgumentParser(prog=title, description=about, epilog=files, exit_on_error=False)
    groups: dict[str, Any] = {}
    for name, place in places.items():
        plug_in = name.rpartition(".")[0]
        if plug_in and plug_in not in groups:
            groups[plug_in] = parser.add_argument_group(
                f"options of {plug_in}", f"--{plug_in} FILE takes several of them from JSON or YAML"
            )
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
        kind = Any if option.annotation is Parameter.empty else _typed(option.annotation)
        parser.add_argument(f"--{name}", type=kind, required=is_required, **about)


def _typed(annotation: Any) -> Any:
    """Return what can be typed of an annotation: the name alone where code may give a ready object."""
    has_object = any(str(kind).startswith("<class 'foveal_") for kind in get_args(annotation))
    return str if has_object and str in get_args(annotation) else annotation


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
