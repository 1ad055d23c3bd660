"""Families of metrics in the order of the faces of collapse, and of quantities: one order for every list and page."""

FAMILIES: dict[str, str] = {
    "variability": "NC1: variability within classes",
    "ratio": "NC1: traces of within and between",
    "means": "NC2: lengths and angles",
    "frame": "NC2: distance from the simplex",
    "uniformity": "NC2: uniformity on the sphere",
    "duality": "NC3: weights against means",
    "generalised": "Generalised NC1 and NC2, for any number of classes",
    "decision": "NC4: decisions",
    "pairs": "Pairs of classes",
    "directional": "Pairs of classes, along the line between them",
    "imbalance": "Imbalance",
    "class_groups": "Imbalance: head and tail",
    "spectrum": "Spectrum",
    "coding": "Coding rate",
    "norms": "Sizes",
}
"""Module of `collapselab.metrics` to heading. A family that is in neither list comes last, under its own name."""

MOVING: dict[str, str] = {
    "local_elasticity": "Local elasticity",
    "gradient_noise": "Gradient noise",
    "margins": "Margins",
    "robustness": "Robustness",
    "curvature": "Curvature",
    "drift_linearisation": "Drift of class means",
}
"""Family of quantities of a moving network to heading; they come after the metrics."""


def family_place(family: str) -> tuple[int, str]:
    """Where a family stands in a list.

    Args:
        family: Name of a module of metrics, or of a family of quantities.

    Returns:
        A key to sort by.
    """
    known = [*FAMILIES, *MOVING]
    return (known.index(family) if family in known else len(known), family)


def family_title(family: str) -> str:
    """Heading of a family.

    Args:
        family: Name of a module of metrics, or of a family of quantities.

    Returns:
        A few words.
    """
    return FAMILIES.get(family) or MOVING.get(family) or family.replace("_", " ").capitalize()
