"""Losses: one file each. A loss gives one number for each sample; the mean over samples is what is minimised."""

from collapselab.training.losses._spec import LOSSES, Loss, Outputs, loss

__all__ = ["LOSSES", "Loss", "Outputs", "loss"]
