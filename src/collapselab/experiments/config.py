"""A recipe's fields as they are kept in a record, and back."""

import dataclasses
import hashlib
import json
from typing import Any

from collapselab.core.errors import InputError, UnknownName
from collapselab.experiments._spec import REGISTRY, Experiment, Recipe
from collapselab.records.schema import Run


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
        Field to value; tuples are lists.
    """
    fields = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}  # pyright: ignore[reportArgumentType]
    return json.loads(json.dumps(fields, allow_nan=False))


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
    try:
        entry = REGISTRY[run.name]
    except UnknownName as error:
        raise InputError(f"the run cannot go on: {error}") from error
    known = {field.name for field in dataclasses.fields(entry.cls)}
    if known != run.config.keys():
        differing = ", ".join(sorted(known ^ run.config.keys()))
        raise InputError(f"the run was made by another version of {run.name}: fields that differ: {differing}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in run.config.items()}
    return entry.cls(**values)


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
    differing = [key for key in sorted({*config, *run.config}) if config.get(key) != run.config.get(key)]
    if differing:
        shown = "; ".join(f"{key} was {run.config.get(key)!r}, now {config.get(key)!r}" for key in differing)
        raise InputError(f"a run goes on with the settings it began with: {shown}")
