"""Kernels that train faster on a processor than those of torch."""
