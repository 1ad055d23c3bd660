"""Several layers: factors, modes, critical points, norms of layers."""
