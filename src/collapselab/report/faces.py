"""The four faces of neural collapse, with a sentence on each for a student."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Face:
    """One of the four faces of neural collapse.

    Attributes:
        code: ``NC1`` ... ``NC4``.
        name: In two or three words.
        sentence: What happens, for a student.
        look: What to see in its curve.
        preferred: Metrics that stand for it, best first; others of the same prefix follow.
    """

    code: str
    name: str
    sentence: str
    look: str
    preferred: tuple[str, ...]


FACES = (
    Face(
        "NC1",
        "variability collapse",
        "Features of one class gather at their mean: the spread inside classes vanishes against the gaps between them.",
        "A straight fall on these axes is a power law; watch it go on after the error has reached zero.",
        ("nc1_pinv", "nc1_trace_ratio"),
    ),
    Face(
        "NC2",
        "simplex of means",
        "Class means become equally long and equally far apart, corners of a simplex: all cosines are −1/(K−1).",
        "The mean deviation of the pairwise cosines from −1/(K−1) falls towards 0 as the means spread evenly.",
        ("nc2_max_angle_means", "nc2_equiangularity_means", "etf_error"),
    ),
    Face(
        "NC3",
        "self-duality",
        "The rows of the classifier line up with the class means: both become one configuration, up to scale.",
        "2 is what unrelated weights and means give; 0 means that they agree.",
        ("nc3_duality",),
    ),
    Face(
        "NC4",
        "nearest class centre",
        "The classifier comes to decide as if it only asked which class mean is nearest.",
        "The fraction of samples on which the two rules disagree; the row named 0 means they never do.",
        ("nc4_disagreement",),
    ),
)
