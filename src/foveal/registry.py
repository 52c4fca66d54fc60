"""Registries of what users choose by name: methods, learners, perturbations, environments, saliency maps.

A decorator registers a class or function. On first use a registry imports every module of its package, then every
installed entry point of its group, so neither a new file here nor a plug-in in another distribution changes an existing
file.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from foveal.errors import FovealError

T = TypeVar("T")
PLUGINS: list[str] = []
"""Modules of the user's own that were imported: other processes need them too."""


def import_plugins(modules: Sequence[str]) -> None:
    """Import modules of the user's own, which register things; the current folder is searched too.

    Raises:
        FovealError: one can't be imported.
    """
    if modules:
        search_here()
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise FovealError(f"--import {module}: {error}") from error
        if module not in PLUGINS:
            PLUGINS.append(module)


def search_here() -> None:
    """Search the current folder for modules too, as Python does where it is started without a script."""
    if "" not in sys.path:
        sys.path.insert(0, "")


LEAST_PART = 3
"""Letters that a word needs for names that contain it to be proposed."""


def nearest(name: str, names: list[str]) -> str:
    """The end of an error message: the names that contain the wanted one or are most like it, or else all of them."""
    containing = sorted((n for n in names if name in n), key=len) if len(name) >= LEAST_PART else []
    close = list(dict.fromkeys([*containing, *difflib.get_close_matches(name, names, n=3, cutoff=0.5)]))[:3]
    if close:
        return f"did you mean {' or '.join(repr(n) for n in close)}?"
    return f"choose one of: {', '.join(sorted(names)) or 'none is registered'}"


class Registry(Generic[T]):
    """A table of name -> object, filled by ``register`` and by entry points of the same name.

    Args:
        kind: what an entry is called in error messages, e.g. ``"method"``.
        package: the package whose modules register themselves when imported, and the name of the entry point group.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that registers what it decorates under ``name``.

        Raises:
            FovealError: something else has that name.
        """

        def enter(entry: T) -> T:
            known = self._entries.get(name)
            if known is not None and _origin(known) != _origin(entry):
                raise FovealError(f"{self.kind} {name!r} is already registered by {_origin(known)}; pick another name")
            self._entries[name] = entry
            return entry

        return enter

    def get(self, name: str) -> T:
        """The entry called ``name``.

        Raises:
            FovealError: there is none; the message has the nearest names.
        """
        self._discover()
        if name not in self._entries:
            raise FovealError(f"unknown {self.kind} {name!r}: {nearest(name, self.names())}")
        return self._entries[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        self._discover()
        return sorted(self._entries)

    def about(self, name: str) -> str:
        """What an entry is, in a line: the first of its module's docstring where it is alone there, or else of its own.

        Raises:
            FovealError: there is none of that name.
        """
        entry = self.get(name)
        home = _home(entry)
        alone = sum(_home(other) == home for other in self._entries.values()) == 1
        text = (inspect.getdoc(sys.modules[home]) if alone and home in sys.modules else None) or inspect.getdoc(entry)
        return " ".join((text or "").partition("\n\n")[0].split())

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=self.package):
            self.register(point.name)(point.load())


def _home(entry: object) -> str:
    return str(getattr(entry, "__module__", "?"))


def _origin(entry: object) -> str:
    return f"{_home(entry)}.{getattr(entry, '__qualname__', repr(entry))}"
