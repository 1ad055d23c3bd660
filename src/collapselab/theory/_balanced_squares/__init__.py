"""Squared error on free features, case by case: by bias, by sign, by sizes of classes."""
