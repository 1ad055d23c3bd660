"""What a user may get wrong, and the words that tell her so: one table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from collapselab import ClassStats, LabelledFeatures, LinearHead, OnlineStats, feature_tap, measure
from collapselab.core.errors import CollapselabError, InputError, UndefinedMetric, UnknownName
from collapselab.evidence import read_features, write_features
from collapselab.evidence.files import FORMATS

H = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
Y = torch.tensor([0, 0, 1, 1])
FEATURES = LabelledFeatures(H, Y, 2)
PAIRS = [(H, Y)]


def classifier() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))


def with_entry(value: float) -> torch.Tensor:
    h = H.clone()
    h[2, 1] = value
    return h


def updated(*batches: tuple[Any, Any], **options: Any) -> OnlineStats:
    online = OnlineStats(**options)
    for h, y in batches:
        online.update(h, y)
    return online


Case = tuple[str, Callable[[], object], type[CollapselabError], str]

CASES: list[Case] = [
    # features
    (
        "features are a string",
        lambda: LabelledFeatures.of("h", Y),
        InputError,
        "features must be a tensor or an array, got str 'h'",
    ),
    (
        "features are ragged",
        lambda: LabelledFeatures.of([[1.0], [1.0, 2.0]], [0, 1]),
        InputError,
        "lists of unequal length",
    ),
    (
        "features are a vector",
        lambda: LabelledFeatures.of(H[0], Y),
        InputError,
        "features must be a matrix (samples, features), got Tensor of shape (2,)",
    ),
    (
        "features are maps",
        lambda: LabelledFeatures.of(torch.ones(4, 2, 3, 3), Y),
        InputError,
        "got Tensor of shape (4, 2, 3, 3)",
    ),
    (
        "features are integers",
        lambda: LabelledFeatures.of(H.long(), Y),
        InputError,
        "features must have a floating-point dtype",
    ),
    (
        "features are complex",
        lambda: LabelledFeatures.of(H.to(torch.complex64), Y),
        InputError,
        "must have a floating-point dtype, got Tensor of shape (4, 2) and dtype complex64",
    ),
    (
        "features are objects",
        lambda: LabelledFeatures.of(np.array([[None]]), [0]),
        InputError,
        "features must hold numbers",
    ),
    ("no samples", lambda: LabelledFeatures.of(H[:0], Y[:0]), InputError, "features must have at least one row"),
    ("no width", lambda: LabelledFeatures.of(H[:, :0], Y), InputError, "features must have at least one column"),
    (
        "a NaN",
        lambda: LabelledFeatures.of(with_entry(float("nan")), Y),
        InputError,
        "features must be finite, got nan at index (2, 1)",
    ),
    (
        "an infinity",
        lambda: LabelledFeatures.of(with_entry(float("-inf")), Y),
        InputError,
        "features must be finite, got -inf at index (2, 1)",
    ),
    # labels
    (
        "labels too many",
        lambda: LabelledFeatures.of(H, [0, 1, 1, 0, 1]),
        InputError,
        "labels must be one per row: 4 rows, 5 labels",
    ),
    (
        "labels are floats",
        lambda: LabelledFeatures.of(H, Y.float()),
        InputError,
        "labels must be integers, got Tensor of shape (4,) and dtype float32",
    ),
    (
        "labels are truth values",
        lambda: LabelledFeatures.of(H, Y.bool()),
        InputError,
        "labels must be integers, got Tensor of shape (4,) and dtype bool",
    ),
    (
        "labels are one-hot",
        lambda: LabelledFeatures.of(H, nn.functional.one_hot(Y)),
        InputError,
        "labels must be a vector",
    ),
    ("labels are words", lambda: LabelledFeatures.of(H, ["a", "a", "b", "b"]), InputError, "labels must hold numbers"),
    (
        "a negative label",
        lambda: LabelledFeatures.of(H, [0, -1, 1, 1]),
        InputError,
        "labels must lie in 0..1, got -1 at index 1",
    ),
    (
        "a label too large",
        lambda: LabelledFeatures.of(H, [0, 1, 2, 1], num_classes=2),
        InputError,
        "labels must lie in 0..1, got 2 at index 2",
    ),
    (
        "all ignored",
        lambda: LabelledFeatures.of(H, [7, 7, 7, 7], ignore_index=7),
        InputError,
        "at least one label must differ from ignore_index=7, got none",
    ),
    (
        "no classes",
        lambda: LabelledFeatures.of(H, Y, num_classes=0),
        InputError,
        "num_classes must be an integer of at least 1, got 0",
    ),
    (
        "classes are a float",
        lambda: LabelledFeatures.of(H, Y, num_classes=2.0),
        InputError,
        "num_classes must be an integer of at least 1, got 2.0",
    ),
    (
        "classes are a truth value",
        lambda: LabelledFeatures(H, Y, True),
        InputError,
        "num_classes must be an integer of at least 1, got True",
    ),
    # head
    ("weight is a vector", lambda: LinearHead.of(H[0]), InputError, "head weight must be a matrix (classes, features)"),
    ("weight has a NaN", lambda: LinearHead.of(with_entry(float("nan"))), InputError, "head weight must be finite"),
    (
        "bias too long",
        lambda: LinearHead.of(H, torch.ones(3)),
        InputError,
        "head bias must be a floating-point vector of 4 entries",
    ),
    (
        "bias are integers",
        lambda: LinearHead.of(H, torch.ones(4, dtype=torch.int64)),
        InputError,
        "head bias must be a floating-point vector",
    ),
    (
        "bias has an infinity",
        lambda: LinearHead.of(H, torch.full((4,), float("inf"))),
        InputError,
        "head bias must be finite",
    ),
    # moments
    ("nothing taken in", lambda: OnlineStats().stats(), InputError, "statistics need at least one sample, got none"),
    ("batches of two widths", lambda: updated((H, Y), (H[:, :1], Y)), InputError, "features must keep their width 2"),
    (
        "a batch with a NaN",
        lambda: updated((H, Y), (with_entry(float("nan")), Y)),
        InputError,
        "features must be finite",
    ),
    (
        "a label beyond the declared",
        lambda: updated((H, Y + 1), num_classes=2),
        InputError,
        "labels must lie in 0..1, got 2",
    ),
    (
        "merging two widths",
        lambda: ClassStats.of(FEATURES).merge(ClassStats.of(LabelledFeatures(H[:, :1], Y, 2))),
        InputError,
        "must agree in (num_classes, num_features), got (2, 2) and (2, 1)",
    ),
    (
        "merging two numbers of classes",
        lambda: ClassStats.of(FEATURES).merge(ClassStats.of(LabelledFeatures(H, Y, 3))),
        InputError,
        "got (2, 2) and (3, 2)",
    ),
    (
        "merging with and without scatter",
        lambda: ClassStats.of(FEATURES).merge(ClassStats.of(FEATURES, scatter=False)),
        InputError,
        "must both have the scatter or both lack it",
    ),
    ("moments from nowhere", lambda: ClassStats.load("nowhere.safetensors"), InputError, "no file nowhere.safetensors"),
    # measure
    ("nothing to measure", lambda: measure(None), InputError, "a path, or ClassStats, got NoneType"),
    ("features without labels", lambda: measure(H), InputError, "got Tensor of shape (4, 2) and dtype float32"),
    ("three things for two", lambda: measure((H, Y, 2)), InputError, "a pair (h, y)"),
    ("a model without data", lambda: measure(classifier()), InputError, "pass a loader, measure(model, loader)"),
    ("data without a model", lambda: measure(FEATURES, PAIRS), InputError, "a loader goes with a model only"),
    (
        "an unknown metric",
        lambda: measure(FEATURES, metrics=["nc1_pinw"]),
        UnknownName,
        "no metric is called 'nc1_pinw'; did you mean 'nc1_pinv'",
    ),
    (
        "a metric as a string",
        lambda: measure(FEATURES, metrics="nc1_pinv"),
        InputError,
        "got the string 'nc1_pinv'; write ['nc1_pinv']",
    ),
    ("no metric", lambda: measure(FEATURES, metrics=[]), InputError, "metrics must name at least one metric, got none"),
    (
        "an unknown layer",
        lambda: measure(classifier(), PAIRS, layer="22"),
        UnknownName,
        "no layer of Sequential is called '22'; did you mean '2'?",
    ),
    (
        "a layer that is no name",
        lambda: measure(classifier(), PAIRS, layer=2),
        InputError,
        "layer must be the name of a layer or 'auto', got 2",
    ),
    (
        "an unknown mode",
        lambda: measure(classifier(), PAIRS, mode="test"),
        InputError,
        "mode must be 'eval' or 'train', got 'test'",
    ),
    (
        "an unknown way to keep features",
        lambda: measure(classifier(), PAIRS, features_again="disk"),
        InputError,
        "features_again must be one of auto, memory, memory-map, replay, got 'disk'",
    ),
    (
        "a negative budget",
        lambda: measure(classifier(), PAIRS, memory_budget=-1),
        InputError,
        "memory_budget must be an integer of at least 0, got -1",
    ),
    (
        "an index to ignore that is none",
        lambda: measure(classifier(), PAIRS, ignore_index="pad"),
        InputError,
        "ignore_index must be an integer or None, got 'pad'",
    ),
    (
        "classes are text",
        lambda: measure(FEATURES, num_classes="2"),
        InputError,
        "num_classes must be an integer of at least 1, got '2'",
    ),
    (
        "other classes than the moments",
        lambda: measure(ClassStats.of(FEATURES), num_classes=5),
        InputError,
        "num_classes must be 2 as in the statistics, got 5",
    ),
    (
        "a head of another width",
        lambda: measure(FEATURES, head=torch.ones(2, 3)),
        InputError,
        "head must have 2 columns, got weight (2, 3)",
    ),
    (
        "a head with too few rows",
        lambda: measure(FEATURES, head=torch.ones(1, 2)),
        InputError,
        "head must have 2 rows or more, got weight (1, 2)",
    ),
    ("a head that is no layer", lambda: measure(FEATURES, head=nn.ReLU()), InputError, "head must be a linear layer"),
    (
        "a head that is text",
        lambda: measure(FEATURES, head="head.npz"),
        InputError,
        "head weight must be a tensor or an array, got str 'head.npz'",
    ),
    ("no batch", lambda: measure(classifier(), []), InputError, "the loader gave no batch"),
    (
        "a batch without labels",
        lambda: measure(classifier(), [H]),
        InputError,
        "loader must give pairs (inputs, labels)",
    ),
    ("a number as a loader", lambda: measure(classifier(), 3), InputError, "loader must be iterable, got int 3"),
    (
        "labels beyond the head",
        lambda: measure(classifier(), [(H, Y + 1)]),
        InputError,
        "labels must lie in 0..1, got 2 at index 2",
    ),
    (
        "labels are floats in a batch",
        lambda: measure(classifier(), [(H, Y.float())]),
        InputError,
        "labels must be integers",
    ),
    (
        "more labels than rows",
        lambda: measure(classifier(), [(H, torch.arange(5) % 2)]),
        InputError,
        "must see one feature vector per label, got features (4, 3), labels (5,)",
    ),
    (
        "a model that gives NaN",
        lambda: measure(classifier(), [(with_entry(float("nan")), Y)]),
        InputError,
        "features must be finite",
    ),
    (
        "a model that is a class",
        lambda: feature_tap(nn.Linear),
        InputError,
        "model must be a torch.nn.Module, got type",
    ),
    # files
    ("a file that is not there", lambda: measure("nowhere.npz"), InputError, "no file nowhere.npz"),
    (
        "a file of another format",
        lambda: measure("features.csv"),
        InputError,
        "feature files are .npz, .safetensors, .parquet, got .csv",
    ),
    ("a folder", lambda: measure(Path()), InputError, "feature files are"),
    # asked for as numbers
    ("a class alone", lambda: measure(LabelledFeatures(H, Y * 0, 1))["nc1_pinv"], UndefinedMetric, "nc1_pinv: "),
    ("a class never seen", lambda: measure(LabelledFeatures(H, Y * 0, 2))["nc1_pinv"], UndefinedMetric, "nc1_pinv: "),
    ("a sample alone", lambda: measure((H[:1], Y[:1]))["nc1_pinv"], UndefinedMetric, "nc1_pinv: "),
    (
        "means that coincide",
        lambda: measure((torch.ones(4, 2), Y))["nc1_pinv"],
        UndefinedMetric,
        "nc1_pinv: the class means coincide",
    ),
    ("no head", lambda: measure(FEATURES)["accuracy"], UndefinedMetric, "accuracy: needs the linear classifier (head)"),
    (
        "no features",
        lambda: measure(ClassStats.of(FEATURES))["ncc_accuracy"],
        UndefinedMetric,
        "only their moments were given",
    ),
    (
        "no scatter",
        lambda: measure(ClassStats.of(FEATURES, scatter=False))["nc1_pinv"],
        UndefinedMetric,
        "needs the pooled within-class scatter",
    ),
]


@pytest.mark.parametrize(("act", "error", "fragment"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_the_message_says_what_is_wrong(act, error, fragment):
    with pytest.raises(error) as raised:
        act()
    assert fragment in str(raised.value)


def test_the_table_is_long_enough_and_names_each_case_once():
    assert len({case[0] for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_file(tmp_path, suffix):
    path = tmp_path / f"features{suffix}"
    write_features(path, FEATURES)
    path.write_bytes(path.read_bytes()[:-20])
    for act in (measure, read_features):
        with pytest.raises(InputError, match=rf"features\{suffix} is not a complete"):
            act(path)
