"""Image classifiers under one contract, their weights and their costs."""
