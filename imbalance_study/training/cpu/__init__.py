"""Faster kernels for processors."""
