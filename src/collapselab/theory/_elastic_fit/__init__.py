"""Estimating local elasticity from recorded trainings."""
