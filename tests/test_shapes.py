"""The shape check of the suite enforces axes inside and leaves plain doors alone."""

import pytest
import torch
from jaxtyping import Float, TypeCheckError, jaxtyped
from torch import Tensor

from shapes import inside

checked = jaxtyped(typechecker=inside)


@checked
def gram(x: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    return x.T @ x


@checked
def door(x: Tensor) -> Float[Tensor, ""]:
    return torch.as_tensor(x).sum()


@checked
def wrong_axes(x: Float[Tensor, "n d"]) -> Float[Tensor, "n n"] | None:
    return x.T @ x


def test_axes_are_enforced():
    assert gram(torch.ones(3, 2)).shape == (2, 2)
    with pytest.raises(TypeCheckError):
        gram(torch.ones(3))
    with pytest.raises(TypeCheckError):
        wrong_axes(torch.ones(3, 2))


def test_a_plain_annotation_is_left_to_the_code():
    assert door([1.0, 2.0]) == 3.0


def test_the_package_is_under_the_check():
    from collapselab.core import linalg

    shaped = [fn for fn in vars(linalg).values() if hasattr(fn, "__wrapped__")]
    assert shaped, "run pytest with the options of pyproject.toml"
