"""Bounds and reductions of convex losses: by duality, by symmetry."""
