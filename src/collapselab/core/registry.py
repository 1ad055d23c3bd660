"""A mapping that fills itself from the modules of a package and refuses duplicates."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from collapselab.core.errors import CollapselabError, UnknownName

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Named things of one kind, found by importing every public module of a package once.

    Adding a thing is adding a file: its decorator calls `add`, and the first look-up imports the package's modules.

    Args:
        kind: What one entry is called in messages, such as ``metric``.
        package: Dotted name of the package whose modules define the entries.
        order: Key by which entries are listed; by default in the order of modules and definitions.

    Example:
        >>> colours = Registry("colour", package=None)
        >>> colours.add("red", 1)
        >>> colours["rad"]
        Traceback (most recent call last):
        ...
        collapselab.core.errors.UnknownName: no colour is called 'rad'; did you mean 'red'?
    """

    def __init__(self, kind: str, *, package: str | None, order: Callable[[T], Any] | None = None) -> None:
        self.kind = kind
        self._order = order
        self._package = package
        self._entries: dict[str, T] = {}
        self._filled = package is None

    def add(self, name: str, entry: T) -> None:
        """Register an entry.

        Args:
            name: Its public name.
            entry: The thing itself.

        Raises:
            CollapselabError: If the name is taken.
        """
        if name in self._entries:
            raise CollapselabError(f"two entries of kind {self.kind} are called {name!r}")
        self._entries[name] = entry

    def _fill(self) -> None:
        if self._filled or self._package is None:
            return
        self._filled = True  # before the imports: a module may look at the registry while it is filled
        package = importlib.import_module(self._package)
        for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
            if not module.startswith("_"):
                importlib.import_module(f"{self._package}.{module}")
        if self._order is not None:
            order = self._order
            self._entries = dict(sorted(self._entries.items(), key=lambda item: order(item[1])))

    def __getitem__(self, name: str) -> T:
        self._fill()
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownName(self._no_such(name)) from None

    def __contains__(self, name: object) -> bool:
        self._fill()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return iter(self._entries)

    def __len__(self) -> int:
        self._fill()
        return len(self._entries)

    def _no_such(self, name: str) -> str:
        near = difflib.get_close_matches(str(name), self._entries, n=3, cutoff=0.5)
        hint = " or ".join(repr(n) for n in near)
        known = f"did you mean {hint}?" if near else f"known: {', '.join(sorted(self._entries))}"
        return f"no {self.kind} is called {name!r}; {known}"
