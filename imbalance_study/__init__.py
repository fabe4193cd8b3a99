"""Which remedy for class imbalance helps this image model on this data, how sure, at what cost."""

__version__ = "0.1.0"
