"""Data sets, long tails, splits, augmentation and sampling: from files to batches."""
