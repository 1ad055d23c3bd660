"""Families of metrics in the order of the faces of collapse, with their headings: one order for every list and page."""

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
"""Module of `collapselab.metrics` to heading. A family that is not here comes after these, under its own name."""


def family_place(family: str) -> tuple[int, str]:
    """Where a family stands in a list.

    Args:
        family: Name of a module of metrics.

    Returns:
        A key to sort by.
    """
    known = list(FAMILIES)
    return (known.index(family) if family in FAMILIES else len(known), family)


def family_title(family: str) -> str:
    """Heading of a family.

    Args:
        family: Name of a module of metrics.

    Returns:
        A few words.
    """
    return FAMILIES.get(family, family.replace("_", " ").capitalize())
