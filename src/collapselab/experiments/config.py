"""A recipe's fields as they are kept in a record, and back."""

import contextlib
import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from collapselab.core.errors import InputError, UnknownName
from collapselab.core.registry import Registry
from collapselab.experiments._spec import REGISTRY, Experiment, Recipe
from collapselab.records.flat import flattened, tupled
from collapselab.records.schema import Run
from collapselab.training._choice import chosen_from, settings_of
from collapselab.training.parts import REGISTRIES


@dataclass(frozen=True)
class Part:
    """A field of a recipe that has settings of its own.

    Attributes:
        registry: What it is chosen from; None if its class is fixed.
        make: Its class; None if it is chosen from a registry.
        optional: Whether it may be left out.
    """

    registry: Registry[Any] | None
    make: type | None
    optional: bool

    @property
    def kind(self) -> str:
        """What it is called in messages."""
        if self.registry is None:
            return "settings"
        return f"{self.registry.kind} or none" if self.optional else self.registry.kind

    def settings(self, value: Any) -> dict[str, Any] | None:
        """The part as a configuration holds it.

        Args:
            value: An instance, or None.

        Returns:
            Its settings, with ``name`` if it is chosen from a registry.
        """
        if value is None:
            return None
        if self.registry is not None:
            return settings_of(self.registry, value)
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}

    def value(self, settings: Mapping[str, Any] | str | None) -> Any:
        """The part from what a configuration holds.

        Args:
            settings: What `settings` returned, or the name alone.

        Returns:
            An instance, or None.

        Raises:
            InputError: If there is no such name or setting.
        """
        if settings is None:
            if self.optional:
                return None
            raise InputError("a part of this recipe must be chosen, got null")
        if self.registry is not None:
            return chosen_from(self.registry, settings)
        if isinstance(settings, str):
            raise InputError(f"this part must be a mapping of settings, got {settings!r}")
        make: Any = self.make
        known = [field.name for field in dataclasses.fields(make)]
        for key in settings:
            if key not in known:
                raise InputError(f"{make.__name__.lower()} has the settings {', '.join(known)}, got {key!r}")
        return make(**{name: tupled(value) for name, value in settings.items()})


def parts_of(recipe: type) -> dict[str, Part]:
    """The fields of a recipe that have settings of their own.

    Args:
        recipe: A dataclass.

    Returns:
        Field to part.
    """
    found: dict[str, Part] = {}
    for name, hint in typing.get_type_hints(recipe).items():
        kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) or typing.get_args(hint) else (hint,)
        for kind in kinds:
            if isinstance(kind, type) and (kind in REGISTRIES or dataclasses.is_dataclass(kind)):
                registry = REGISTRIES.get(kind)
                found[name] = Part(registry, None if registry else kind, types.NoneType in kinds)
    return {field.name: found[field.name] for field in dataclasses.fields(recipe) if field.name in found}


def declared(recipe: Recipe) -> Experiment:
    """The declaration of a recipe.

    Args:
        recipe: An instance of a registered class.

    Returns:
        Its entry in the registry.

    Raises:
        InputError: If its class is not registered.
    """
    for entry in REGISTRY.values():
        if entry.cls is type(recipe):
            return entry
    raise InputError(f"experiment must be an instance of a registered recipe, got {type(recipe).__name__}")


def config_of(recipe: Recipe) -> dict[str, Any]:
    """Every field, as JSON keeps it.

    Args:
        recipe: A recipe.

    Returns:
        Field to value; tuples are lists, parts are mappings of their settings.
    """
    parts = parts_of(type(recipe))
    fields = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}  # pyright: ignore[reportArgumentType]
    plain = {name: parts[name].settings(value) if name in parts else value for name, value in fields.items()}
    return json.loads(json.dumps(plain, allow_nan=False))


def digest_of(name: str, config: dict[str, Any]) -> str:
    """What identifies a configuration.

    Args:
        name: Name of the experiment.
        config: Its fields.

    Returns:
        SHA-256 in hexadecimal.
    """
    return hashlib.sha256(json.dumps([name, config], sort_keys=True).encode()).hexdigest()


def recipe_of(run: Run) -> Recipe:
    """The recipe a record was made with.

    Args:
        run: A run's record.

    Returns:
        An equal recipe.

    Raises:
        InputError: If the experiment is not known here or its fields have changed since.
    """
    recipe, assumed = younger_recipe_of(run)
    if assumed:
        raise InputError(_of_another_version(run))
    return recipe


def younger_recipe_of(run: Run) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe of a record that may be older than some of its fields, which are then left at their defaults.

    What a default does may be another thing than what was done before there was a choice: this is for looking at what a
    run kept, and not for going on with it.

    Args:
        run: A run's record.

    Returns:
        The recipe, and the names of the fields that the record does not know.

    Raises:
        InputError: If the experiment is not known here, or the record has fields that it no longer has.
    """
    try:
        entry = REGISTRY[run.name]
    except UnknownName as error:
        raise InputError(f"the run cannot go on: {error}") from error
    known = tuple(field.name for field in dataclasses.fields(entry.cls))
    if not run.config.keys() <= set(known):
        raise InputError(_of_another_version(run))
    return recipe_from(entry, run.config), tuple(name for name in known if name not in run.config)


def _of_another_version(run: Run) -> str:
    known = {field.name for field in dataclasses.fields(REGISTRY[run.name].cls)}
    differing = ", ".join(sorted(known ^ run.config.keys()))
    return f"the run was made by another version of {run.name}: fields that differ: {differing}"


def recipe_from(entry: Experiment, config: Mapping[str, Any]) -> Recipe:
    """A recipe from a configuration.

    Args:
        entry: Its declaration.
        config: What `config_of` returned, or any of its fields.

    Returns:
        The recipe.
    """
    parts = parts_of(entry.cls)
    values: dict[str, Any] = {}
    for name, value in config.items():
        with naming(name, value):
            values[name] = parts[name].value(value) if name in parts else tupled(value)
    return entry.cls(**values)


@contextlib.contextmanager
def naming(part: str, settings: Any) -> Iterator[None]:
    """Let a complaint about a setting of a part say of which part it is.

    Args:
        part: The field that holds the part.
        settings: The part, or its settings by name.

    Yields:
        While the part is made or used.

    Raises:
        InputError: What was raised, with the name of the part before that of the setting.
    """
    try:
        yield
    except InputError as error:
        known = settings if isinstance(settings, Mapping) else vars(settings) if hasattr(settings, "__dict__") else {}
        first = str(error).partition(" ")[0]
        if first not in known or first == "name":
            raise
        raise InputError(f"{part}.{error}") from error


def require_same(config: dict[str, Any], run: Run, name: str) -> None:
    """Refuse to go on with a run under another configuration.

    Args:
        config: The fields asked for.
        run: The record of what was begun.
        name: The experiment asked for.

    Raises:
        InputError: If they differ; the message names the fields.
    """
    if run.name != name:
        raise InputError(f"the run to resume must be of {name}, got one of {run.name}")
    now, before = flattened(config), flattened(run.config)
    differing = [key for key in sorted({*now, *before}) if now.get(key) != before.get(key)]
    if differing:
        shown = "; ".join(f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in differing)
        raise InputError(f"a run goes on with the settings it began with: {shown}")
