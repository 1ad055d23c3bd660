"""What the registries of training hold: a frozen dataclass of settings, and what it says of itself."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from collapselab.core.errors import InputError, UnknownName
from collapselab.core.registry import Registry
from collapselab.records.flat import tupled

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A declared network, data set, loss, head, penalty, optimiser or schedule.

    Attributes:
        name: Its key on the command line and in records.
        label: A few words for a table.
        source: Key in ``references.bib``.
        make: The frozen dataclass; its fields are the settings.
    """

    name: str
    label: str
    source: str
    make: type[T]

    @property
    def summary(self) -> str:
        """First sentence of the class's documentation."""
        return (inspect.getdoc(self.make) or "").split("\n\n")[0].replace("\n", " ")


def by_name(choice: Choice[Any]) -> str:
    """Key by which choices are listed, whichever was imported first.

    Args:
        choice: One of a registry.

    Returns:
        Its name.
    """
    return choice.name


C = TypeVar("C")


def declare(registry: Registry[Choice[T]], name: str, *, label: str, source: str) -> Callable[[type[C]], type[C]]:
    """Register a frozen dataclass.

    Args:
        registry: Where to.
        name: Its key.
        label: A few words for a table.
        source: Key in ``references.bib``.

    Returns:
        A decorator that returns the class unchanged.
    """

    def register(cls: type[C]) -> type[C]:
        registry.add(name, Choice(name, label, source, cls))  # pyright: ignore[reportArgumentType]
        return cls

    return register


def settings_of(registry: Registry[Choice[T]], chosen: T) -> dict[str, Any]:
    """A choice as a configuration holds it: its key and its settings.

    Args:
        registry: Where its class is declared.
        chosen: An instance.

    Returns:
        ``name`` first, then every field.

    Raises:
        InputError: If its class is not declared there.
    """
    for name, choice in registry.items():
        if choice.make is type(chosen):
            fields = dataclasses.fields(chosen)  # pyright: ignore[reportArgumentType]
            return {"name": name} | {field.name: getattr(chosen, field.name) for field in fields}
    raise InputError(f"{registry.kind} must be one of {', '.join(registry)}, got {type(chosen).__name__}")


def chosen_from(registry: Registry[Choice[T]], settings: Mapping[str, Any] | str) -> T:
    """A choice from what a configuration holds.

    Args:
        registry: Where to look it up.
        settings: ``name`` and any of its fields, lists for tuples; or the name alone.

    Returns:
        An instance.

    Raises:
        InputError: If there is no such name or no such field.
    """
    given = {"name": settings} if isinstance(settings, str) else dict(settings)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f"{registry.kind} must be a name or a mapping with the key name, got {settings!r}")
    try:
        make = registry[name].make
    except UnknownName as error:
        raise InputError(str(error)) from error
    known = [field.name for field in dataclasses.fields(make)]  # pyright: ignore[reportArgumentType]
    for key in given:
        if key not in known:
            raise InputError(f"{registry.kind} {name} has the settings {', '.join(known) or 'none'}, got {key!r}")
    return make(**{key: tupled(value) for key, value in given.items()})


def class_named(registry: Registry[Choice[Any]], name: str) -> Any:
    """A declared class by its own name: what the package that fills a registry gives as an attribute.

    So a part in a file of its own can be imported from the package without being named there.

    Args:
        registry: Where it is declared.
        name: Name of the class.

    Returns:
        The class.

    Raises:
        AttributeError: If no declared class is called that.
    """
    if name[:1].isupper():  # names of modules come here as well, and must not fill the registry
        for choice in registry.values():
            if choice.make.__name__ == name:
                return choice.make
    raise AttributeError(f"no {registry.kind} is made by a class {name!r}")


def class_names(registry: Registry[Choice[Any]]) -> list[str]:
    """Names that `class_named` knows.

    Args:
        registry: Where they are declared.

    Returns:
        Names of classes.
    """
    return [choice.make.__name__ for choice in registry.values()]
