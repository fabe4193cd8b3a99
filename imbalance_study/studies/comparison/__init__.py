"""Comparisons: configurations times seeds, with statistics."""
