"""`list`, `describe`, `cite`: everything that is registered can be looked up, and rests on a known source."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collapselab.cli import main
from collapselab.cli._catalogue import KINDS, PARTS
from collapselab.core.cite import parse, references
from collapselab.metrics import REGISTRY
from collapselab.records.families import family_title

Said = Callable[..., dict[str, Any]]


def names(kind: str) -> list[str]:
    return [entry["name"] for entry in _document("list", kind)[kind]]


def _document(*arguments: str) -> dict[str, Any]:
    from collapselab.cli import _main

    return dict(_main._answer(list(arguments)).document)


def test_everything_there_is_is_listed(said: Said) -> None:
    document = said("list")
    assert set(document) - {"schema_version"} == set(KINDS)
    for kind, entries in KINDS.items():
        assert {entry["name"] for entry in document[kind]} == set(entries())
        assert all(entry["label"] for entry in document[kind])
    metric = next(entry for entry in document["metrics"] if entry["name"] == "nc1_pinv")
    assert metric["family"] == "variability"
    assert (metric["at_collapse"], metric["needs"], metric["source"]) == (0.0, ["scatter"], "papyan2020")


def test_the_list_is_one_line_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "metrics"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == names("metrics")
    families = [line for line in lines[1:] if not line.startswith("  ")]
    assert families == [family_title(name) for name in dict.fromkeys(m.family for m in REGISTRY.values())]


@pytest.mark.parametrize("kind", list(KINDS))
def test_everything_listed_can_be_described_and_cited(kind: str) -> None:
    for name in names(kind):
        described = _document("describe", name)
        every = [described, *described.get("also", ())]
        assert {one["name"] for one in every} == {name}
        of_kind = every[-1] if kind == "models" else every[0]
        assert _document("describe", name, "--kind", kind)["kind"] == of_kind["kind"]
        sources = [name] if kind == "sources" else list(dict.fromkeys(one["source"] for one in every))
        assert set(sources) <= set(references())
        cited = _document("cite", name)
        assert cited["keys"] == {name: sources}
        assert list(parse(cited["bibtex"])) == sources


def test_a_name_stands_for_one_thing_and_perhaps_the_model_about_it() -> None:
    known = [name for kind, entries in KINDS.items() if kind != "models" for name in entries()]
    assert len(known) == len(set(known))
    parts = {name for kind in PARTS for name in KINDS[kind]()}
    assert set(KINDS["models"]()) & set(known) <= parts


def test_a_model_says_all_of_itself(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    document = said("describe", "cross_entropy", "--kind", "models")
    assert (document["kind"], document["states"], document["losses"]) == ("model", "landscape", ["cross_entropy"])
    assert document["attained"]
    assert document["benign"]
    assert {"strength_times_classes", "decay_head_to_zero"} <= document["thresholds"].keys()
    assert document["python"] == "from collapselab.theory import CrossEntropyFeatures"
    assert document["fields"][0]["type"] == "Problem"
    assert said("describe", "cross_entropy")["also"] == [{k: v for k, v in document.items() if k != "schema_version"}]
    assert main(["describe", "cross_entropy"]) == 0
    text = capsys.readouterr().out
    for line in ("  collapselab train --loss cross_entropy", "  collapselab predict --loss cross_entropy ..."):
        assert line in text.splitlines()
    assert "All classes have the same number of samples." in text


def test_an_unknown_kind_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "mse", "--kind", "model"]) == 2
    assert "--kind: nothing is listed under 'model'; did you mean models?" in capsys.readouterr().err


def test_a_dynamics_says_what_it_is(said: Said) -> None:
    document = said("describe", "squared_error_flow")
    assert (document["states"], document["attained"], document["thresholds"]) == ("dynamics", None, {})


def test_a_metric_says_all_of_itself(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    document = said("describe", "nc1_pinv")
    assert document["kind"] == "metric"
    assert document["symbol"] == REGISTRY["nc1_pinv"].symbol
    assert document["range"] == [0.0, None]
    assert document["needs"] == ["scatter"]
    assert "rotation" in document["invariant_under"]
    assert document["at_collapse_for"][0] == {"num_classes": 10, "num_features": 512, "value": 0.0}
    assert {"text", "args", "returns", "raises"} <= document["documentation"].keys()
    assert any(convention["paper"] == "papyan2020" for convention in document["conventions"])
    assert main(["describe", "nc1_pinv"]) == 0
    text = capsys.readouterr().out
    for word in (
        "formula",
        "range         0 to inf",
        "at collapse",
        "unchanged by",
        "needs",
        "no value",
        "Papyan, Han",
    ):
        assert word in text


def test_a_limit_that_depends_on_the_numbers_of_classes_and_features_is_shown_for_some(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["describe", "nc2_equinorm_means"]) == 0
    assert "0 for K = 10, d = 512" in capsys.readouterr().out
    assert main(["describe", "minimum_distance"]) == 0
    assert re.search(r"1\.4907\d* for K = 10, d = 512; .* K = 1000, d = 512", capsys.readouterr().out)


def test_a_recipe_shows_its_claim_and_settings(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    document = said("describe", "watch-collapse")
    assert document["kind"] == "recipe"
    assert document["claim"].endswith(".")
    fields = {field["name"]: field for field in document["fields"]}
    assert fields["epochs"]["default"] == 300
    assert fields["epochs"]["type"] == "int"
    assert all(field["help"] for field in fields.values())
    assert main(["describe", "watch-collapse"]) == 0
    assert "  --epochs int = 300\n      Passes over" in capsys.readouterr().out


def test_describe_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    """Its settings are told as they are typed, and where its class is."""
    assert main(["describe", "simplex_etf"]) == 0
    out = capsys.readouterr().out
    assert "  --head.orientation axes | blocks | random = axes\n      axes for the centred axes" in out
    assert "  collapselab train --head simplex_etf\n  from collapselab.training.heads import SimplexETF" in out


def test_citations_come_once_in_the_order_asked(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    document = said("cite", "wu2024", "nc1_pinv", "papyan2020")
    assert [entry["key"] for entry in document["entries"]] == ["wu2024", "papyan2020"]
    assert main(["cite", "wu2024", "nc1_pinv", "papyan2020"]) == 0
    assert capsys.readouterr().out.strip() == document["bibtex"]


def test_a_run_cites_what_it_used_and_nothing_else(finished: Path, said: Said) -> None:
    from collapselab.records import RunFolder
    from collapselab.training import DATA, LOSSES, NETWORKS

    keys = said("cite", str(finished))["keys"][str(finished)]
    rows = RunFolder(finished).observations()
    measured = {name for row in rows for name, one in row.result.measurements.items() if one.undefined is None}
    measured |= {name for row in rows for name, one in row.result.per_class.items() if one.undefined is None}
    parts = {DATA["digits"].source, NETWORKS["mlp"].source, LOSSES["cross_entropy"].source}
    assert set(keys) == {"papyan2020"} | parts | {REGISTRY[name].source for name in measured}
    assert keys[0] == "papyan2020"
    assert "greydanus2024" not in keys
