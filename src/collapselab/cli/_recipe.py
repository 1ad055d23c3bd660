"""The flags of a recipe: one for each field, or one for each setting of a field that is a part of its own."""

import argparse
import contextlib
import dataclasses
import re
import tempfile
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from jsonargparse import ArgumentParser, Namespace

from collapselab.cli._parsing import add_fields, default_of, field_docs, nearest, parsed, plainly
from collapselab.core.errors import InputError
from collapselab.records import RunFolder
from collapselab.records.flat import tupled
from collapselab.records.store import read_record

if TYPE_CHECKING:
    from collapselab.experiments import Experiment, Recipe
    from collapselab.experiments.config import Part

NONE = "none"
"""What is typed for a part that is left out."""


class Flags:
    """The flags of one recipe, for the parts that were chosen.

    Args:
        entry: The recipe's declaration.
        build: Gives a parser with the flags that are not the recipe's own.
    """

    def __init__(self, entry: "Experiment", build: "typing.Callable[[], ArgumentParser]") -> None:
        from collapselab.experiments.config import config_of, parts_of

        self._entry = entry
        self._build = build
        self._parts = parts_of(entry.cls)
        self._defaults = config_of(entry.cls())

    def parse(self, arguments: Sequence[str], *, stored: Mapping[str, Any] | None = None) -> tuple[Namespace, "Recipe"]:
        """Values of all flags, and the recipe.

        Args:
            arguments: What was typed after the name of the recipe.
            stored: The configuration of a run that goes on; it takes the place of the defaults.

        Returns:
            The values, and the recipe that they make.

        Raises:
            InputError: If the arguments are not what the flags take.
        """
        from collapselab.experiments.config import recipe_from

        typed = [self._spelled(argument) for argument in self._joined(arguments)]
        before = self._defaults if stored is None else {**self._defaults, **stored}
        with self._configured(typed) as (ready, given):
            before = _over(before, given, self._parts)
            named = {field: self._named(field, ready) for field in self._parts}
            before = _over(before, {field: name for field, name in named.items() if name is not None}, self._parts)
            self._refuse_foreign(ready, before)
            try:
                values = parsed(self._parser(before), ready)
            except InputError as error:  # which part is told as it is typed
                raise InputError(re.sub(r"--(\w+)\.name\b", r"--\1", str(error))) from error
        config = {field.name: _plain(values.get(field.name, {})) for field in dataclasses.fields(self._entry.cls)}
        for field in self._parts:
            if config[field] is not None and config[field].get("name") == NONE and self._parts[field].optional:
                config[field] = None
        return values, recipe_from(self._entry, config)

    def _chosen(self, field: str) -> bool:
        return field in self._parts and self._parts[field].registry is not None

    def _joined(self, arguments: Sequence[str]) -> list[str]:
        """``--loss focal`` as ``--loss=focal``, so that a flag and its value are one."""
        joined: list[str] = []
        rest = list(arguments)
        while rest:
            first = rest.pop(0)
            names = first.startswith("--") and self._chosen(first[2:].removesuffix(".name"))
            if names and rest and not rest[0].startswith("--"):
                first = f"{first}={rest.pop(0)}"
            joined.append(first)
        return joined

    def _spelled(self, argument: str) -> str:
        """``--loss=focal`` as ``--loss.name=focal``."""
        flag, equals, value = argument.partition("=")
        return f"{flag}.name{equals}{value}" if flag.startswith("--") and self._chosen(flag[2:]) else argument

    def _named(self, field: str, arguments: Sequence[str]) -> str | None:
        """What a flag chooses for a part, if one does."""
        part = self._parts[field]
        if part.registry is None:
            return None
        names = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"--{field}.name=")]
        if not names:
            return None
        if names[-1] not in part.registry and not (part.optional and names[-1] == NONE):
            known = [*part.registry, *([NONE] if part.optional else [])]
            hint = nearest(names[-1], known) or f"; known: {', '.join(known)}"
            raise InputError(f"--{field}: no {part.registry.kind} is called {names[-1]!r}{hint}")
        return names[-1]

    def _refuse_foreign(self, arguments: Sequence[str], chosen: Mapping[str, Any]) -> None:
        """Refuse a flag for a setting that the part which was chosen does not have."""
        for argument in arguments:
            field, dot, setting = argument.partition("=")[0].removeprefix("--").partition(".")
            if not (argument.startswith("--") and dot and field in self._parts):
                continue
            known = _settings(self._parts[field], chosen[field])
            if setting.replace("-", "_") not in (*known, "name"):
                what = field if self._parts[field].registry is None else f"{field} {(chosen[field] or {})['name']}"
                hint = nearest(setting, known) or f"; it has {', '.join(known) or 'none'}"
                raise InputError(f"--{field}.{setting}: {what} has no such setting{hint}")

    @contextlib.contextmanager
    def _configured(self, arguments: list[str]) -> Iterator[tuple[list[str], dict[str, Any]]]:
        """The arguments with configuration files in which every part is a mapping, and what those files choose."""
        given: dict[str, Any] = {}
        ready = list(arguments)
        with tempfile.TemporaryDirectory(prefix="collapselab-") as folder:
            for at, argument in enumerate(arguments):
                file = _config_file(arguments, at)
                content = None if file is None else _settings_in(file, self._entry.name)
                if content is None:
                    continue
                content = {key: self._whole(key, value) for key, value in content.items()}
                for field in self._parts:
                    name = self._named(field, arguments)
                    if name is not None and isinstance(content.get(field), dict) and content[field]["name"] != name:
                        del content[field]  # settings of a part that a flag replaces by another one
                given = _over(given, content, self._parts)
                copy = Path(folder) / f"{at}.yaml"
                copy.write_text(yaml.safe_dump(content))
                ready[at] = f"--config={copy}" if argument.startswith("--config=") else str(copy)
            yield ready, given

    def _whole(self, key: str, value: Any) -> Any:
        if not self._chosen(key):
            return value
        if value is None and self._parts[key].optional:
            return {"name": NONE}
        whole = {"name": value} if isinstance(value, str) else value
        if not isinstance(whole, dict) or not isinstance(whole.get("name"), str):
            raise InputError(f"--config: {key} must be a name or a mapping with the key name, got {value!r}")
        return whole

    def _parser(self, chosen: Mapping[str, Any]) -> ArgumentParser:
        parser = self._build()
        add_fields(parser, self._entry.cls, skip=set(self._parts))
        known = {field.name for field in dataclasses.fields(self._entry.cls)} - set(self._parts)
        parser.set_defaults({key: tupled(chosen[key]) for key in known if key in chosen})
        words = field_docs(self._entry.cls)
        for field, part in self._parts.items():
            _add_part(parser, field, part, chosen[field], words.get(field, ""))
        return parser


