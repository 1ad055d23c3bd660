"""Classes in groups by their size, head, medium and tail: one rule for the metrics and for the views of a record."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

ClassGroup = Literal["head", "medium", "tail"]
"""Large, middling and small classes. Of *classes*: the layer that classifies is a ``head`` too, but has no size."""

GROUPS: tuple[ClassGroup, ...] = ("head", "medium", "tail")
"""From large to small."""


def class_groups(counts: Sequence[int]) -> tuple[ClassGroup, ...]:
    """Which group each class belongs to.

    Classes are put in order of size. The first third of them is the head, the last third the tail. Classes of the same
    size stay together and go where the middle of them falls; the largest size is always in the head, the smallest in
    the tail. So a step profile has a head and a tail, a long-tailed one three groups, whatever the number of samples:
    only ranks count. The literature on long tails mostly cuts at fixed sizes of a training set instead (more than 100
    images, 20 to 100, fewer than 20), which says nothing of other data.

    Where the largest class has less than 1.5 times the samples of the smallest, sizes count as equal: a random split of
    equal classes leaves such differences. Then all classes are one group, ``medium``.

    Args:
        counts: Samples of each class, all positive.

    Returns:
        One group for each class, in the order of `counts`.

    Example:
        >>> class_groups([5000, 5000, 50, 50, 50])
        ('head', 'head', 'tail', 'tail', 'tail')
        >>> class_groups([512, 256, 128, 64, 32, 16])
        ('head', 'head', 'medium', 'medium', 'tail', 'tail')
        >>> class_groups([180, 178, 183])
        ('medium', 'medium', 'medium')
    """
    sizes = Counter(counts)
    if not sizes or 2 * max(sizes) < 3 * min(sizes):
        return ("medium",) * len(counts)
    found: dict[int, ClassGroup] = {}
    before, total = 0, len(counts)
    for size in sorted(sizes, reverse=True):
        twice_middle = 2 * before + sizes[size]
        found[size] = "head" if 3 * twice_middle < 2 * total else "tail" if 3 * twice_middle > 4 * total else "medium"
        before += sizes[size]
    found |= {max(sizes): "head", min(sizes): "tail"}
    return tuple(found[count] for count in counts)
