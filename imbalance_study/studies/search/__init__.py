"""Hyperparameter searches with Optuna."""
