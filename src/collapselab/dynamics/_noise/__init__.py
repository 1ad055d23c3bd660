"""Gradient noise: what is estimated from minibatches, what is measured on a network, and what follows from it."""
