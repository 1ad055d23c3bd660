"""How much of a training is done."""


def part_done(epoch: float, epochs: int) -> float:
    """The time in units of the whole training.

    Args:
        epoch: Epochs done, with the part of the present one.
        epochs: Epochs in all.

    Returns:
        Number from 0 to 1.
    """
    return min(max(epoch / epochs, 0.0), 1.0)
