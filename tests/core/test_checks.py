"""Boundary checks: what is let in, in which form, and what the refusals say."""

import numpy as np
import pytest
import torch

from collapselab.core import checks
from collapselab.core.errors import InputError


# ------------------------------------------------------------------------------------------------ tensors
@pytest.mark.parametrize(
    "value",
    [
        torch.ones(2, 2),
        np.ones((2, 2)),
        [[1.0, 1.0], [1.0, 1.0]],
        ((1.0, 1.0), (1.0, 1.0)),
        np.ones((2, 2), dtype=">f8"),
        np.ones((4, 4))[::2, ::2],
        np.ones((2, 2))[::-1],
        np.broadcast_to(np.float32(1), (2, 2)),
    ],
    ids=["tensor", "array", "lists", "tuples", "big-endian", "strided", "reversed", "read-only"],
)
def test_tensors_from_many_things(value):
    found = checks.as_tensor(value, "x")
    assert found.shape == (2, 2)
    assert bool((found == 1).all())


def test_memory_is_shared_where_it_can_be():
    array = np.zeros(3)
    checks.as_tensor(array, "x")[0] = 5
    assert array[0] == 5


def test_gradients_are_left_behind():
    assert not checks.as_tensor(torch.ones(2, requires_grad=True), "x").requires_grad


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_wide_unsigned_labels_become_int64(dtype):
    assert checks.labels(np.array([0, 3], dtype=dtype)).dtype == torch.int64


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "x must be a tensor or an array, got str 'text'"),
        (b"bytes", "x must be a tensor or an array, got bytes"),
        (None, "x must be a tensor or an array, got NoneType None"),
        (3.0, "x must be a tensor or an array, got float 3.0"),
        ({"a": 1}, "x must be a tensor or an array, got dict"),
        ([[1.0], [1.0, 2.0]], "x must be a tensor or an array, got lists of unequal length"),
        (np.array(["a", "b"]), r"x must hold numbers, got ndarray of shape \(2,\) and dtype <U1"),
        (np.array([object()]), "x must hold numbers, got ndarray"),
    ],
)
def test_what_is_no_tensor(value, message):
    with pytest.raises(InputError, match=message):
        checks.as_tensor(value, "x")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_matrices_keep_their_dtype(dtype):
    assert checks.matrix(torch.ones(2, 3, dtype=dtype), "h").dtype == dtype


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(3), r"h must be a matrix \(samples, features\), got Tensor of shape \(3,\) and dtype float32"),
        (torch.ones(1, 2, 3), r"h must be a matrix .* shape \(1, 2, 3\)"),
        (torch.ones(2, 2, dtype=torch.int32), "h must have a floating-point dtype, got .* int32"),
        (torch.ones(2, 2, dtype=torch.bool), "h must have a floating-point dtype"),
        (torch.ones(2, 2, dtype=torch.complex64), "h must have a floating-point dtype"),
        (torch.ones(0, 2), "h must have at least one row"),
        (torch.ones(2, 0), "h must have at least one column"),
        (torch.tensor([[1.0, 2.0], [3.0, float("nan")]]), r"h must be finite, got nan at index \(1, 1\)"),
        (torch.tensor([[float("-inf"), 2.0]]), r"h must be finite, got -inf at index \(0, 0\)"),
    ],
)
def test_what_is_no_matrix(value, message):
    with pytest.raises(InputError, match=message):
        checks.matrix(value, "h")


def test_axes_are_named_as_asked():
    with pytest.raises(InputError, match=r"w must be a matrix \(classes, features\)"):
        checks.matrix(torch.ones(3), "w", axes="(classes, features)")


# ------------------------------------------------------------------------------------------------ labels
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8])
def test_labels_become_int64(dtype):
    found = checks.labels(torch.tensor([0, 1, 2], dtype=dtype), num_rows=3)
    assert found.dtype == torch.int64
    assert found.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0.0, 1.0], "labels must be integers"),
        ([True, False], "labels must be integers"),
        (torch.zeros(2, 3, dtype=torch.int64), "labels must be a vector"),
        ([0, 1, 2], "labels must be one per row: 2 rows, 3 labels"),
    ],
)
def test_what_are_no_labels(value, message):
    with pytest.raises(InputError, match=message):
        checks.labels(value, num_rows=2)


def test_labels_outside_are_shown_with_their_place():
    inside = torch.tensor([0, 4, 9])
    assert checks.labels_in_range(inside, 10) is inside
    assert checks.labels_in_range(inside[:0], 1).numel() == 0
    with pytest.raises(InputError, match=r"labels must lie in 0\.\.8, got 9 at index 2"):
        checks.labels_in_range(inside, 9)
    with pytest.raises(InputError, match=r"targets must lie in 0\.\.8, got -100 at index 1"):
        checks.labels_in_range(torch.tensor([0, -100]), 9, "targets")


def test_classes_of_labels() -> None:
    assert checks.classes_of(torch.tensor([0, 7, 3])) == 8
    assert checks.classes_of(torch.tensor([-100])) == 1
    with pytest.raises(InputError, match="y must be numbers of classes, 0 to 999999 at most, got 4000000000"):
        checks.classes_of(torch.tensor([0, 4_000_000_000]), "y")


# ------------------------------------------------------------------------------------------------ numbers
def test_numbers_are_let_in():
    assert checks.whole(3, "k", at_least=3) == 3
    assert type(checks.whole(np.int32(7), "k", at_least=0)) is int
    assert checks.real(2, "x", above=1) == 2.0
    assert checks.real(0, "x", at_least=0.0) == 0.0
    assert checks.real(np.float32(0.5), "x") == 0.5
    assert checks.real(-1e300, "x") == -1e300


@pytest.mark.parametrize("value", [2, 3.0, "3", None, True, [3], float("nan"), np.float64(3.0)])
def test_what_is_no_whole_number(value):
    with pytest.raises(InputError, match="k must be an integer of at least 3, got"):
        checks.whole(value, "k", at_least=3)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", None, True, 1j])
def test_what_is_no_positive_number(value):
    with pytest.raises(InputError, match="x must be a finite number above 0, got"):
        checks.real(value, "x", above=0)


def test_bounds_are_named():
    with pytest.raises(InputError, match=r"x must be a finite number of at least 0\.5, got 0\.4"):
        checks.real(0.4, "x", at_least=0.5)
    with pytest.raises(InputError, match="x must be a finite number, got 'a'"):
        checks.real("a", "x")
    for value in (1, -0.5, "a"):
        with pytest.raises(InputError, match=f"x must be a finite number of at least 0 and below 1, got {value!r}"):
            checks.real(value, "x", at_least=0, below=1)
    with pytest.raises(InputError, match=r"x must be a finite number above 0 and at most 1, got 1\.5"):
        checks.real(1.5, "x", above=0, at_most=1)
    assert checks.real(1, "x", above=0, at_most=1) == 1.0


@pytest.mark.parametrize("value", [0, 1, None, "true", np.bool_(True)])
def test_what_is_no_flag(value):
    with pytest.raises(InputError, match="f must be true or false, got"):
        checks.flag(value, "f")
    assert checks.flag(True, "f") is True


@pytest.mark.parametrize("value", [True, 3, "1", None, [1]])
def test_what_is_none_of_a_few(value):
    with pytest.raises(InputError, match="depth must be one of 1, 2, got"):
        checks.one_of(value, "depth", (1, 2))
    assert checks.one_of(2, "depth", (1, 2)) == 2
