"""Margins, descent in logarithms, and what lies below the range of floats."""
