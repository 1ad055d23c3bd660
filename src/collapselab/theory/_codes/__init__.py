"""Codes of more classes than a simplex has room for, and the hard maximum."""
