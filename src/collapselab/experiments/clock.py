"""When to measure."""

from collapselab.core import checks


def log_spaced(last: int, count: int) -> tuple[int, ...]:
    """Whole epochs from 1 to the last one, as evenly spaced in the logarithm as whole numbers can be.

    Early epochs come one by one, because the ratio that is left would give the same epoch twice; the ratio is
    corrected after each of them, so that exactly the wanted number comes out.

    Args:
        last: The last epoch, always among them.
        count: How many; all epochs if there are no more.

    Returns:
        Ascending epochs.

    Example:
        >>> log_spaced(300, 12)
        (1, 2, 3, 5, 9, 15, 24, 40, 67, 110, 182, 300)
    """
    last, count = checks.whole(last, "last", at_least=1), checks.whole(count, "count", at_least=1)
    if count == 1:
        return (last,)
    if count >= last:
        return tuple(range(1, last + 1))
    chosen = [1]
    position = 1.0
    while len(chosen) < count:
        ratio = (last / position) ** (1 / (count - len(chosen)))
        position = max(position * ratio, position + 1)
        chosen.append(round(position))
    return tuple(chosen)