def place_asked(arguments: Sequence[str]) -> tuple[str | None, bool]:
    """Which folder is asked for and whether its run is to go on, before the recipe's own flags are known.

    Args:
        arguments: What was typed after the name of the recipe.

    Returns:
        ``--out`` and ``--resume``, from flags or from a configuration file.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--out")
    parser.add_argument("--resume", action="store_true")
    try:
        typed, _ = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError:
        return None, False  # the recipe's parser says what is wrong
    out, resume = typed.out, typed.resume
    for at in range(len(arguments)):
        file = _config_file(arguments, at)
        content = None if file is None else _mapping_in(file)
        if content is not None:
            out = content.get("out") if out is None else out
            resume = resume or content.get("resume") is True
    return out if out is None else str(out), resume


def _add_part(parser: ArgumentParser, field: str, part: "Part", settings: Mapping[str, Any] | None, words: str) -> None:
    given = dict(settings or {"name": NONE})
    group = parser.add_argument_group(field if part.registry is None else f"{field}: {given['name']}", words)
    if part.registry is not None:
        names = (*part.registry, *((NONE,) if part.optional else ()))
        if given["name"] not in names:
            part.value(given)  # says what is wrong with the name
        group.add_argument(
            f"--{field}.name",
            type=Literal[names],
            default=given["name"],
            help=f"which {part.registry.kind}; --{field} NAME for short, --{field} NAME --help for its settings",
        )
    make = _class_of(part, settings)
    if make is None:
        return
    hints, docs = typing.get_type_hints(make), field_docs(make)
    for setting in dataclasses.fields(make):
        default = default_of(setting)
        if setting.name in given:
            default = tupled(given[setting.name])
        name = f"--{field}.{setting.name}"
        group.add_argument(name, type=hints[setting.name], default=default, help=plainly(docs.get(setting.name, "")))


def _class_of(part: "Part", settings: Mapping[str, Any] | None) -> type | None:
    if part.registry is None:
        return part.make
    name = NONE if settings is None else settings["name"]
    return part.registry[name].make if name in part.registry else None


def _settings(part: "Part", settings: Mapping[str, Any] | None) -> list[str]:
    make = _class_of(part, settings)
    return [] if make is None else [field.name for field in dataclasses.fields(make)]


def _over(before: Mapping[str, Any], after: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Settings over settings: those of a part are kept as long as it stays the same part."""
    merged = dict(before)
    for key, value in after.items():
        old = merged.get(key)
        new = {"name": value} if key in parts and isinstance(value, str) else value
        keep = isinstance(old, dict) and isinstance(new, dict) and old.get("name") == new.get("name")
        merged[key] = dict(old or {}) | dict(new) if keep else new
    return merged


def _config_file(arguments: Sequence[str], at: int) -> str | None:
    if arguments[at].startswith("--config="):
        return arguments[at].partition("=")[2]
    return arguments[at] if at > 0 and arguments[at - 1] == "--config" else None


def _settings_in(file: str, recipe: str) -> dict[str, Any] | None:
    """What a configuration file says: settings, or the record of a run of the same recipe, which holds them."""
    content = _mapping_in(file)
    if not Path(file).is_dir() and (content is None or "config" not in content):
        return content
    try:
        run = RunFolder(file).read() if content is None else read_record(file)
    except InputError as error:
        raise InputError(f"--config: {error}") from error
    if run.name != recipe:
        raise InputError(f"--config: {file} must be a run of {recipe}, got one of {run.name}")
    return run.config


def _mapping_in(file: str) -> dict[str, Any] | None:
    """What a configuration file holds; None if it is not one, which the parser says in its own words."""
    try:
        content = yaml.safe_load(Path(file).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return content if isinstance(content, dict) else None


def _plain(value: Any) -> Any:
    return {key: _plain(entry) for key, entry in vars(value).items()} if isinstance(value, Namespace) else value
