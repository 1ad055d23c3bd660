"""Classes of different sizes: the program in blocks, its solvers and its gap, and what follows from a solution."""
