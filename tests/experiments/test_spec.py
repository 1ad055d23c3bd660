"""What every experiment declares, and its fields as a record keeps them."""

import dataclasses
import json
import re

import pytest

from collapselab.core.cite import references
from collapselab.core.errors import CollapselabError, InputError, UnknownName
from collapselab.experiments import REGISTRY, Recipe, experiment
from collapselab.experiments.config import config_of, declared, digest_of, recipe_of, require_same, younger_recipe_of
from collapselab.experiments.recipes.watch_collapse import WatchCollapse
from collapselab.records import Claim, Run, provenance


def record(config: dict[str, object], *, name: str = "watch-collapse") -> Run:
    claim = Claim(sentence="It collapses.", source="papyan2020")
    return Run(
        name=name, title="A run", status="running", claim=claim, config=config, epochs=1, provenance=provenance()
    )


@pytest.mark.parametrize("name", REGISTRY)
def test_contract(name: str) -> None:
    """Named after its class, sourced, with a claim of one sentence and a help text for each field."""
    entry = REGISTRY[name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert entry.source in references()
    assert entry.claim.endswith(".")
    assert entry.summary.endswith(".")
    assert entry.title
    assert isinstance(entry.cls(), Recipe)
    assert isinstance(entry.cls.smoke(), entry.cls)
    for field in dataclasses.fields(entry.cls):
        assert re.search(rf"^        {field.name}: \S", entry.cls.__doc__, re.MULTILINE), field.name


@pytest.mark.parametrize("name", REGISTRY)
def test_configuration_survives_json(name: str) -> None:
    for recipe in (REGISTRY[name].cls(), REGISTRY[name].cls.smoke()):
        config = json.loads(json.dumps(config_of(recipe)))
        assert recipe_of(record(config, name=name)) == recipe
        assert declared(recipe) is REGISTRY[name]


def test_unknown_experiment() -> None:
    with pytest.raises(UnknownName, match="no experiment is called 'watch_collapse'; did you mean 'watch-collapse'"):
        REGISTRY["watch_collapse"]


def test_two_experiments_of_one_name() -> None:
    with pytest.raises(CollapselabError, match="two entries of kind experiment are called 'watch-collapse'"):
        experiment(source="papyan2020", claim="No.")(WatchCollapse)


def test_a_class_that_is_not_registered() -> None:
    @dataclasses.dataclass(frozen=True)
    class Stray(WatchCollapse):
        pass

    with pytest.raises(InputError, match="must be an instance of a registered recipe, got Stray"):
        declared(Stray())


def test_digest_depends_on_values_and_not_on_order() -> None:
    assert digest_of("a", {"x": 1, "y": 2}) == digest_of("a", {"y": 2, "x": 1})
    assert len({digest_of("a", {"x": 1}), digest_of("a", {"x": 2}), digest_of("b", {"x": 1})}) == 3


def test_a_record_of_another_version() -> None:
    config = config_of(WatchCollapse())
    del config["seed"]
    with pytest.raises(InputError, match="another version of watch-collapse: fields that differ: colour, seed"):
        recipe_of(record({**config, "colour": "red"}))
    with pytest.raises(InputError, match="another version of watch-collapse: fields that differ: colour, seed"):
        younger_recipe_of(record({**config, "colour": "red"}))
    with pytest.raises(InputError, match="another version of watch-collapse: fields that differ: seed"):
        recipe_of(record(config))
    assert younger_recipe_of(record(config)) == (WatchCollapse(), ("seed",))
    with pytest.raises(InputError, match="the run cannot go on: no experiment is called 'watch-paint'"):
        recipe_of(record(config, name="watch-paint"))


def test_another_configuration_names_the_fields() -> None:
    run = record(config_of(WatchCollapse()))
    config = config_of(WatchCollapse(seed=1, epochs=200))
    with pytest.raises(InputError, match="settings it began with: epochs was 300, now 200; seed was 0, now 1"):
        require_same(config, run, "watch-collapse")
    with pytest.raises(InputError, match="the run to resume must be of watch-paint, got one of watch-collapse"):
        require_same(config, run, "watch-paint")
