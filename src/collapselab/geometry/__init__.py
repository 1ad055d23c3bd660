"""Ideal configurations of class vectors, distances to them, and the best alignment with the simplex."""

from collapselab.geometry.alignment import align, simplex_coordinates
from collapselab.geometry.configurations import canonical_simplex, cube, orthogonal_frame, orthoplex, simplex_etf
from collapselab.geometry.distance import gram_distance, procrustes_distance

__all__ = [
    "align",
    "canonical_simplex",
    "cube",
    "gram_distance",
    "orthogonal_frame",
    "orthoplex",
    "procrustes_distance",
    "simplex_coordinates",
    "simplex_etf",
]
