"""A training on classes of different sizes, its classes in order of size."""

from dataclasses import dataclass
from functools import cached_property

from collapselab.records import Measurements
from collapselab.records.groups import ClassGroup, class_groups
from collapselab.report.view import Curve, View


@dataclass(frozen=True, eq=False)
class Uneven:
    """A training, or a measurement, on classes of different sizes.

    Attributes:
        view: What is shown of it.
        split: The first split whose classes differ in size.
    """

    view: View
    split: str

    @property
    def measured(self) -> Measurements:
        """What was measured last on this split."""
        return self.view.latest[self.split]

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Places of the classes, largest first."""
        counts = self.measured.conditions.counts
        return tuple(sorted(range(len(counts)), key=lambda at: -counts[at]))

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Class sizes, largest first."""
        return tuple(self.measured.conditions.counts[at] for at in self.order)

    @cached_property
    def groups(self) -> tuple[ClassGroup, ...]:
        """Group of each class, largest first."""
        return class_groups(self.counts)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Words for each class, largest first."""
        labels = self.measured.conditions.classes
        return tuple(f"class {labels[at]}, {self.measured.conditions.counts[at]:,} samples" for at in self.order)

    def ranked(self, name: str) -> list[float]:
        """A number per class on this split.

        Args:
            name: Key of a per-class metric.

        Returns:
            Values, largest class first; nothing where it has none.
        """
        found = self.measured.per_class.get(name)
        return [] if found is None or found.values is None else [found.values[at] for at in self.order]

    def mean(self, name: str, group: ClassGroup, split: str) -> float | None:
        """Mean of a number per class over the classes of a group, on any split.

        Args:
            name: Key of a per-class metric.
            group: Groups are those of `self.split`.
            split: Where the number was measured.

        Returns:
            The mean over those classes that the split has, or None.
        """
        measured = self.view.latest[split]
        found = measured.per_class.get(name)
        if found is None or found.values is None:
            return None
        own = {
            self.measured.conditions.classes[at] for at, g in zip(self.order, self.groups, strict=True) if g == group
        }
        pairs = zip(measured.conditions.classes, found.values, strict=True)
        values = [value for label, value in pairs if label in own]
        return sum(values) / len(values) if values else None

    def value(self, name: str) -> float | None:
        """A metric measured last on this split.

        Args:
            name: Its key.

        Returns:
            Its value, or None.
        """
        found = self.measured.measurements.get(name)
        return None if found is None else found.value

    def curve(self, name: str) -> list[Curve]:
        """A metric over time on this split.

        Args:
            name: Its key.

        Returns:
            One curve, or none.
        """
        return [curve for curve in self.view.curves(name) if curve.split == self.split]


def uneven(view: View) -> Uneven | None:
    """Find the split that tells which classes are large.

    Args:
        view: Of one training or measurement.

    Returns:
        The view with that split, or None where the classes of every split count as equally large.
    """
    for split, measured in view.latest.items():
        if "head" in class_groups(measured.conditions.counts):
            return Uneven(view, split)
    return None
