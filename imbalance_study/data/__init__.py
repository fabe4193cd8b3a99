"""From files to batches: sources, the long tail, sampling and augmentation."""
