"""Flags from a dataclass, and the parser's complaints in one line."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from jsonargparse import ArgumentParser

from collapselab.cli._parsing import Told, add_fields, field_docs, parsed, parser_of
from collapselab.core.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Train something.

    Attributes:
        seed: Everything random comes from it,
            whatever it is.
        loss: Which loss.
        hidden: Widths: outer to inner.
    """

    seed: int = 0
    loss: Literal["ce", "mse"] = "ce"
    rate: float = 0.1
    nesterov: bool = False
    hidden: tuple[int, ...] = (8, 4)
    limit: int | None = None


def parser() -> ArgumentParser:
    made = parser_of("run recipe", "Train something.")
    made.add_argument("--config", action="config", help="a YAML file")
    add_fields(made, Recipe)
    made.add_argument("place", type=str, metavar="PLACE", help="where")
    return made


def test_fields_are_flags_with_their_documentation() -> None:
    assert field_docs(Recipe) == {
        "seed": "Everything random comes from it, whatever it is.",
        "loss": "Which loss.",
        "hidden": "Widths: outer to inner.",
    }
    text = parser().format_help()
    assert "Everything random comes from it" in text
    assert "default: (8, 4)" in text


def test_values_have_their_types() -> None:
    given = ["here", "--seed", "3", "--hidden", "[5]", "--rate=2", "--nesterov", "true", "--limit", "4"]
    found = parsed(parser(), given)
    assert (found.seed, found.hidden, found.rate, found.nesterov, found.limit) == (3, (5,), 2.0, True, 4)
    assert isinstance(found.rate, float)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "PLACE must be given, got nothing"),
        (["a", "b"], "unexpected argument 'b'"),
        (["a", "--sed", "1"], "no flag is called --sed; did you mean --seed?"),
        (["a", "--see", "1"], "no flag is called --see; did you mean --seed?"),
        (["a", "--zzz"], "no flag is called --zzz"),
        (["a", "--lr=3"], "no flag is called --lr; did you mean --rate?"),
        (["a", "--seed"], "--seed needs a value, got none"),
        (["a", "--seed", "x"], "--seed: expected an integer, got x"),
        (["a", "--seed", "1.5"], "--seed: expected an integer, got 1.5"),
        (["a", "--seed", "null"], "--seed: expected an integer, got None"),
        (["a", "--loss", "mae"], "--loss: expected one of 'ce', 'mse', got mae"),
        (["a", "--rate", "fast"], "--rate: expected a finite number, got fast"),
        (["a", "--rate", "nan"], "--rate: expected a finite number, got nan"),
        (["a", "--rate", "inf"], "--rate: expected a finite number, got inf"),
        (["a", "--nesterov", "maybe"], "--nesterov: expected true or false, got maybe"),
        (["a", "--hidden", "3"], '--hidden: expected a list such as [1, 2] or ["name"], got 3'),
        (["a", "--hidden", "[x]"], "--hidden: expected an integer, got x"),
        (["a", "--limit", "x"], "--limit: expected an integer or null, got x"),
        (["a", "--config", "/no/c.yaml"], "--config: no file /no/c.yaml"),
        (["a", "--print_config=foo"], 'Invalid option "foo" for --print_config'),
    ],
)
def test_complaints(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message) + re.escape(" (see collapselab run recipe --help)")):
        parsed(parser(), arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sed: 3\n", "--config: no key is called 'sed'; did you mean seed?"),
        ("seed: x\n", "--seed: expected an integer, got x"),
        ("- 1\n", "--config: expected lines of key: value, got '- 1'"),
        ("", "--config: expected lines of key: value, got ''"),
        ("a: [1\n", "--config: not YAML: while parsing"),
        ("seed:\n  deep: 1\n", "--seed: expected an integer"),
    ],
)
def test_a_configuration_file_is_read_strictly(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=re.escape(message)):
        parsed(parser(), ["a", "--config", str(file)])


def test_flags_after_the_file_win(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("seed: 5\nloss: mse\n")
    found = parsed(parser(), ["a", "--config", str(file), "--seed", "6"])
    assert (found.seed, found.loss) == (6, "mse")


def test_the_printed_configuration_is_one_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(Told) as told:
        parsed(parser(), ["a", "--seed", "6", "--print_config"])
    assert told.value.answer.document["config"]["seed"] == 6
    file = tmp_path / "c.yaml"
    file.write_text(told.value.answer.text)
    assert parsed(parser(), ["a", "--config", str(file)]).seed == 6
