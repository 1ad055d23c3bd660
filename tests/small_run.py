"""Flags of a recipe that is done in a second."""

TINY = ("--samples_per_class", "20", "--widths", "[16, 8]", "--batch_size", "50")
SMALL = ("--epochs", "3", "--measurements", "2", *TINY)
