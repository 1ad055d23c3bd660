"""Heads: one file each. A head is linear in the features, trained or fixed; a neck prepares features."""

from collapselab.training.heads._fixed import FixedHead, FixedLinear
from collapselab.training.heads._neck import Centring, Neck
from collapselab.training.heads._spec import HEADS, Head, head
from collapselab.training.heads.cosine_classifier import Cosine
from collapselab.training.heads.cube import Cube
from collapselab.training.heads.learnable import Learnable
from collapselab.training.heads.orthoplex import Orthoplex
from collapselab.training.heads.simplex_etf import SimplexETF
from collapselab.training.heads.softmax_code import SoftmaxCode

__all__ = [
    "HEADS",
    "Centring",
    "Cosine",
    "Cube",
    "FixedHead",
    "FixedLinear",
    "Head",
    "Learnable",
    "Neck",
    "Orthoplex",
    "SimplexETF",
    "SoftmaxCode",
    "head",
]
