"""Batch normalisation as a layer, and what both landscapes of it have in common."""
