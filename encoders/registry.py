"""Names for things that plug in: a dictionary from a short name to ``"module:Class"``, resolved when asked for."""

import inspect
from importlib import import_module
from typing import Any


class Registry(dict[str, str]):
    """Short names of one kind of plug-in; a name with a colon is anybody's own ``"module:Class"``.

    Whatever a name leads to must be a subclass of `base`, itself a "module:Class": a name may come from a checkpoint,
    and is never a way to call anything else.

    >>> ENCODERS = Registry("encoder", {"multizoom": "encoders.multizoom:MultiZoom"}, base="encoders.base:Encoder")
    >>> ENCODERS.make("multizoom", width=64)
    >>> ENCODERS.make("my_package.my_module:MyEncoder", width=64)  # needs no registration
    """

    def __init__(self, kind: str, entries: dict[str, str], *, base: str):
        super().__init__(entries)
        self.kind, self.base = kind, base

    def resolve(self, name: str) -> type:
        """Return the class called `name`; ValueError names the known ones."""
        path = name if ":" in name else self.get(name)
        if path is None:
            raise ValueError(
                f"unknown {self.kind} {name!r}; known: {', '.join(sorted(self))} (or 'module:Class' for your own)"
            )
        try:
            found, base = _import(path), _import(self.base)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"{self.kind} {name!r} cannot be imported: {error}") from error
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ValueError(f"{self.kind} {name!r} is not a subclass of {self.base}")
        return found

    def make(self, name: str, **config: Any) -> Any:
        """Construct the class called `name`; TypeError on options that it does not have names those that it has."""
        found = self.resolve(name)
        parameters = inspect.signature(found).parameters
        unknown = [option for option in config if option not in parameters]
        if unknown and not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
            raise TypeError(
                f"{self.kind} {name!r} has no option {', '.join(map(repr, unknown))}; known: {', '.join(parameters)}"
            )
        return found(**config)


def _import(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
