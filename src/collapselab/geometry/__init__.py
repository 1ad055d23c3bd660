"""Ideal configurations of class vectors, distances to and within them, and the best alignment with the simplex."""

from collapselab.geometry.alignment import align, simplex_coordinates
from collapselab.geometry.codes import KNOWN_CODES, code_distance, code_distance_bounds, softmax_code
from collapselab.geometry.configurations import canonical_simplex, cube, orthogonal_frame, orthoplex, simplex_etf
from collapselab.geometry.distance import gram_distance, procrustes_distance
from collapselab.geometry.one_versus_rest import one_versus_rest_distances, ways_to_rest
from collapselab.geometry.smallest_distance import smallest_one_versus_rest

__all__ = [
    "KNOWN_CODES",
    "align",
    "canonical_simplex",
    "code_distance",
    "code_distance_bounds",
    "cube",
    "gram_distance",
    "one_versus_rest_distances",
    "orthogonal_frame",
    "orthoplex",
    "procrustes_distance",
    "simplex_coordinates",
    "simplex_etf",
    "smallest_one_versus_rest",
    "softmax_code",
    "ways_to_rest",
]
