"""Analyses of a finished training."""
