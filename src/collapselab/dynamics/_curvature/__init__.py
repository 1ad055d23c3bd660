"""Parts of `collapselab.dynamics.curvature`: copies in float64, operators, and the class structure of the curvature."""
