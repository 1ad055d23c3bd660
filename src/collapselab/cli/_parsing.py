"""Arguments of one verb: a parser that never exits, and its errors in one line."""

import argparse
import contextlib
import dataclasses
import difflib
import inspect
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from collapselab.cli._answer import Answer, Told
from collapselab.core.errors import InputError

_EPILOG = "Every verb also takes --json (one JSON document on standard output) and --debug (tracebacks)."

_KINDS = {
    "<class 'int'>": "an integer",
    "<class 'float'>": "a finite number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "text",
    "<class 'tuple'>": 'a list such as [1, 2] or ["name"]',
    "<class 'NoneType'>": "null",
}


def parser_of(verb: str, description: str) -> ArgumentParser:
    """A parser to add a verb's arguments to.

    Args:
        verb: The verb, with the recipe if it has one.
        description: What the verb does.

    Returns:
        A parser that raises instead of exiting and takes no shortened flags.
    """
    return ArgumentParser(
        prog=f"collapselab {verb}", description=description, epilog=_EPILOG, exit_on_error=False, allow_abbrev=False
    )


def add_fields(parser: ArgumentParser, configuration: type, *, skip: set[str] | None = None) -> None:
    """Make every field of a dataclass a flag, with what its documentation says of it.

    Args:
        parser: What to add to.
        configuration: A dataclass whose docstring has a section ``Attributes:`` or ``Args:``.
        skip: Fields that get no flag.
    """
    parser.add_class_arguments(configuration, None, skip=set(skip or ()), fail_untyped=False)
    words = field_docs(configuration)
    for action in parser._actions:
        if action.dest in words:
            action.help = plainly(words[action.dest])


def field_docs(configuration: type) -> dict[str, str]:
    """What a dataclass says of its fields.

    Args:
        configuration: A dataclass.

    Returns:
        Field to one line.
    """
    found = sections(inspect.getdoc(configuration) or "")
    entries = re.split(r"(?m)^(\w+):\s", found.get("attributes") or found.get("args") or "")
    return {name: " ".join(text.split()) for name, text in zip(entries[1::2], entries[2::2], strict=True)}


def plainly(text: str) -> str:
    """Words of a docstring as they stand in a terminal.

    Args:
        text: With marks around code.

    Returns:
        Without them.
    """
    return text.replace("``", "")


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """What a field of a dataclass is where nothing is given.

    Args:
        field: One of its fields.

    Returns:
        The default, made anew if it is made; None if there is none.
    """
    if field.default is not dataclasses.MISSING:
        return field.default
    return None if field.default_factory is dataclasses.MISSING else field.default_factory()


def sections(docstring: str) -> dict[str, str]:
    """A Google-style docstring taken apart.

    Args:
        docstring: Dedented text.

    Returns:
        Prose under ``text``, and one entry a section, by its name in small letters.
    """
    parts = re.split(r"(?m)^([A-Z]\w+):$", docstring)
    found = {"text": parts[0].strip()}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        found[name.lower()] = inspect.cleandoc(body)
    return found


