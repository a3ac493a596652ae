"""Names for things that plug in: a dictionary from a short name to ``"module:Class"``, resolved when asked for.

Options are flat wherever people write them (`gym.make`, the command line, the header of a checkpoint). A constructor
may group them: a parameter whose type is a dataclass takes its fields as options of their own.
"""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, NamedTuple, get_type_hints


class _Absent:
    def __repr__(self) -> str:
        return "not set"


_ABSENT = _Absent()


class Option(NamedTuple):
    """One flat option of a constructor or a function."""

    annotation: Any
    default: Any  # `inspect.Parameter.empty` if it must be given
    group: str | None  # parameter whose dataclass has it as a field, or None
    owner: Any  # the class or function that documents it


def options_of(target: Callable[..., Any]) -> dict[str, Option]:
    """Return the flat options of a class or function by name, without its `*arguments` and `**keywords`."""
    found: dict[str, Option] = {}
    hints = get_type_hints(target.__init__ if isinstance(target, type) else target)
    for name, parameter in inspect.signature(target).parameters.items():
        kind = hints.get(name, parameter.annotation)
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if not _is_group(kind):
            found[name] = Option(kind, parameter.default, None, target)
            continue
        for field in dataclasses.fields(kind):
            own = parameter.default if _is_group(type(parameter.default)) else None
            default = getattr(own, field.name) if own is not None else _default(field)
            found[field.name] = Option(get_type_hints(kind)[field.name], default, name, kind)
    return found


def takes_any(target: Callable[..., Any]) -> bool:
    """Return whether a class or function has `**keywords`."""
    return any(p.kind == p.VAR_KEYWORD for p in inspect.signature(target).parameters.values())


def build(target: Callable[..., Any], **options: Any) -> Any:
    """Call a class or function with flat options.

    Raises TypeError on an option that it does not have; the error names those that it has.
    """
    known = options_of(target)
    parameters = inspect.signature(target).parameters
    unknown = [name for name in options if name not in known and name not in parameters]
    if unknown and not takes_any(target):
        raise TypeError(f"no option {', '.join(map(repr, unknown))}; known: {', '.join(known)}")
    groups = dict.fromkeys(option.group for option in known.values() if option.group)
    for group in groups:
        names = [name for name, option in known.items() if option.group == group and name in options]
        if group in options:
            if names:
                raise TypeError(f"give either {group} or {', '.join(names)}")
            continue
        given = {name: options.pop(name) for name in names}
        default = parameters[group].default
        kind = next(option.owner for option in known.values() if option.group == group)
        options[group] = kind(**given) if not _is_group(type(default)) else dataclasses.replace(default, **given)
    return target(**options)


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say which option differs first, such as "square.size is 4, not 5"; None if none does.

    Dictionaries of options are gone through, key by key; what only one side has is said, too.
    """
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name, _ABSENT), now.get(name, _ABSENT)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            inner = difference(old, new)
            if inner:
                return f"{name}.{inner}"
        elif old != new:
            return f"{name} is {old}, not {new}"
    return None


class _File(NamedTuple):
    """A file whose names are being resolved."""

    path: object
    given: frozenset[str]  # names that are the caller's own


_untrusted: ContextVar[_File | None] = ContextVar("untrusted", default=None)


@contextmanager
def names_of_file(path: object, *, trust: bool = False, given: Iterable[str] = ()) -> Iterator[None]:
    """Resolve names inside as those of a file: they import nothing but what is registered, unless it is trusted.

    Args:
        path: the file, for errors.
        trust: whether it may import any module.
        given: names that are the caller's own, not the file's.
    """
    token = _untrusted.set(None if trust else _File(path, frozenset(given)))
    try:
        yield
    finally:
        _untrusted.reset(token)


class Registry(dict[str, str]):
    """Short names of one kind of plug-in; a name with a colon is anybody's own ``"module:Class"``.

    A name must lead to a subclass of `base`, itself a "module:Class". It is never a way to call anything else. A name
    from a file (`names_of_file`) leads to a registered class, or to one of a module that is imported already.

    >>> ENCODERS = Registry("encoder", {"gru": "foveal_encoders.gru:Gru"}, base="foveal_encoders.base:Encoder")
    >>> ENCODERS.make("gru", width=64, patch=12)
    >>> ENCODERS.make("my_package.my_module:MyEncoder", width=64)  # needs no registration
    """

    def __init__(self, kind: str, entries: dict[str, str], *, base: str):
        super().__init__(entries)
        self.kind, self.base = kind, base

    def resolve(self, name: str) -> Any:
        """Return the class called `name`; ValueError names the known ones."""
        if not isinstance(name, str):
            raise ValueError(f"the name of a kind of {self.kind} must be text, got {name!r}")
        path = name if ":" in name else self.get(name)
        if path is None:
            raise ValueError(
                f"unknown {self.kind} {name!r}; known: {', '.join(sorted(self))} (or 'module:Class' for your own)"
            )
        self._check_file(path)
        try:
            found, base = _import(path), _import(self.base)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"{self.kind} {name!r} cannot be imported: {error}") from error
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ValueError(f"{self.kind} {name!r} is not a subclass of {self.base}")
        return found

    def _check_file(self, path: str) -> None:
        """Raise ValueError if `path` is the name of a file that is not trusted, and leads to what is not imported."""
        file = _untrusted.get()
        if file is None or path in self.values() or path in file.given:
            return
        module, _, attribute = path.partition(":")
        if attribute not in getattr(sys.modules.get(module), "__dict__", ()):
            raise ValueError(
                f"{file.path} names the {self.kind} {path!r}, and nothing has imported that: import {module} before, "
                "or say trust=True (--trust), which lets the file run code"
            )

    def make(self, name: str, **options: Any) -> Any:
        """Construct the class called `name` from flat options; TypeError on an option that it does not have."""
        try:
            return build(self.resolve(name), **options)
        except TypeError as error:
            raise TypeError(f"{self.kind} {name!r}: {error}") from error

    def name_of(self, kind: type) -> str:
        """Return the short name of a class, or "module:Class" of one that has none."""
        path = f"{kind.__module__}:{kind.__qualname__}"
        return next((name for name, entry in self.items() if entry == path), path)


def _is_group(kind: Any) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def _default(field: Any) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


def _import(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
