"""Image classifiers under one contract, and what they cost."""