def parsed(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parse, with every complaint as one line.

    Args:
        parser: The verb's parser.
        arguments: What came after the verb.

    Returns:
        The values.

    Raises:
        InputError: If the arguments are not what the parser takes.
        Told: If they ask for help or for the configuration; this is no fault.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            return parser.parse_args([_spelled(argument, parser) for argument in arguments])
    except argparse.ArgumentError as error:
        raise InputError(f"{_plain(error, parser)} (see {parser.prog} --help)") from error
    except SystemExit as asked:
        text = printed.getvalue().rstrip("\n")
        if any(argument.startswith("--print_config") for argument in arguments):
            raise Told(Answer({"config": yaml.safe_load(text)}, text)) from asked
        raise Told(Answer({"help": text}, text)) from asked


def _spelled(argument: str, parser: ArgumentParser) -> str:
    """Words of a flag may be joined by - or by _; the parser knows one of the two."""
    flag, equals, value = argument.partition("=")
    known = parser._option_string_actions
    if argument.startswith("--") and flag not in known:
        for spelling in ("--" + flag[2:].replace("-", "_"), "--" + flag[2:].replace("_", "-")):
            if spelling in known:
                return spelling + equals + value
    return argument


def _plain(error: argparse.ArgumentError, parser: ArgumentParser) -> str:
    """What jsonargparse says, as one short line that names argument, expectation and what came."""
    text = " ".join(str(error).split())
    for pattern, say in _PHRASES:
        found = re.fullmatch(pattern, text)
        if found is not None:
            return say(found, parser)
    return text


def _flag(key: str, parser: ArgumentParser) -> str:
    """A key as it is typed: a flag, or the name of a place."""
    action = next((action for action in parser._actions if action.dest == key), None)
    if action is None:
        return f"--{key}"
    return action.option_strings[0] if action.option_strings else str(action.metavar or key)


def _expected(found: re.Match[str], parser: ArgumentParser) -> str:
    literal = re.fullmatch(r"typing\.Literal\[(.*)\]", found["kind"])
    kind = f"one of {literal[1]}" if literal else _KINDS.get(found["kind"], found["kind"])
    return f"{_flag(found['key'], parser)}: expected {kind}, got {found['value']}"


def _expected_one(found: re.Match[str], parser: ArgumentParser) -> str:
    kinds = " or ".join(_KINDS.get(kind, kind) for kind in found["kinds"].split(", "))
    return f"{_flag(found['key'], parser)}: expected {kinds}, got {found['value']}"


def _unrecognised(found: re.Match[str], parser: ArgumentParser) -> str:
    first = found["rest"].split()[0]
    if not first.startswith("-"):
        return f"unexpected argument {first!r}"
    flag = first.split("=")[0]
    return f"no flag is called {flag}{nearest(flag, parser._option_string_actions)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name.

    Args:
        name: What was asked for.
        known: What there is.

    Returns:
        ``; did you mean ...?`` or nothing.
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _missing(found: re.Match[str], parser: ArgumentParser) -> str:
    names = {action.dest: action.metavar for action in parser._actions}
    wanted = [str(names.get(name) or name) for name in found["rest"].split(", ")]
    return f"{' and '.join(wanted)} must be given, got nothing"


def _unknown_key(found: re.Match[str], parser: ArgumentParser) -> str:
    group = found.groupdict().get("group")
    key = found["key"] if group is None else f"{group}.{found['key']}"
    return f"--config: no key is called {key!r}{nearest(key, [action.dest for action in parser._actions])}"


def _no_file(found: re.Match[str], parser: ArgumentParser) -> str:
    return f"{_flag(found['key'], parser)}: no file {found['file']}"


_KEY = r'Parser key "(?P<key>[^"]+)":?'
_PHRASES = (
    (rf"{_KEY} Expected a (?P<kind>.+?)\. Got value: (?P<value>.*)", _expected),
    (rf"{_KEY} Does not .* Subtypes: \[(?P<kinds>.*)\] Errors: .* Given value: (?P<value>.*)", _expected_one),
    (rf"{_KEY} (File does not exist|Path is not a file): '(?P<file>.*)'", _no_file),
    (rf"{_KEY} (?P<rest>.*)", lambda m, p: f"{_flag(m['key'], p)}: {m['rest']}"),
    (r"the following arguments are required: (?P<rest>.*)", _missing),
    (r"unrecognized arguments: (?P<rest>.*)", _unrecognised),
    (r"argument (?P<flag>\S+): expected one argument", lambda m, _: f"{m['flag']} needs a value, got none"),
    (r"Option '(?P<key>[^']+)' is not accepted", _unknown_key),
    (r"Group '(?P<group>[^']+)' does not accept option '(?P<key>[^']+)'", _unknown_key),
    (r"Problems parsing config: (?P<rest>.*)", lambda m, _: f"--config: not YAML: {m['rest']}"),
    (
        r"Unexpected config: ?(?P<rest>.*)",
        lambda m, _: f"--config: expected lines of key: value, got {m['rest'][:40]!r}",
    ),
)
"""Message of jsonargparse, and what to say instead."""
